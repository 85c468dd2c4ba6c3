#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_sasl::fuzz::fuzz_sasl(data));
