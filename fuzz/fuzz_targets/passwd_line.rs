#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_directory::fuzz::fuzz_passwd_line(data));
