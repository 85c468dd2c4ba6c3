//! PASS (RFC 1939 §7), for the USER right before it.

use crate::command::{login, user};
use crate::context::Context;
use crate::state::Transaction;
use crate::stop::Stop;

/// PASS.
pub async fn run(named: Option<Vec<u8>>, password: &[u8], cx: &mut Context) -> Result<Transaction, Stop> {
    let named = user::named(named)?;
    let (name, password) = (login::prepared(&named)?, login::prepared(password)?);
    let verified = cx.service.auth.verify(&name, &password, &cx.peer).await;
    login::open(verified.map_err(Stop::Denied)?, "PLAIN", cx).await
}
