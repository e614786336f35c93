//! Bytes of strangers in, nothing out: one function for each kind of file that a checkpoint is made of, read as the rest
//! of the crate reads it. Errors are right answers; a panic, a fault or a place outside the file is a finding. For the
//! targets of `fuzz/`, and for the tests below, which replay its seeds and what it once found.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use prost::Message;
use safetensors::SafeTensors;

use crate::checkpoint::external_data::held_files;
use crate::checkpoint::tensors::TensorReader;
use crate::checkpoint::weights::Weights;
use crate::inspect::graph::graph_facts;
use crate::inspect::lean::{Fixed, drop_weights, everything_as_output, fix_dimensions, weights_as_inputs};
use crate::inspect::{TensorInfo, inspect};
use crate::lowering::coreml::{self, StaticShape};
use crate::lowering::cpu;
use crate::lowering::onnx::builder::Operators;
use crate::lowering::onnx::folding::FloatType;
use crate::lowering::onnx::proto::ModelProto;
use crate::options::Arithmetic;
use crate::spec::{Network, Spec};
use crate::texts::tokenize::{Extent, TextTokenizer};

/// The files that `model_folder` is made of, in the order in which they lie in its input, a zero byte between two; of the
/// weights the header alone.
const FOLDER_FILES: [&str; 9] = [
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "2_Normalize/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
    WEIGHTS,
];
const WEIGHTS: &str = "model.safetensors";
/// Bytes of numbers behind a header at most; they are all zero.
const MOST_NUMBERS: u64 = 1 << 24;
/// Makes a folder of tokenizer.json alone one that has a `Spec`.
const BERT: &str = r#"{"model_type": "bert", "vocab_size": 1000, "hidden_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 4, "intermediate_size": 64, "hidden_act": "gelu", "max_position_embeddings": 64}"#;
const TEXTS: [&str; 4] = ["", "the capital of france is paris", "Ä漢字\u{301}\0😀\n\t ", "[CLS]a[SEP]"];

/// The one file of a checkpoint's weights: its header, and the numbers at the places that it gives.
pub fn safetensors(bytes: &[u8]) {
    let folder = Folder::new();
    folder.write("model.safetensors", bytes);
    let Ok(weights) = Weights::open(&folder.0) else { return };
    let Ok((_, metadata)) = SafeTensors::read_metadata(bytes) else { return };
    let mut tensors = TensorReader::new(&weights);
    for (name, info) in metadata.tensors() {
        let Ok(place) = weights.tensor(&name, &info.shape) else { continue };
        assert!(place.offset + place.length <= bytes.len() as u64, "{name} ends outside the file");
        let Ok(tensor) = tensors.tensor(&name, &info.shape) else { continue };
        let numbers = tensor.rows(0..usize::MAX);
        assert_eq!(numbers.len(), info.shape.iter().product::<usize>(), "{name}");
    }
}

/// The JSON files of a model folder and the header of its weights, a zero byte between two; an empty one is absent. Up to
/// the graphs of what can be read.
pub fn model_folder(bytes: &[u8]) {
    graphs_of_folder(bytes);
}

/// How many graphs were made of a folder.
fn graphs_of_folder(bytes: &[u8]) -> usize {
    let folder = Folder::new();
    for (name, content) in FOLDER_FILES.iter().zip(bytes.split(|byte| *byte == 0)) {
        if content.is_empty() {
            continue;
        }
        folder.write(name, content);
        if *name == WEIGHTS {
            folder.make_weights(content);
        }
    }
    let _ = Weights::open(&folder.0);
    let Ok(spec) = Spec::read(&folder.0, None) else { return 0 };
    assert!(spec.folder.starts_with(&folder.0), "{} is outside the model's folder", spec.folder.display());
    assert!(!spec.pooling.is_empty() && spec.max_length.value > 0);
    assert!(spec.max_length.value <= spec.network.max_positions());
    let (network, weights) = match &spec.network {
        Network::Checkpoint(network, weights) => (network, weights),
        Network::OnnxFile(_) | Network::StaticTable(_) => return 0,
    };
    let on_cpu = [Arithmetic::Float32, Arithmetic::Bfloat16, Arithmetic::Int8]
        .into_iter()
        .filter(|arithmetic| cpu::lower(network, &spec.pooling, weights, *arithmetic, Operators::Own).is_ok());
    let shape = StaticShape { rows: 1, length: spec.max_length.value.min(64), element: FloatType::Float16 };
    on_cpu.count() + usize::from(coreml::draft(network, &spec.pooling, weights, shape).is_ok())
}

/// A file of weights as torch writes.
pub fn torch_weights(bytes: &[u8]) {
    let folder = Folder::new();
    folder.write("pytorch_model.bin", bytes);
    let Ok(weights) = Weights::open(&folder.0) else { return };
    for path in weights.files() {
        assert!(path.ends_with("pytorch_model.bin"));
    }
}

/// An ONNX file: the files that it names, what ONNX Runtime is given of it, and the report on it, where types are what
/// the file says of them.
pub fn onnx(bytes: &[u8]) {
    let folder = Folder::new();
    folder.write("model.onnx", bytes);
    let _ = held_files(&folder.0.join("model.onnx"));
    if let Ok(facts) = graph_facts(&folder.0.join("model.onnx")) {
        assert!(serde_json::to_string(&facts).is_ok(), "what a file says of itself is JSON");
    }
    let Ok(mut model) = ModelProto::decode(bytes) else { return };
    let symbols = ["batch_size", "sequence_length"].map(|name| (name.to_owned(), 3));
    let input = model.graph.iter().flat_map(|graph| &graph.input).next().map(|input| input.name.clone());
    for fixed in [
        Fixed { dimensions: symbols.into(), ..Fixed::default() },
        Fixed { shapes: input.map(|name| (name, vec![1, 7])).into_iter().collect(), ..Fixed::default() },
    ] {
        let _ = fix_dimensions(&mut model, &fixed);
    }
    let weights = drop_weights(&mut model);
    let mut lean = weights_as_inputs(&model, &weights);
    if let Some(graph) = lean.graph.as_mut() {
        everything_as_output(graph);
    }
    assert!(ModelProto::decode(lean.encode_to_vec().as_slice()).is_ok(), "what is written can be read");
    let declared = model.graph.iter().flat_map(|graph| graph.value_info.iter().chain(&graph.output));
    let types: HashMap<String, TensorInfo> =
        declared.map(|value| (value.name.clone(), TensorInfo::declared(value))).collect();
    for static_shapes in [true, false] {
        let report = inspect(&model, types.clone(), static_shapes);
        assert!(report.taken <= report.nodes && report.partition_sizes.iter().sum::<usize>() == report.taken);
        assert!(serde_json::to_string(&report).is_ok(), "a report is JSON");
    }
}

/// tokenizer.json, and rows of a few texts.
pub fn tokenizer(bytes: &[u8]) {
    let folder = Folder::new();
    folder.write("config.json", BERT.as_bytes());
    folder.write("tokenizer.json", bytes);
    // Beside an ONNX file no weights are asked for, and it is not opened here.
    folder.write("model.onnx", b"unread");
    let Ok(spec) = Spec::read(&folder.0, Some("model.onnx")) else { return };
    let Ok(tokenizer) = TextTokenizer::load(&spec) else { return };
    for (prompt, max_length) in [("", 64), ("query: ", 5)] {
        let extent = Extent { max_length, counted: true };
        for numbered in TEXTS.into_iter().enumerate() {
            let Ok(rows) = tokenizer.rows(&[numbered], prompt, extent, 1, &AtomicBool::new(false)) else {
                continue;
            };
            let ids = rows.iter().flat_map(|row| &row.ids);
            assert!(ids.clone().all(|id| (0..1000).contains(id)) && ids.count() <= max_length);
        }
        let _ = tokenizer.prompt_tokens(prompt, max_length, &AtomicBool::new(false));
    }
}

/// A folder for one input, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("ironvec-fuzz-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Folder(std::env::temp_dir().join(name))
    }

    /// A file of weights around a header: its length before it, and behind it as many zeros as it asks for.
    fn make_weights(&self, header: &[u8]) {
        let tensors: HashMap<String, serde_json::Value> = serde_json::from_slice(header).unwrap_or_default();
        let ends = tensors.values().filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64());
        let numbers = ends.max().unwrap_or(0).min(MOST_NUMBERS);
        self.write(WEIGHTS, &[&(header.len() as u64).to_le_bytes(), header].concat());
        let file = fs::OpenOptions::new().write(true).open(self.0.join(WEIGHTS));
        let made = file.and_then(|file| file.set_len(8 + header.len() as u64 + numbers));
        assert!(made.is_ok(), "{made:?}");
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.0.join(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, content));
        assert!(written.is_ok(), "{}: {written:?}", path.display());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Runs a target on its committed inputs; there must be some.
    fn replay(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let mut seeds = 0;
        for (kind, counts) in [("seeds", true), ("regressions", false)] {
            let Ok(entries) = fs::read_dir(folder.join(kind).join(target)) else { continue };
            for entry in entries {
                run(&fs::read(entry.unwrap().path()).unwrap());
                seeds += usize::from(counts);
            }
        }
        assert!(seeds > 0, "no seeds of {target}");
    }

    #[test]
    fn safetensors_headers() {
        replay("safetensors", safetensors);
    }

    #[test]
    fn json_of_model_folders() {
        replay("model_folder", model_folder);
    }

    #[test]
    fn seeds_of_families_become_graphs() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/model_folder");
        for family in ["bert", "decoders", "distilbert", "gemma3", "gte", "modernbert", "mpnet", "nomic", "roberta"] {
            assert_eq!(graphs_of_folder(&fs::read(seeds.join(family)).unwrap()), 4, "{family}");
        }
    }

    #[test]
    fn torch_files() {
        replay("torch_weights", torch_weights);
    }

    #[test]
    fn onnx_files() {
        replay("onnx", onnx);
    }

    #[test]
    fn tokenizers() {
        replay("tokenizer", tokenizer);
    }
}
