//! Bytes of a pytorch_model.bin.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ironvec::fuzzing::torch_weights(bytes));
