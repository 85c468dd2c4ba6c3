#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_lmtp::fuzz::fuzz_lmtp(data));
