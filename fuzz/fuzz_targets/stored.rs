#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_auth::fuzz::fuzz_stored(data));
