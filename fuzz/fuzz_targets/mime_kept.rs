#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_mime::fuzz::kept(data));
