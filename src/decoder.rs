//! A batch and the prefix before it in, pooled rows out: the session of a decoder (Qwen3). Rows longer than a chunk go
//! through in pieces, each with the keys and values of those before it, so that a long document never needs a score
//! for every pair of its tokens at once.

use std::sync::Arc;

use ort::session::{OutputSelector, Session, SessionOutputs};

use crate::batch::PaddedBatch;
use crate::error::Result;
use crate::graph::{OUTPUT, inputs};
use crate::model::pooling::PoolingMode;
use crate::model::qwen3::Qwen3Config;
use crate::pool::PoolingInputs;
use crate::prefix::{Prefix, PrefixStore};
use crate::session::{Arguments, SharedSession, argument, inference_error, output, pooling_arguments, run_options};

/// Tokens of a row that run at once.
const CHUNK_TOKENS: usize = 512;

/// A decoder, ready to run.
pub struct DecoderSession {
    session: SharedSession,
    config: Qwen3Config,
    /// 1 / θ^(2i/D), in float32 as transformers has them.
    inverse_frequencies: Vec<f32>,
    last_token_alone: bool,
    /// P, the pooled vectors of a row.
    modes: usize,
    prefixes: PrefixStore,
}

/// The rotation, visibility and sizes of one run; what they mean is in [`inputs`].
struct Frame {
    cos: Vec<f32>,
    sin: Vec<f32>,
    causal_bias: Vec<f32>,
    score_sizes: [i64; 2],
    capture: [i64; 2],
    last_index: Vec<i64>,
    last_bias: Vec<f32>,
}

impl DecoderSession {
    /// Takes over a session on a synthesised decoder graph.
    pub fn new(session: Session, config: &Qwen3Config, modes: &[PoolingMode]) -> Self {
        DecoderSession {
            session: SharedSession::new(session),
            config: config.clone(),
            inverse_frequencies: config.inverse_frequencies(),
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
        let config = &self.config;
        2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * size_of::<f32>()
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
            let heads = self.config.num_key_value_heads;
            longer.states = match longer.states.is_empty() {
                true => states,
                false => longer.states.iter().zip(&states).map(|(old, new)| join(old, new, heads)).collect(),
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
        let shape = [batch.rows, self.modes, self.config.hidden_size];
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
        let frame = self.frame(batch, past.tokens.len(), captured);
        let arguments = self.arguments(batch, past, &frame, pooling).map_err(failed)?;
        let mut wanted = OutputSelector::no_default();
        if pooling.is_some() {
            wanted = wanted.with(OUTPUT);
        } else {
            for layer in 0..self.config.num_hidden_layers {
                wanted = wanted.with(inputs::present_key(layer)).with(inputs::present_value(layer));
            }
        }
        let options = run_options(batch, wanted).map_err(failed)?;
        let mut session = self.session.lock();
        let outputs = session.run_with_options(arguments, &options).map_err(failed)?;
        take(&outputs)
    }

    fn frame(&self, batch: &PaddedBatch, past: usize, captured: usize) -> Frame {
        let (length, total) = (batch.length, past + batch.length);
        let group = self.config.num_attention_heads / self.config.num_key_value_heads;
        // transformers rounds position times frequency to float32 before it takes the cosine; so does this.
        let angles: Vec<f32> = (past..total)
            .flat_map(|position| self.inverse_frequencies.iter().map(move |frequency| position as f32 * frequency))
            .collect();
        let seen = |last: usize| (0..total).map(move |key| if key <= last { 0.0 } else { f32::NEG_INFINITY });
        let causal: Vec<f32> = (past..total).flat_map(seen).collect();
        let last = batch.lengths.iter().map(|length| length.saturating_sub(1));
        Frame {
            cos: angles.iter().map(|angle| angle.cos()).collect(),
            sin: angles.iter().map(|angle| angle.sin()).collect(),
            causal_bias: causal.repeat(group),
            score_sizes: [past as i64, length as i64],
            capture: [1, captured as i64],
            last_index: last.clone().map(|index| index as i64).collect(),
            last_bias: last.flat_map(|index| seen(past + index).collect::<Vec<_>>().repeat(group)).collect(),
        }
    }

    fn arguments<'a>(
        &self,
        batch: &'a PaddedBatch,
        past: &'a Prefix,
        frame: &'a Frame,
        pooling: Option<&'a PoolingInputs>,
    ) -> Result<Arguments<'a>, ort::Error> {
        let config = &self.config;
        let (rows, length, total) = (batch.rows, batch.length, past.tokens.len() + batch.length);
        let group = config.num_attention_heads / config.num_key_value_heads;
        let mut list = Arguments::new();
        argument(&mut list, inputs::INPUT_IDS, &[rows, length], &batch.input_ids)?;
        argument(&mut list, inputs::COS, &[length, config.head_dim / 2], &frame.cos)?;
        argument(&mut list, inputs::SIN, &[length, config.head_dim / 2], &frame.sin)?;
        argument(&mut list, inputs::CAUSAL_BIAS, &[group * length, total], &frame.causal_bias)?;
        argument(&mut list, inputs::SCORE_SIZES, &[2], &frame.score_sizes)?;
        argument(&mut list, inputs::CAPTURE, &[2], &frame.capture)?;
        if self.last_token_alone {
            argument(&mut list, inputs::LAST_INDEX, &[rows, 1], &frame.last_index)?;
            argument(&mut list, inputs::LAST_BIAS, &[rows, 1, group, total], &frame.last_bias)?;
        } else if let Some(pooling) = pooling {
            pooling_arguments(&mut list, batch, pooling)?;
        }
        let shape = [1, config.num_key_value_heads, past.tokens.len(), config.head_dim];
        for layer in 0..config.num_hidden_layers {
            let states = |at: usize| past.states.get(at).map_or(&[][..], Vec::as_slice);
            argument(&mut list, inputs::past_key(layer), &shape, states(2 * layer))?;
            argument(&mut list, inputs::past_value(layer), &shape, states(2 * layer + 1))?;
        }
        Ok(list)
    }

    fn captured(&self, outputs: &SessionOutputs<'_>, batch: &PaddedBatch) -> Result<Vec<Vec<f32>>> {
        let shape = [1, self.config.num_key_value_heads, batch.length, self.config.head_dim];
        let names = (0..self.config.num_hidden_layers)
            .flat_map(|layer| [inputs::present_key(layer), inputs::present_value(layer)]);
        names.map(|name| Ok(output(outputs, &name, &shape, batch)?.to_vec())).collect()
    }
}

/// (heads, P, D) and (heads, S, D), each as one list, to (heads, P + S, D).
fn join(old: &[f32], new: &[f32], heads: usize) -> Vec<f32> {
    let (old_share, new_share) = (old.len() / heads, new.len() / heads);
    let pairs = old.chunks_exact(old_share.max(1)).zip(new.chunks_exact(new_share.max(1)));
    pairs.flat_map(|(old, new)| old.iter().chain(new).copied()).collect()
}
