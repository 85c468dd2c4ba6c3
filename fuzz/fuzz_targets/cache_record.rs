#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_maildir::fuzz::fuzz_cache_record(data));
