//! APOP (RFC 1939 §7): where the greeting had a timestamp.

use crate::command::login;
use crate::context::Context;
use crate::state::Transaction;
use crate::stop::{Stop, no};
use culver_pop3::language::Text;

/// APOP.
pub async fn run(user: &[u8], digest: &[u8], cx: &mut Context) -> Result<Transaction, Stop> {
    let Some(timestamp) = cx.timestamp.clone() else { return no(Text::NoApop) };
    let user = login::prepared(user)?;
    let verified = cx.service.auth.apop(&user, &timestamp, digest, &cx.peer).await;
    login::open(verified.map_err(Stop::Denied)?, "APOP", cx).await
}
