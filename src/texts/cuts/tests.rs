//! Tokenizers of every cuttable build in, random texts of awkward scraps through them whole and in the smallest pieces:
//! the same tokens. And the builds that must not be cut.

use serde_json::{Value, json};

use super::*;

/// What texts are made of: words, all sorts of whitespace, marks that compose with what is before them, scripts without
/// spaces, joined emoji, controls, added tokens and parts of them.
const SCRAPS: [&str; 48] = [
    " ",
    " ",
    " ",
    " ",
    " ",
    " ",
    "\n",
    "\n",
    "  ",
    " \n",
    "\r\n",
    "\t",
    "\u{a0}",
    "\u{3000}",
    "\u{200b}",
    "\u{2028}",
    "a",
    "b",
    "e",
    "cat",
    "Mat",
    "don't",
    "'s",
    "'ll",
    "1",
    "234",
    ".",
    "-",
    "\u{301}",
    "\u{308}",
    "é",
    "가",
    "\u{11a8}",
    "中",
    "国",
    "か",
    "\u{3099}",
    "я",
    "ال",
    "👩\u{200d}🚀",
    "\0",
    "\u{ad}",
    "ﬁ",
    "▁",
    "[MASK]",
    "[MA",
    "SK]",
    "token",
];

fn added(content: &str, normalized: bool, lstrip: bool, single_word: bool) -> Value {
    json!({"id": 5, "content": content, "single_word": single_word, "lstrip": lstrip, "rstrip": false,
           "normalized": normalized, "special": false})
}

fn tokenizer(model: &str, normalizer: Value, pre_tokenizer: Value, added_tokens: Value) -> Tokenizer {
    let pieces =
        ["<unk>", "a", "##a", "cat", "at", "▁", "▁a", "▁c", "Ġ", "Ġa", "Ċ", "c", "t", "b", "##t", "e", "中", "1"];
    let ids: serde_json::Map<String, Value> =
        pieces.iter().enumerate().map(|(id, piece)| ((*piece).to_owned(), json!(id))).collect();
    let scored: Vec<Value> = pieces.iter().map(|piece| json!([piece, -(piece.len() as f64)])).collect();
    let model = match model {
        "WordPiece" => json!({"type": "WordPiece", "vocab": ids, "unk_token": "<unk>",
                              "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}),
        "BPE" => {
            json!({"type": "BPE", "vocab": ids, "merges": ["Ġ a", "▁ a", "a t", "c at"], "unk_token": "<unk>", "fuse_unk": true})
        }
        _ => json!({"type": "Unigram", "vocab": scored, "unk_id": 0}),
    };
    let file = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added_tokens,
                      "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null,
                      "decoder": null, "model": model});
    Tokenizer::from_bytes(file.to_string()).unwrap()
}

fn kind(name: &str) -> Value {
    json!({"type": name})
}

fn sequence(field: &str, steps: &[Value]) -> Value {
    json!({"type": "Sequence", field: steps})
}

fn bert(chinese: bool) -> Value {
    json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": chinese, "strip_accents": null,
           "lowercase": true})
}

fn bytes(prefix: bool, regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": false, "use_regex": regex})
}

fn split(regex: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false})
}

fn meta(scheme: &str, split: bool) -> Value {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split})
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

fn tokens() -> Value {
    json!([added("[MASK]", false, true, false), added("token", true, false, true)])
}

/// Every tokenizer that may be cut, by the ways that published ones are built and some that none is.
fn cuttable() -> Vec<Tokenizer> {
    let runs = || replace(json!({"Regex": " {2,}"}), "▁");
    let strip = json!({"type": "Strip", "strip_left": false, "strip_right": true});
    let first = |step: Value| sequence("pretokenizers", &[kind("WhitespaceSplit"), step]);
    let normal = |steps: &[Value]| sequence("normalizers", steps);
    let mut all = vec![
        tokenizer("WordPiece", bert(true), kind("BertPreTokenizer"), tokens()),
        tokenizer(
            "WordPiece",
            normal(&[kind("NFD"), kind("Lowercase"), kind("StripAccents")]),
            kind("Whitespace"),
            tokens(),
        ),
        tokenizer("BPE", Value::Null, bytes(true, true), tokens()),
        tokenizer("BPE", bert(true), bytes(false, true), tokens()),
        tokenizer("Unigram", kind("Nmt"), meta("always", true), tokens()),
        tokenizer("Unigram", normal(&[kind("NFKC"), strip, runs()]), meta("first", true), tokens()),
        tokenizer("Unigram", kind("NFKD"), first(meta("always", true)), tokens()),
        tokenizer("Unigram", bert(true), first(meta("first", true)), tokens()),
        tokenizer("BPE", replace(json!({"String": " "}), "▁"), meta("never", true), tokens()),
        tokenizer("BPE", kind("NFC"), json!({"type": "CharDelimiterSplit", "delimiter": " "}), tokens()),
    ];
    for regex in SPLITTING {
        let steps = sequence("pretokenizers", &[split(regex), bytes(false, false)]);
        all.push(tokenizer("BPE", kind("NFC"), steps, tokens()));
    }
    all
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec()
}

#[test]
fn the_pieces_have_the_tokens_of_the_whole() {
    let mut state = 1_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for (at, tokenizer) in cuttable().iter().enumerate() {
        let cuts = Cuts::of(tokenizer).unwrap_or_else(|| panic!("tokenizer {at} is not cut"));
        let mut places = 0;
        for _ in 0..4000 {
            let text: String = (0..random(24)).map(|_| SCRAPS[random(SCRAPS.len())]).collect();
            let pieces = cuts.pieces(&text, 1);
            assert_eq!(pieces.concat(), text);
            places += pieces.len() - 1;
            let joined: Vec<u32> = pieces.iter().flat_map(|piece| ids(tokenizer, piece)).collect();
            assert_eq!(joined, ids(tokenizer, &text), "tokenizer {at}: {pieces:?}");
        }
        assert!(places > 300, "tokenizer {at}: only {places} places");
    }
}

#[test]
fn what_is_not_known_stays_whole() {
    let bert_like =
        |normalizer: Value, added: Value| tokenizer("WordPiece", normalizer, kind("BertPreTokenizer"), added);
    let spaced = |content: &str| json!([added(content, false, false, false)]);
    let mut stripping = added("cat", false, false, false);
    stripping["rstrip"] = json!(true);
    let prepend = json!({"type": "Prepend", "prepend": "▁"});
    let strip = json!({"type": "Strip", "strip_left": true, "strip_right": false});
    let later = [bytes(false, true), meta("first", true)];
    for (what, tokenizer) in [
        ("a regex of others", tokenizer("BPE", Value::Null, split(r"\w+ \w+"), json!([]))),
        ("no pre-tokenizer", tokenizer("BPE", Value::Null, Value::Null, json!([]))),
        ("bytes without a regex", tokenizer("BPE", Value::Null, bytes(false, false), json!([]))),
        ("a metaspace that does not split", tokenizer("BPE", Value::Null, meta("always", false), json!([]))),
        ("punctuation first", tokenizer("BPE", Value::Null, json!({"type": "Punctuation"}), json!([]))),
        ("the start is looked at", tokenizer("BPE", Value::Null, sequence("pretokenizers", &later), json!([]))),
        ("any replacement", bert_like(replace(json!({"String": "a b"}), "ab"), json!([]))),
        ("a prefix", bert_like(prepend, json!([]))),
        ("spaces stripped on the left", bert_like(strip, json!([]))),
        ("spaces replaced, then split at", bert_like(replace(json!({"String": " "}), "▁"), json!([]))),
        ("a token with a space in it", bert_like(bert(true), spaced("a cat"))),
        ("a token that takes what follows", bert_like(bert(true), json!([stripping]))),
        ("a token that gets spaces", bert_like(bert(true), json!([added("中", true, false, false)]))),
    ] {
        assert_eq!(Cuts::of(&tokenizer), None, "{what}");
    }
}

#[test]
fn pieces_are_as_long_as_asked_for() {
    let cuts = Cuts { line_feeds: false, ascii_only: false };
    assert_eq!(cuts.pieces("aa bb cc dd", 4), ["aa bb", " cc dd"]);
    assert_eq!(cuts.pieces("aa  bb\ncc dd", 1), ["aa  bb\ncc", " dd"]);
    assert_eq!(cuts.pieces("aaaa", 1), ["aaaa"]);
    assert_eq!(cuts.pieces("", 1), [""]);
    let lines = Cuts { line_feeds: true, ascii_only: true };
    assert_eq!(lines.pieces("aa\nbb.\ncc 中 dd", 1), ["aa", "\nbb.\ncc 中 dd"]);
}
