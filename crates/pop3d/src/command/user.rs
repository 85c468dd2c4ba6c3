//! USER (RFC 1939 §7).
//!
//! Whether there is such an account is not said here (RFC 1939 §13, RFC 2449 §8.1.1). Where a password may not be sent, the
//! client hears so before it sends one.

use crate::context::Context;
use crate::state::Authorization;
use crate::stop::{Stop, no};
use culver_pop3::language::Text;
use culver_pop3::response::Code;

/// USER.
pub fn run(name: &[u8], cx: &mut Context) -> (Authorization, Result<(), Stop>) {
    if cx.service.needs_tls(&cx.peer) {
        return (Authorization::default(), Err(Stop::No(Some(Code::Auth), Text::PasswordNeedsTls)));
    }
    cx.ok(&Text::NowThePassword);
    (Authorization { user: Some(name.to_vec()) }, Ok(()))
}

/// The name that PASS belongs to.
pub fn named(user: Option<Vec<u8>>) -> Result<Vec<u8>, Stop> {
    user.map_or_else(|| no(Text::UserFirst), Ok)
}
