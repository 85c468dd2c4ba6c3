#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_config::fuzz::fuzz_config(data));
