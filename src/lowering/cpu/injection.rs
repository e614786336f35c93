//! What a layer takes from the embedded tokens beside what its stream carries. (B, L, H) -> (B, L, H), without the last
//! bias, which is left to the sum that follows.

use super::feed_forward::multiplied;
use super::linear::linear;
use super::norms::{biased, norm};
use crate::error::Result;
use crate::lowering::onnx::builder::{GraphBuilder, Value};
use crate::transformer::Injection;

/// Writes the nodes of one layer's, whose names begin with `path`.
pub fn injection(
    builder: &mut GraphBuilder,
    path: &str,
    block: &Injection,
    embedded: &Value,
    states: &Value,
) -> Result<Value> {
    let Injection { signal, signal_norm, gate, activation, output, norms: _ } = block;
    let name = |part: &str| format!("{path}.{part}");
    let width = signal.weight.outputs();
    let brought = linear(builder, &name("signal"), embedded, &signal.weight)?;
    let mut brought = biased(builder, brought, signal.bias.as_ref())?;
    if let Some(how) = signal_norm {
        brought = norm(builder, &name("signal.normed"), &brought, how, width)?;
    }
    let opened = linear(builder, &name("gate"), states, &gate.weight)?;
    let names = [&*name("activated"), &*name("product")];
    let passed = multiplied(builder, names, opened, gate.bias.as_ref(), *activation, &brought)?;
    linear(builder, &name("output"), &passed, &output.weight)
}

#[cfg(test)]
mod tests {
    use crate::checkpoint::pooling::PoolingMode;
    use crate::checkpoint::weights::testing::weights_of;
    use crate::lowering::cpu::lower;
    use crate::lowering::onnx::builder::Operators;
    use crate::options::Arithmetic;
    use crate::transformer::{
        Activation, Attention, BlockNorms, Embeddings, FeedForward, Injection, Layer, Linear, Matrix, Reach,
        Transformer,
    };

    fn causal() -> Transformer {
        let square = |name: &str| Linear::named(name, [4, 4], false);
        let layer = Layer {
            attention: Attention {
                heads: 2,
                key_value_heads: 2,
                head_size: 2,
                query: square("q"),
                key: square("k"),
                value: square("v"),
                output: square("o"),
                query_norm: None,
                key_norm: None,
                value_norm: None,
                scale: 1.0,
                rotation: None,
                reach: Reach::causal(None),
            },
            attention_norms: BlockNorms::default(),
            feed_forward: FeedForward { gate: None, up: square("u"), down: square("d"), activation: Activation::Relu },
            feed_forward_norms: BlockNorms::default(),
            injection: Some(Injection {
                signal: square("s"),
                signal_norm: None,
                gate: square("g"),
                activation: Activation::Relu,
                output: square("p"),
                norms: BlockNorms::default(),
            }),
            scale: None,
        };
        Transformer {
            hidden_size: 4,
            max_positions: 8,
            embeddings: Embeddings {
                replaced: None,
                words: Matrix::whole("words", [9, 4]),
                positions: None,
                token_type: None,
                scale: 1.0,
                norm: None,
            },
            rotations: Vec::new(),
            relative_bias: None,
            layers: vec![layer],
            last_norm: None,
            projection: None,
        }
    }

    #[test]
    fn a_token_that_goes_on_alone_takes_its_own_signal() {
        let names = ["q", "k", "v", "o", "u", "d", "s", "g", "p"].map(|name| format!("{name}.weight"));
        let squares = names.iter().map(|name| (name.as_str(), &[4, 4][..]));
        let tensors: Vec<(&str, &[usize])> = squares.chain([("words", &[9, 4][..])]).collect();
        let (_folder, weights) = weights_of(&tensors);
        for (mode, embedded) in [(PoolingMode::LastToken, "last.embedded"), (PoolingMode::Mean, "embedded")] {
            let graph = lower(&causal(), &[mode], &weights, Arithmetic::Float32, Operators::Usual)
                .unwrap()
                .proto
                .graph
                .unwrap();
            let signal = graph.node.iter().find(|node| node.name == "layers.0.injection.signal").unwrap();
            assert_eq!(signal.input, [embedded, "s.weight"]);
        }
    }
}
