#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_auth_protocol::fuzz::fuzz_auth_protocol(data));
