//! ONNX Runtime's error in, what it means for an exported file out: a table of the graph that has fewer rows than the
//! tokenizer has ids, or than rows have positions. Any other error is none of its business.

use std::path::Path;

use crate::batch::PaddedBatch;
use crate::error::Error;

/// What Gather and its quantized kin say, before the index and the range.
const GATHER: &str = "indices element out of data bounds, idx=";
/// What EmbedLayerNormalization says, into which ONNX Runtime fuses BERT's three tables.
const EMBED: &str = "input index out of range";

/// The error of a run that looked beyond the end of a table, as a defect of the file at `path`.
pub fn outside_table(path: &Path, batch: &PaddedBatch, error: &ort::Error) -> Option<Error> {
    let problem = explain(&error.to_string(), &batch.input_ids, batch.length)?;
    Some(Error::malformed(path, problem))
}

fn explain(message: &str, ids: &[i32], length: usize) -> Option<String> {
    let node = message.split_once("Name:'").and_then(|(_, rest)| rest.split_once('\'')).map_or("", |(name, _)| name);
    let largest = ids.iter().max().copied().unwrap_or_default();
    if let Some((_, rest)) = message.split_once(GATHER) {
        let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<i64>().ok();
        let (asked, rows) = (number(rest)?, rest.split_once("[-").and_then(|(_, rest)| number(rest))?);
        let cause = match ids.iter().any(|id| i64::from(*id) == asked) {
            true => format!("token id {asked}, which the tokenizer gives, is outside of it"),
            false => {
                format!("row {asked} was asked for at {length} tokens a row: lower max_length if it holds positions")
            }
        };
        return Some(format!("the table of node `{node}` has {rows} rows, and {cause}"));
    }
    message.contains(EMBED).then(|| {
        format!(
            "a table of node `{node}` has too few rows for token ids up to {largest}, which the tokenizer gives, or for \
             {length} tokens a row"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "Non-zero status code returned while running ";

    #[test]
    fn a_token_id_outside_the_table() {
        let message = format!(
            "{RUN}Gather node. Name:'/words/Gather' Status Message: indices element out of data bounds, idx=60 must be \
             within the inclusive range [-50,49]"
        );
        let told = explain(&message, &[1, 60, 2], 3).unwrap();
        assert_eq!(
            told,
            "the table of node `/words/Gather` has 50 rows, and token id 60, which the tokenizer gives, is outside of it"
        );
        let told = explain(&message, &[1, 2], 61).unwrap();
        assert!(told.contains("has 50 rows, and row 60 was asked for at 61 tokens a row: lower max_length"), "{told}");
    }

    #[test]
    fn fused_tables_do_not_say_which() {
        let message =
            format!("{RUN}EmbedLayerNormalization node. Name:'embed' Status Message: input index out of range");
        let told = explain(&message, &[1, 60, 2], 3).unwrap();
        assert!(told.starts_with("a table of node `embed` has too few rows for token ids up to 60"), "{told}");
    }

    #[test]
    fn other_errors_are_left_alone() {
        for message in ["", "out of memory", &format!("{RUN}MatMul node. Name:'x' Status Message: shapes differ")] {
            assert_eq!(explain(message, &[1], 1), None, "{message}");
        }
    }
}
