//! A batch and the prefix before it in, pooled rows out: the session of a causal model. Rows longer than a chunk go
//! through in pieces, each with the keys and values of those before it, so that a long document never needs a score
//! for every pair of its tokens at once.

use std::sync::Arc;

use ort::session::{OutputSelector, Session, SessionOutputs};

use super::arguments::{Arguments, argument};
use super::frame::{Frame, seen};
use crate::batches::plan::PaddedBatch;
use crate::batches::pool::PoolingInputs;
use crate::batches::prefix::{Prefix, PrefixStore};
use crate::checkpoint::pooling::PoolingMode;
use crate::error::Result;
use crate::lowering::inputs::{self, OUTPUT};
use crate::sessions::session::{SharedSession, inference_error, output, pooling_arguments, run_options};
use crate::transformer::{Attention, Layer, Transformer};

/// Tokens of a row that run at once.
const CHUNK_TOKENS: usize = 512;

/// A causal model, ready to run.
pub struct DecoderSession {
    session: SharedSession,
    network: Arc<Transformer>,
    last_token_alone: bool,
    /// P, the pooled vectors of a row.
    modes: usize,
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
    pub fn new(session: Session, network: Arc<Transformer>, modes: &[PoolingMode]) -> Self {
        DecoderSession {
            session: SharedSession::new(session),
            network,
            last_token_alone: modes == [PoolingMode::LastToken],
            modes: modes.len(),
            prefixes: PrefixStore::default(),
        }
    }

    /// Whether rows may leave a shared prefix out: only where no other token than the last is pooled.
    pub fn shares_prefixes(&self) -> bool {
        self.last_token_alone
    }

    /// Bytes of one token's keys and values.
    pub fn bytes_per_token(&self) -> usize {
        self.network.remembered_per_token() * size_of::<f32>()
    }

    /// The keys and values of these tokens, from the store or computed.
    pub fn prefix(&self, tokens: &[i32]) -> Result<Arc<Prefix>> {
        self.prefixes.get(tokens, || self.extend(&Prefix::default(), tokens))
    }

    /// A prefix with more tokens behind it.
    fn extend(&self, past: &Prefix, tokens: &[i32]) -> Result<Prefix> {
        let mut longer = Prefix { tokens: past.tokens.clone(), states: past.states.clone() };
        for chunk in tokens.chunks(CHUNK_TOKENS) {
            let batch = PaddedBatch::single(chunk);
            let states = self.step(&batch, &longer, None, chunk.len(), |outputs| self.captured(outputs, &batch))?;
            let heads = self.network.layers.iter().flat_map(|layer| [layer.attention.key_value_heads; 2]);
            longer.states = match longer.states.is_empty() {
                true => states,
                false => {
                    let pairs = longer.states.iter().zip(&states).zip(heads);
                    pairs.map(|((old, new), heads)| join(old, new, heads)).collect()
                }
            };
            longer.tokens.extend_from_slice(chunk);
        }
        Ok(longer)
    }

    /// Runs a batch that follows `past` and hands its pooled rows, (B, P'·H) one after the other, to `take`.
    pub fn run(
        &self,
        batch: &PaddedBatch,
        past: &Prefix,
        pooling: &PoolingInputs,
        take: impl FnOnce(&[f32]),
    ) -> Result<()> {
        if self.last_token_alone && batch.rows == 1 && batch.length > CHUNK_TOKENS {
            let (before, last) = batch.input_ids.split_at((batch.length - 1) / CHUNK_TOKENS * CHUNK_TOKENS);
            let past = self.extend(past, before)?;
            let last = PaddedBatch { frees_memory: batch.frees_memory, ..PaddedBatch::single(last) };
            return self.run(&last, &past, pooling, take);
        }
        let shape = [batch.rows, self.modes, self.network.output_size()];
        self.step(batch, past, Some(pooling), 0, |outputs| {
            take(output(outputs, OUTPUT, &shape, batch)?);
            Ok(())
        })
    }

    /// One run of the session: pooled rows where there is `pooling`, else the first row's keys and values.
    fn step<R>(
        &self,
        batch: &PaddedBatch,
        past: &Prefix,
        pooling: Option<&PoolingInputs>,
        captured: usize,
        take: impl FnOnce(&SessionOutputs<'_>) -> Result<R>,
    ) -> Result<R> {
        let failed = inference_error(batch);
        let frame = Frame::of(&self.network, batch, past.tokens.len());
        let sizes = self.sizes(batch, past.tokens.len(), captured);
        let arguments = self.arguments(batch, past, (&frame, &sizes), pooling).map_err(failed)?;
        let mut wanted = OutputSelector::no_default();
        if pooling.is_some() {
            wanted = wanted.with(OUTPUT);
        } else {
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
            last_bias: if self.last_token_alone { last.flat_map(row).collect() } else { Vec::new() },
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
        argument(&mut list, inputs::SCORE_SIZES, &[2], &sizes.score_sizes)?;
        argument(&mut list, inputs::CAPTURE, &[2], &sizes.capture)?;
        if self.last_token_alone {
            let group = sizes.last_bias.len() / (rows * total).max(1);
            argument(&mut list, inputs::LAST_INDEX, &[rows, 1], &sizes.last_index)?;
            argument(&mut list, inputs::LAST_BIAS, &[rows, 1, group, total], &sizes.last_bias)?;
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

/// (heads, P, D) and (heads, S, D), each as one list, to (heads, P + S, D).
fn join(old: &[f32], new: &[f32], heads: usize) -> Vec<f32> {
    let (old_share, new_share) = (old.len() / heads, new.len() / heads);
    let pairs = old.chunks_exact(old_share.max(1)).zip(new.chunks_exact(new_share.max(1)));
    pairs.flat_map(|(old, new)| old.iter().chain(new).copied()).collect()
}
