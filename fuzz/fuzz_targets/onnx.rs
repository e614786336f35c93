//! Bytes of an ONNX file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ironvec::fuzzing::onnx(bytes));
