//! Rotary embeddings: what config.json says of them to inverse frequencies. Kinds: default, linear, llama3, yarn; dynamic
//! up to the length from which it changes. Source: transformers' modeling_rope_utils.py.

use std::f64::consts::PI;

use serde_json::Value;

use crate::checkpoint::json::{JsonFile, MAX_ROWS};
use crate::error::Result;
use crate::transformer::Rotation;

const KINDS: &str = "default, linear, llama3, yarn, or dynamic";

/// What a rotation is made of where the config does not say.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// θ.
    pub theta: f32,
    /// D.
    pub head_size: usize,
    /// The longest row.
    pub max_positions: usize,
}

/// The one rotation of a config: in `rope_scaling` of older files, which goes before, or `rope_parameters` of transformers
/// 5; θ inside or beside them.
pub fn read(config: &JsonFile, defaults: Defaults) -> Result<Rotation> {
    let theta = config.positive_or("rope_theta", defaults.theta)?;
    let parameters = config.object("rope_parameters")?;
    let scaling = config.object("rope_scaling")?.filter(|rope| rope.fields().next().is_some());
    match scaling.map(|rope| ("rope_scaling", rope)).or(parameters.map(|rope| ("rope_parameters", rope))) {
        Some((field, rope)) => of(config, field, &rope, Defaults { theta, ..defaults }),
        None => Ok(plain(Defaults { theta, ..defaults })),
    }
}

/// The rotation that an object of a config describes.
pub fn of(config: &JsonFile, field: &str, rope: &JsonFile, defaults: Defaults) -> Result<Rotation> {
    // Newer transformers nest one object for each kind of layer where they differ.
    if rope.fields().any(|inner| matches!(rope.get(inner), Some(Value::Object(_)))) {
        return Err(config.unsupported(field, "one rotation for all layers"));
    }
    let defaults = Defaults { theta: rope.positive_or("rope_theta", defaults.theta)?, ..defaults };
    if rope.positive_or("partial_rotary_factor", 1.0)? != 1.0 {
        return Err(config.unsupported(field, "no partial_rotary_factor, or 1.0"));
    }
    let rotation = match rope.text_or("rope_type", rope.text_or("type", "default")?)? {
        "default" => plain(defaults),
        "linear" => {
            let factor = rope.positive_or("factor", 1.0)?;
            scaled(plain(defaults), |frequency| frequency / factor)
        }
        // θ grows with rows longer than this; the callers end rows there.
        "dynamic" => plain(defaults),
        "llama3" => llama3(rope, original_positions(config, rope, defaults)?, plain(defaults))?,
        "yarn" => yarn(rope, original_positions(config, rope, defaults)?, defaults)?,
        _ => return Err(config.unsupported(field, format!("absent, null, or of a rope_type among {KINDS}"))),
    };
    if rotation.inverse_frequencies.iter().any(|frequency| !frequency.is_finite()) {
        return Err(config.unsupported(field, "numbers from which frequencies can be computed"));
    }
    Ok(rotation)
}

/// The rotation of one kind of layer, which `rope_parameters` has an object for, or the default. Refused: one object for all
/// kinds, which transformers would leave unread.
pub fn of_kind(config: &JsonFile, kind: &str, defaults: Defaults) -> Result<Rotation> {
    match config.object("rope_parameters")?.map(|all| all.object(kind)).transpose()?.flatten() {
        Some(parameters) => of(config, "rope_parameters", &parameters, defaults),
        None if config.get("rope_parameters").is_some_and(|all| all.get("rope_type").is_some_and(Value::is_string)) => {
            Err(config.unsupported("rope_parameters", "an object for each of full_attention and sliding_attention"))
        }
        None => Ok(plain(defaults)),
    }
}

/// Which of `count` layers `layer_types` calls sliding.
pub fn sliding_layers(config: &JsonFile, count: usize) -> Result<Vec<bool>> {
    let refusal = || config.unsupported("layer_types", format!("{count} of \"full_attention\", \"sliding_attention\""));
    let types = config.get("layer_types").and_then(Value::as_array).filter(|types| types.len() == count);
    let of = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Ok(false),
        Some("sliding_attention") => Ok(true),
        _ => Err(refusal()),
    };
    types.ok_or_else(refusal)?.iter().map(of).collect()
}

/// 1 / θ^(2i/D) for each of the D/2 pairs.
pub fn plain(defaults: Defaults) -> Rotation {
    // torch takes the power in float64 of a float32 exponent and rounds it; so does this.
    let power = |exponent: f32| f64::from(defaults.theta).powf(f64::from(exponent)) as f32;
    let frequency = |pair: usize| 1.0 / power((2 * pair) as f32 / defaults.head_size as f32);
    let inverse_frequencies = (0..defaults.head_size / 2).map(frequency).collect();
    Rotation { inverse_frequencies, attention_factor: 1.0 }
}

fn scaled(rotation: Rotation, with: impl Fn(f32) -> f32) -> Rotation {
    Rotation { inverse_frequencies: rotation.inverse_frequencies.into_iter().map(with).collect(), ..rotation }
}

fn original_positions(config: &JsonFile, rope: &JsonFile, defaults: Defaults) -> Result<f64> {
    let field = "original_max_position_embeddings";
    let inside = rope.integer_or(field, 1..=MAX_ROWS, Some(defaults.max_positions))?;
    Ok(config.integer_or(field, 1..=MAX_ROWS, Some(inside))? as f64)
}

fn llama3(rope: &JsonFile, original: f64, rotation: Rotation) -> Result<Rotation> {
    let number = |field: &str| -> Result<f32> {
        if rope.get(field).is_none() {
            return Err(rope.unsupported(field, "a positive number, for rope_type \"llama3\""));
        }
        rope.positive_or(field, 1.0)
    };
    let (factor, low, high) = (number("factor")?, number("low_freq_factor")?, number("high_freq_factor")?);
    let original = original as f32;
    Ok(scaled(rotation, |frequency| {
        let wavelength = std::f32::consts::TAU / frequency;
        if wavelength < original / high {
            frequency
        } else if wavelength > original / low {
            frequency / factor
        } else {
            let smooth = (original / wavelength - low) / (high - low);
            (1.0 - smooth) * frequency / factor + smooth * frequency
        }
    }))
}

fn yarn(rope: &JsonFile, original: f64, defaults: Defaults) -> Result<Rotation> {
    let usual = defaults.max_positions as f64 / original;
    let factor = f64::from(rope.positive_or("factor", usual as f32)?);
    let (size, theta) = (defaults.head_size as f64, f64::from(defaults.theta));
    let dimension = |turns: f32| size * (original / (f64::from(turns) * 2.0 * PI)).ln() / (2.0 * theta.ln());
    let (mut low, mut high) =
        (dimension(rope.positive_or("beta_fast", 32.0)?), dimension(rope.positive_or("beta_slow", 1.0)?));
    if rope.flag_or("truncate", true)? {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(size - 1.0));
    if low == high {
        high += 0.001;
    }
    let mut pair = 0.0;
    let ramp = |pair: f64| (((pair - low) / (high - low)) as f32).clamp(0.0, 1.0);
    let mut rotation = plain(defaults);
    for frequency in &mut rotation.inverse_frequencies {
        let kept = 1.0 - ramp(pair);
        *frequency = *frequency / factor as f32 * (1.0 - kept) + *frequency * kept;
        pair += 1.0;
    }
    let magnitude = |scale: f64, by: f32| if scale <= 1.0 { 1.0 } else { 0.1 * f64::from(by) * scale.ln() + 1.0 };
    let given = |field: &str| if rope.get(field).is_some() { rope.positive_or(field, 1.0).map(Some) } else { Ok(None) };
    rotation.attention_factor = match (given("attention_factor")?, given("mscale")?, given("mscale_all_dim")?) {
        (Some(factor), _, _) => factor,
        (None, Some(one), Some(all)) => (magnitude(factor, one) / magnitude(factor, all)) as f32,
        (None, _, _) => magnitude(factor, 1.0) as f32,
    };
    Ok(rotation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pair_turns_by_one_and_the_last_by_little() {
        let rotation = plain(Defaults { theta: 10_000.0, head_size: 8, max_positions: 64 });
        let expected = [1.0, 0.1, 0.01, 0.001];
        for (found, expected) in rotation.inverse_frequencies.iter().zip(expected) {
            assert!((found - expected).abs() <= f32::EPSILON * expected, "{found}");
        }
        assert_eq!(rotation.attention_factor, 1.0);
    }
}
