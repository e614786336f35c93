//! A batch in, pooled rows out: the session of a model that looks both ways.

use std::sync::Arc;

use ort::session::OutputSelector;

use super::arguments::{Arguments, argument};
use super::frame::Frame;
use super::session::{Call, Facts, Session};
use super::shared::{SharedSession, inference_error, output, pooling_arguments, run_options};
use crate::batches::plan::PaddedBatch;
use crate::batches::pool;
use crate::error::Result;
use crate::lowering::inputs::{self, OUTPUT};
use crate::lowering::onnx::builder::Operators;
use crate::transformer::Transformer;

/// A model that looks both ways, ready to run.
pub struct EncoderSession {
    session: SharedSession,
    network: Arc<Transformer>,
    operators: Operators,
    facts: Facts,
}

impl EncoderSession {
    /// Takes over a session on a synthesised encoder graph, which puts out (B, P, H) of P pooled vectors.
    pub fn new(session: ort::session::Session, network: Arc<Transformer>, operators: Operators, facts: Facts) -> Self {
        EncoderSession { session: SharedSession::new(session), network, operators, facts }
    }
}

impl Session for EncoderSession {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn compute(&self, batch: &PaddedBatch, call: &mut Call<'_>, take: &mut dyn FnMut(&[f32])) -> Result<()> {
        let failed = inference_error(batch);
        let shape = [batch.rows, batch.length];
        let pooling = pool::pooling_inputs(&self.facts.pooling, batch, call.skipped);
        let frame = Frame::of(&self.network, self.operators, batch, 0);
        let mut arguments = Arguments::new();
        frame.arguments(&mut arguments, batch, 0).map_err(failed)?;
        argument(&mut arguments, inputs::INPUT_IDS, &shape, &batch.input_ids).map_err(failed)?;
        argument(&mut arguments, inputs::ATTENTION_MASK, &shape, &batch.attention_mask).map_err(failed)?;
        pooling_arguments(&mut arguments, batch, &pooling).map_err(failed)?;
        let options = run_options(batch, OutputSelector::no_default().with(OUTPUT)).map_err(failed)?;
        let mut session = self.session.lock();
        let outputs = session.run_with_options(arguments, &options).map_err(failed)?;
        let pooled = [batch.rows, self.facts.pooling.len(), self.network.output_size()];
        take(output(&outputs, OUTPUT, &pooled, batch)?);
        Ok(())
    }
}
