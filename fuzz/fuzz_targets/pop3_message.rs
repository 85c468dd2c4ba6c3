#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_pop3::fuzz::fuzz_pop3_message(data));
