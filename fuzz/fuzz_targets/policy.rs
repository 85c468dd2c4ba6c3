#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_lookupd::fuzz::fuzz_policy(data));
