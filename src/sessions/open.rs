//! A model's description in, the session that runs it out: on ONNX Runtime's own provider, or on none at all.

use std::sync::Arc;

use super::decoder::DecoderSession;
use super::encoder::EncoderSession;
use super::onnx_file::OnnxFileSession;
use super::runtime::{Initializer, Made, Runtime};
use super::session::{Facts, Session};
use super::shared::session_error;
use super::static_table::StaticTableSession;
use crate::checkpoint::held::HeldFiles;
use crate::checkpoint::weights::Weights;
use crate::ending::Turn;
use crate::error::Result;
use crate::lowering::cpu;
use crate::lowering::quantize::quantize_all;
use crate::lowering::round::round_all;
use crate::options::Arithmetic;
use crate::spec::{Network, Spec};
use crate::transformer::{Matrix, Transformer};

/// Opens the model that a spec describes.
pub fn open(spec: &Spec, runtime: &Runtime, arithmetic: Arithmetic, threads: usize) -> Result<Box<dyn Session>> {
    let _turn = Turn::take();
    Ok(match &spec.network {
        Network::Checkpoint(network, weights) => {
            open_checkpoint(spec, (network, weights), runtime, arithmetic, threads)?
        }
        Network::OnnxFile(file) => Box::new(OnnxFileSession::open(spec, file, runtime, threads)?),
        Network::StaticTable(table) => {
            Box::new(StaticTableSession::open(table, spec.pooling.clone(), runtime.provider())?)
        }
    })
}

fn open_checkpoint(
    spec: &Spec,
    (network, weights): (&Arc<Transformer>, &Weights),
    runtime: &Runtime,
    arithmetic: Arithmetic,
    threads: usize,
) -> Result<Box<dyn Session>> {
    let mut files = HeldFiles::new(weights.held_files()?, runtime.copies_weights())?;
    let model = cpu::lower(network, &spec.pooling, weights, arithmetic, runtime.operators())?;
    let (nodes, bytes) = (model.node_count(), model.bytes());
    let quantized = match runtime.multiplier() {
        Some(multiplier) => quantize_all(weights, &model.quantized, multiplier, threads)?,
        None => Vec::new(),
    };
    let matrices: Vec<Matrix> = model.rounded.iter().map(|weight| weight.matrix.clone()).collect();
    let rounded = round_all(weights, &matrices, threads)?;
    let given = model
        .rounded
        .into_iter()
        .zip(rounded)
        .map(|(weight, made)| Initializer::new(weight.name, [weight.matrix.outputs(), weight.matrix.inputs], made));
    let made = given.collect::<Result<Vec<_>, _>>().map(|given| Made { quantized, given });
    let opened = made.and_then(|made| runtime.open(&bytes, weights.data_folder(), made, files.copies(), threads));
    // First: a session on files that changed meanwhile may fail, or not, for no other reason.
    files.settle()?;
    let session = opened.map_err(session_error(weights.path()))?;
    let facts = Facts {
        nodes: Some(nodes),
        kernels: runtime.kernels(arithmetic),
        ..Facts::new(runtime.provider(), spec.pooling.clone(), network.output_size(), files)
    };
    let network = Arc::clone(network);
    Ok(match network.is_causal() {
        true => Box::new(DecoderSession::new(session, network, runtime.operators(), facts)),
        false => Box::new(EncoderSession::new(session, network, runtime.operators(), facts)),
    })
}
