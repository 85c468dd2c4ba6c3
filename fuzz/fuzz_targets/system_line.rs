#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_directory::fuzz::fuzz_system_line(data));
