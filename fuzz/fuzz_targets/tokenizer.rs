//! Bytes of a tokenizer.json. The tokenizers crate panics on broken ones, and ironvec makes errors of that: so the hook
//! by which libFuzzer ends the process at any panic is taken away, and only panics that nobody caught count.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |bytes: &[u8]| ironvec::fuzzing::tokenizer(bytes));
