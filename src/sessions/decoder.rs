//! A batch and the prefix before it in, pooled rows out: the session of a causal model. Rows longer than a piece go
//! through in several, each with the keys and values of those before it, so that a long document never needs a score
//! for every pair of its tokens at once. Refused: a document whose keys and values find no memory.

use std::sync::Arc;

use ort::session::{OutputSelector, SessionOutputs};

use super::arguments::{Arguments, argument};
use super::frame::{Frame, seen};
use super::session::{Call, Facts, Session};
use super::shared::{SharedSession, inference_error, output, pooling_arguments, run_options};
use crate::batches::pieces::{self, PIECE_TOKENS};
use crate::batches::plan::{PaddedBatch, TokenRow};
use crate::batches::pool::{self, PoolingInputs};
use crate::batches::prefix::{self, Prefix, Shared};
use crate::batches::prefix_store::PrefixStore;
use crate::checkpoint::pooling::PoolingMode;
use crate::ending::{self, Turn};
use crate::error::{Error, Result};
use crate::lowering::inputs::{self, OUTPUT};
use crate::lowering::onnx::builder::Operators;
use crate::transformer::{Attention, Layer, Transformer};

/// A causal model, ready to run.
pub struct DecoderSession {
    session: SharedSession,
    network: Arc<Transformer>,
    operators: Operators,
    facts: Facts,
    last_token_alone: bool,
    prefixes: PrefixStore,
}

/// The sizes of one run and what its last tokens see; what they mean is in [`inputs`].
struct Sizes {
    score_sizes: [i64; 2],
    capture: [i64; 2],
    last_index: Vec<i64>,
    last_bias: Vec<f32>,
}

impl DecoderSession {
    /// Takes over a session on a synthesised decoder graph.
    pub fn new(session: ort::session::Session, network: Arc<Transformer>, operators: Operators, facts: Facts) -> Self {
        DecoderSession {
            session: SharedSession::new(session),
            network,
            operators,
            last_token_alone: facts.pooling == [PoolingMode::LastToken],
            facts,
            prefixes: PrefixStore::default(),
        }
    }

    /// The keys and values of these tokens, from the store or computed.
    fn prefix(&self, tokens: &[i32]) -> Result<Arc<Prefix>> {
        self.prefixes.get(tokens, || {
            let mut prefix = self.with_room(&Prefix::default(), tokens.len())?;
            for piece in tokens.chunks(PIECE_TOKENS) {
                self.append(&mut prefix, &PaddedBatch::single(piece), None, |_| Ok(()))?;
            }
            Ok(prefix)
        })
    }

    /// A copy of a prefix that can take up more tokens without moving to other memory.
    fn with_room(&self, past: &Prefix, more: usize) -> Result<Prefix> {
        past.with_room(more, self.lists().map(|(heads, size)| heads * size))
    }

    /// Heads and their size of each layer's keys, and of its values.
    fn lists(&self) -> impl Iterator<Item = (usize, usize)> {
        let of = |layer: &Layer| [(layer.attention.key_value_heads, layer.attention.head_size); 2];
        self.network.layers.iter().flat_map(of)
    }

    /// Runs a row's piece that follows `past`, and makes it a part of `past`. `take` gets the outputs.
    fn append(
        &self,
        past: &mut Prefix,
        piece: &PaddedBatch,
        pooling: Option<&PoolingInputs>,
        take: impl FnOnce(&SessionOutputs<'_>) -> Result<()>,
    ) -> Result<()> {
        let states = self.step(piece, past, pooling, piece.length, |outputs| {
            take(outputs)?;
            self.captured(outputs, piece)
        })?;
        past.append(&piece.input_ids, &states, self.lists().map(|(heads, _)| heads));
        Ok(())
    }

    fn run_in_pieces(&self, row: &PaddedBatch, past: &Prefix, pooling: &PoolingInputs) -> Result<Vec<f32>> {
        let before_last = (row.length - 1) / PIECE_TOKENS * PIECE_TOKENS;
        let mut past = self.with_room(past, before_last)?;
        let mut sum = Vec::new();
        for start in (0..before_last).step_by(PIECE_TOKENS) {
            let tokens = start..start + PIECE_TOKENS;
            let piece = PaddedBatch::single(&row.input_ids[tokens.clone()]);
            let share = (!self.last_token_alone).then(|| pieces::share(pooling, tokens, row.length));
            self.append(&mut past, &piece, share.as_ref(), |outputs| {
                if share.is_some() {
                    pieces::add(&mut sum, self.pooled_of(outputs, &piece)?, &self.facts.pooling);
                }
                Ok(())
            })?;
        }
        let last = PaddedBatch {
            frees_memory: row.frees_memory,
            ..PaddedBatch::single(&row.input_ids[before_last..row.length])
        };
        let share = pieces::share(pooling, before_last..row.length, row.length);
        self.step(&last, &past, Some(&share), 0, |outputs| {
            pieces::add(&mut sum, self.pooled_of(outputs, &last)?, &self.facts.pooling);
            Ok(())
        })?;
        Ok(sum)
    }

    /// One run of the session: puts out pooled rows where there is `pooling`, and the keys and values of the first row's
    /// first `captured` tokens.
    fn step<R>(
        &self,
        batch: &PaddedBatch,
        past: &Prefix,
        pooling: Option<&PoolingInputs>,
        captured: usize,
        take: impl FnOnce(&SessionOutputs<'_>) -> Result<R>,
    ) -> Result<R> {
        if ending::begun() {
            return Err(Error::Interrupted);
        }
        let failed = inference_error(batch);
        let frame = Frame::of(&self.network, self.operators, batch, past.tokens.len());
        let sizes = self.sizes(batch, past.tokens.len(), captured);
        let arguments = self.arguments(batch, past, (&frame, &sizes), pooling).map_err(failed)?;
        let mut wanted = OutputSelector::no_default();
        if pooling.is_some() {
            wanted = wanted.with(OUTPUT);
        }
        if captured > 0 {
            for layer in 0..self.network.layers.len() {
                wanted = wanted.with(inputs::present_key(layer)).with(inputs::present_value(layer));
            }
        }
        let options = run_options(batch, wanted).map_err(failed)?;
        let mut session = self.session.lock();
        let outputs = session.run_with_options(arguments, &options).map_err(failed)?;
        take(&outputs)
    }

    fn sizes(&self, batch: &PaddedBatch, past: usize, captured: usize) -> Sizes {
        let last = batch.lengths.iter().map(|length| length.saturating_sub(1));
        let last_layer = self.network.layers.last().map(|layer| (layer.attention.reach, layer.attention.group()));
        let (reach, group) = last_layer.unwrap_or_default();
        let row = |index: usize| seen(reach, past + index, past + batch.length).collect::<Vec<_>>().repeat(group);
        Sizes {
            score_sizes: [past as i64, batch.length as i64],
            capture: [1, captured as i64],
            last_index: last.clone().map(|index| index as i64).collect(),
            last_bias: if self.last_token_alone && !self.operators.attend() {
                last.flat_map(row).collect()
            } else {
                Vec::new()
            },
        }
    }

    fn arguments<'a>(
        &self,
        batch: &'a PaddedBatch,
        past: &'a Prefix,
        (frame, sizes): (&'a Frame, &'a Sizes),
        pooling: Option<&'a PoolingInputs>,
    ) -> Result<Arguments<'a>, ort::Error> {
        let (rows, length, total) = (batch.rows, batch.length, past.tokens.len() + batch.length);
        let mut list = Arguments::new();
        argument(&mut list, inputs::INPUT_IDS, &[rows, length], &batch.input_ids)?;
        frame.arguments(&mut list, batch, past.tokens.len())?;
        match self.operators {
            Operators::Usual => argument(&mut list, inputs::SCORE_SIZES, &[2], &sizes.score_sizes)?,
            Operators::OwnAttention | Operators::Own => {
                argument(&mut list, inputs::ATTENTION_MASK, &[rows, length], &batch.attention_mask)?
            }
        }
        argument(&mut list, inputs::CAPTURE, &[2], &sizes.capture)?;
        if self.last_token_alone {
            argument(&mut list, inputs::LAST_INDEX, &[rows, 1], &sizes.last_index)?;
            if !self.operators.attend() {
                let group = sizes.last_bias.len() / (rows * total).max(1);
                argument(&mut list, inputs::LAST_BIAS, &[rows, 1, group, total], &sizes.last_bias)?;
            }
        } else if let Some(pooling) = pooling {
            pooling_arguments(&mut list, batch, pooling)?;
        }
        for (index, layer) in self.network.layers.iter().enumerate() {
            let shape = [1, layer.attention.key_value_heads, past.tokens.len(), layer.attention.head_size];
            let states = |at: usize| past.states.get(at).map_or(&[][..], Vec::as_slice);
            argument(&mut list, inputs::past_key(index), &shape, states(2 * index))?;
            argument(&mut list, inputs::past_value(index), &shape, states(2 * index + 1))?;
        }
        Ok(list)
    }

    fn pooled_of<'o>(&self, outputs: &'o SessionOutputs<'_>, batch: &PaddedBatch) -> Result<&'o [f32]> {
        output(outputs, OUTPUT, &[batch.rows, self.facts.pooling.len(), self.network.output_size()], batch)
    }

    fn captured(&self, outputs: &SessionOutputs<'_>, batch: &PaddedBatch) -> Result<Vec<Vec<f32>>> {
        let layers = self.network.layers.iter().enumerate();
        let of_layer = |(index, layer): (usize, &Layer)| -> Result<[Vec<f32>; 2]> {
            let Attention { key_value_heads, head_size, .. } = layer.attention;
            let shape = [1, key_value_heads, batch.length, head_size];
            let of = |name: String| Ok(output(outputs, &name, &shape, batch)?.to_vec());
            Ok([of(inputs::present_key(index))?, of(inputs::present_value(index))?])
        };
        Ok(layers.map(of_layer).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }
}

impl Session for DecoderSession {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn compute(&self, batch: &PaddedBatch, call: &mut Call<'_>, take: &mut dyn FnMut(&[f32])) -> Result<()> {
        let pooling = pool::pooling_inputs(&self.facts.pooling, batch, call.skipped);
        if batch.rows == 1 && batch.length > PIECE_TOKENS {
            take(&self.run_in_pieces(batch, call.past, &pooling)?);
            return Ok(());
        }
        self.step(batch, call.past, Some(&pooling), 0, |outputs| {
            take(self.pooled_of(outputs, batch)?);
            Ok(())
        })
    }

    fn shared_prefix(&self, rows: &[TokenRow], prompt: &[i32]) -> Result<Option<(Arc<Prefix>, Shared)>> {
        // Where other tokens than the last are pooled, no row may leave one out.
        if !self.last_token_alone {
            return Ok(None);
        }
        let bytes_per_token = self.network.remembered_per_token() * size_of::<f32>();
        let Some(shared) = prefix::find(rows, prompt, bytes_per_token) else { return Ok(None) };
        self.facts.files.check()?;
        let tokens = shared.rows.first().and_then(|&row| rows[row].ids.get(..shared.length)).unwrap_or_default();
        let _turn = Turn::take();
        Ok(Some((self.prefix(tokens)?, shared)))
    }
}
