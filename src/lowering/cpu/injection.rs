//! What a layer takes from the embedded tokens beside what its stream carries. (B, L, H) -> (B, L, H), without the last
//! bias, which is left to the sum that follows.

use super::feed_forward::activated;
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
    let opened = activated(builder, &name("activated"), opened, gate.bias.as_ref(), *activation)?;
    let passed = builder.op(&name("product"), "Mul", &[&opened, &brought], &[])?;
    linear(builder, &name("output"), &passed, &output.weight)
}
