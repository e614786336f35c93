//! The JSON files of a model folder, a zero byte between two.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ironvec::fuzzing::model_folder(bytes));
