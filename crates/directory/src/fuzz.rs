//! Targets for a fuzzer: bytes in, no panic out.

use crate::passwd_file::Line;
use crate::system::protocol::{Answer, Question};
use crate::{Defaults, Login, MailLocation, Names, Network};

/// A name that somebody typed.
pub fn fuzz_login(data: &[u8]) {
    if let Ok(login) = Login::parse(data) {
        assert_eq!(Login::parse(login.as_str().as_bytes()).as_ref(), Ok(&login), "canonical names stay");
    }
}

/// A line of a passwd-file, and what mail locations are made of.
pub fn fuzz_passwd_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = (Network::parse(&text), MailLocation::parse(&text, &Names { user: "a@b", home: Some("/h") }));
    if let Some(line) = Line::parse(&text) {
        let _ = line.account("a@example.com", &Defaults::default());
    }
}

/// Lines between the server and the helper that asks PAM and NSS.
pub fn fuzz_system_line(data: &[u8]) {
    if let Some((id, question)) = Question::parse(data) {
        let line = question.encode(id);
        assert!(Question::parse(&line[..line.len() - 1]) == Some((id, question)), "what is written is read");
    }
    if let Some((id, answer)) = Answer::parse(data) {
        let line = answer.encode(id);
        assert_eq!(Answer::parse(&line[..line.len() - 1]), Some((id, answer)), "what is written is read");
    }
}
