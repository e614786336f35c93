//! A model's description in, the session that runs it out: on ONNX Runtime's own provider, or on none at all.

use std::sync::Arc;

use super::decoder::DecoderSession;
use super::encoder::EncoderSession;
use super::onnx_file::OnnxFileSession;
use super::runtime::Runtime;
use super::session::{Facts, Session};
use super::shared::session_error;
use super::static_table::StaticTableSession;
use crate::checkpoint::held::HeldFiles;
use crate::checkpoint::weights::Weights;
use crate::ending::Turn;
use crate::error::Result;
use crate::lowering::cpu;
use crate::lowering::quantize::quantize_all;
use crate::options::Arithmetic;
use crate::spec::{Network, Spec};
use crate::transformer::Transformer;

/// Opens the model that a spec describes.
pub fn open(spec: &Spec, runtime: &Runtime, arithmetic: Arithmetic, threads: usize) -> Result<Box<dyn Session>> {
    let _turn = Turn::take();
    Ok(match &spec.network {
        Network::Checkpoint(network, weights) => {
            open_checkpoint(spec, (network, weights), runtime, arithmetic, threads)?
        }
        Network::OnnxFile(file) => Box::new(OnnxFileSession::open(spec, file, runtime, arithmetic, threads)?),
        Network::StaticTable(table) => {
            Box::new(StaticTableSession::open(table, spec.pooling.clone(), arithmetic, runtime.provider())?)
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
    let opened = runtime.open(&bytes, weights.data_folder(), quantized, files.copies(), threads);
    // First: a session on files that changed meanwhile may fail, or not, for no other reason.
    files.settle()?;
    let session = opened.map_err(session_error(weights.path()))?;
    let facts = Facts {
        nodes: Some(nodes),
        ..Facts::new(runtime.provider(), spec.pooling.clone(), network.output_size(), files)
    };
    let network = Arc::clone(network);
    Ok(match network.is_causal() {
        true => Box::new(DecoderSession::new(session, network, runtime.operators(), facts)),
        false => Box::new(EncoderSession::new(session, network, runtime.operators(), facts)),
    })
}
