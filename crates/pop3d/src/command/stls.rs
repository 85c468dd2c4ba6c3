//! STLS (RFC 2595 §4). The `+OK` goes out in the clear; nothing read before the handshake is kept.

use crate::context::Context;
use crate::stop::{Stop, no};
use culver_auth::Secured;
use culver_pop3::language::Text;

/// STLS.
pub async fn run(cx: &mut Context) -> Result<(), Stop> {
    if cx.peer.secured == Secured::Tls {
        return no(Text::TlsIsOn);
    }
    let Some(acceptor) = cx.service.tls.clone() else { return no(Text::NoTls) };
    if cx.utf8 {
        // RFC 6856 §2.1: never after UTF8.
        return no(Text::TlsBeforeUtf8);
    }
    cx.ok(&Text::BeginTls);
    cx.wire.flush().await?;
    cx.wire.start_tls(&acceptor).await?;
    cx.framer.reset();
    cx.peer.secured = Secured::Tls;
    cx.peer.certificate = cx.wire.stream().and_then(culver_net::Stream::client_certificate);
    // A timestamp that was read in the clear is no secret, but what was chosen in the clear is forgotten.
    cx.voice = culver_pop3::Voice::default();
    Ok(())
}
