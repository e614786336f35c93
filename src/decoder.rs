//! A batch and the prefix before it in, pooled rows out: the session of a decoder (Qwen3). Rows longer than a piece go
//! through in several, each with the keys and values of those before it, so that a long document never needs a score
//! for every pair of its tokens at once. Refused: a document whose keys and values find no memory.

use std::sync::Arc;

use ort::session::{OutputSelector, Session, SessionOutputs};

use crate::batch::PaddedBatch;
use crate::ending;
use crate::error::{Error, Result};
use crate::graph::{OUTPUT, inputs};
use crate::model::pooling::PoolingMode;
use crate::model::qwen3::Qwen3Config;
use crate::pieces::{self, PIECE_TOKENS};
use crate::pool::PoolingInputs;
use crate::prefix::Prefix;
use crate::prefix_store::PrefixStore;
use crate::session::{Arguments, SharedSession, argument, inference_error, pooling_arguments, run_options};

/// A decoder, ready to run.
pub struct DecoderSession {
    session: SharedSession,
    config: Qwen3Config,
    /// 1 / θ^(2i/D), in float32 as transformers has them.
    inverse_frequencies: Vec<f32>,
    modes: Vec<PoolingMode>,
    last_token_alone: bool,
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
            modes: modes.to_vec(),
            last_token_alone: modes == [PoolingMode::LastToken],
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
        let config = &self.config;
        past.with_room(more, 2 * config.num_hidden_layers, config.num_key_value_heads * config.head_dim)
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
        past.append(&piece.input_ids, &states, self.config.num_key_value_heads);
        Ok(())
    }

    /// Runs a batch that follows `past` and hands its pooled rows, (B, P'·H) one after the other, to `take`.
    pub fn run(
        &self,
        batch: &PaddedBatch,
        past: &Prefix,
        pooling: &PoolingInputs,
        take: impl FnOnce(&[f32]),
    ) -> Result<()> {
        if batch.rows == 1 && batch.length > PIECE_TOKENS {
            take(&self.run_in_pieces(batch, past, pooling)?);
            return Ok(());
        }
        self.step(batch, past, Some(pooling), 0, |outputs| {
            take(pooled(outputs, batch)?);
            Ok(())
        })
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
                    pieces::add(&mut sum, pooled(outputs, &piece)?, &self.modes);
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
            pieces::add(&mut sum, pooled(outputs, &last)?, &self.modes);
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
        let frame = self.frame(batch, past.tokens.len(), captured);
        let arguments = self.arguments(batch, past, &frame, pooling).map_err(failed)?;
        let mut wanted = OutputSelector::no_default();
        if pooling.is_some() {
            wanted = wanted.with(OUTPUT);
        }
        if captured > 0 {
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
        let failed = inference_error(batch);
        let names = (0..self.config.num_hidden_layers)
            .flat_map(|layer| [inputs::present_key(layer), inputs::present_value(layer)]);
        names
            .map(|name| match outputs.get(&name) {
                Some(states) => Ok(states.try_extract_tensor::<f32>().map_err(failed)?.1.to_vec()),
                None => Err(Error::Graph { problem: format!("no output `{name}`") }),
            })
            .collect()
    }
}

fn pooled<'o>(outputs: &'o SessionOutputs<'_>, batch: &PaddedBatch) -> Result<&'o [f32]> {
    let Some(output) = outputs.get(OUTPUT) else {
        return Err(Error::Graph { problem: format!("no output `{OUTPUT}`") });
    };
    Ok(output.try_extract_tensor::<f32>().map_err(inference_error(batch))?.1)
}
