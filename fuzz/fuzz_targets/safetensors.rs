//! Bytes of a model.safetensors.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ironvec::fuzzing::safetensors(bytes));
