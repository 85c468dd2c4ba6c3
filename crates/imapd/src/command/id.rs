//! ID (RFC 2971).

use crate::context::Context;
use crate::stop::Done;
use culver_imap::response;
use std::borrow::Cow;

/// A pair of the client's parameter list.
pub type Pair<'a> = (Cow<'a, [u8]>, Option<Cow<'a, [u8]>>);

/// Notes who the client is and says who we are: the name, and no version, which would only help an attacker.
pub fn run(pairs: Option<Vec<Pair<'_>>>, cx: &mut Context) -> Done {
    let shown: Vec<String> = pairs
        .unwrap_or_default()
        .into_iter()
        .map(|(k, v)| {
            let v = v.map_or("NIL".into(), |v| String::from_utf8_lossy(&v).into_owned());
            format!("{}={v:?}", String::from_utf8_lossy(&k))
        })
        .collect();
    tracing::info!(session = %cx.peer.session, rip = %cx.peer.remote.ip(), "client: {}", shown.join(" "));
    response::id(&mut cx.wire.out, &[("name", Some("Culver"))]);
    Done::ok("ID completed")
}
