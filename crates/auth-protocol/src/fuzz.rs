//! Targets for a fuzzer: bytes in, no panic out, and what parses prints to what parses to the same.

use crate::{Fields, Lines, client, escape, master, unescape};

/// Both sides of both sockets.
pub fn fuzz_auth_protocol(data: &[u8]) {
    let mut lines = Lines::new();
    let mut handshake = client::Handshake::default();
    for chunk in data.chunks(7) {
        lines.push(chunk);
        while let Ok(Some(line)) = lines.next_line() {
            if let Ok(request) = client::Request::parse(&line) {
                let again = client::Request::parse(&request.to_string());
                let holds_invalid = format!("{request:?}").contains("Invalid");
                assert!(holds_invalid || again == Ok(request), "{line:?}");
            }
            if let Ok(request) = master::Request::parse(&line) {
                assert_eq!(master::Request::parse(&request.to_string()), Ok(request));
            }
            if let Ok(Some(answer)) = client::Answer::parse(&line) {
                assert_eq!(client::Answer::parse(&answer.to_string()), Ok(Some(answer)));
            }
            if let Ok(Some(answer)) = master::Answer::parse(&line) {
                assert_eq!(master::Answer::parse(&answer.to_string()), Ok(Some(answer)));
            }
            let _ = handshake.read(&line);
            assert_eq!(Fields::parse(&Fields::parse(&line).to_string()), Fields::parse(&line));
            assert_eq!(unescape(&escape(&line)), line);
        }
    }
}
