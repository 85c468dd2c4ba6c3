//! AUTHENTICATE (RFC 9051 §6.2.2; initial response: RFC 4959).

use crate::command::{idle, login};
use crate::context::Context;
use crate::state::Authenticated;
use crate::stop::{Code, Done, Stop};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use culver_auth::{Progress, sasl::Mechanism};
use culver_imap::frame::Framer;
use culver_imap::response::{self, Code as WireCode};
use std::io;

/// AUTHENTICATE. The exchange's lines are read here; `*` cancels it.
pub async fn run(
    mechanism: &str,
    initial: Option<&[u8]>,
    framer: &mut Framer,
    cx: &mut Context,
) -> Result<(Authenticated, Done), Stop> {
    let offered = cx.service.auth.offered(&cx.peer);
    let known = Mechanism::parse(mechanism);
    let Some(mechanism) = known.filter(|m| offered.contains(m)) else {
        if known.is_some() && cx.service.login_disabled(&cx.peer) {
            let text = "This mechanism needs TLS here: use STARTTLS or port 993";
            return Err(Done::no(Code::Plain(WireCode::PrivacyRequired), text).into());
        }
        return Err(Done::no(Code::Plain(WireCode::Cannot), "That mechanism is not offered here").into());
    };
    let binding = cx
        .wire
        .stream()
        .and_then(culver_net::Stream::channel_binding)
        .map(|b| culver_auth::ChannelBinding { exporter: b.tls_exporter, end_point: b.tls_server_end_point });
    let service = cx.service.clone();
    let mut exchange = service.auth.start(mechanism, &cx.peer, binding);
    let mut answer = match initial {
        Some(b"=") => Some(Vec::new()),
        Some(text) => Some(decode(text)?),
        None if mechanism.client_first() => {
            // RFC 9051 §6.2.2: an empty challenge asks for the first answer.
            Some(ask(b"", framer, cx).await?)
        }
        None => None,
    };
    loop {
        match exchange.step(answer.as_deref().unwrap_or_default()).await {
            Progress::Challenge(challenge) => answer = Some(ask(&challenge, framer, cx).await?),
            Progress::Done { account, final_message } => {
                if let Some(last) = final_message {
                    // IMAP has no place for data beside success: it goes as one more challenge (RFC 4422 §5).
                    ask(&last, framer, cx).await?;
                }
                return login::open(account, mechanism.name(), cx).await;
            }
            Progress::Denied(denied) => return Err(login::denied(denied, cx).into()),
        }
    }
}

async fn ask(challenge: &[u8], framer: &mut Framer, cx: &mut Context) -> Result<Vec<u8>, Stop> {
    response::continuation(&mut cx.wire.out, &BASE64.encode(challenge));
    cx.wire.flush().await?;
    let line = loop {
        if !cx.wire.input().is_empty()
            && let Some(line) = idle::take_line(framer, cx)?
        {
            break line;
        }
        let more = tokio::time::timeout(cx.service.settings.login_timeout, cx.wire.fill()).await;
        match more {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(Stop::Ended(io::ErrorKind::UnexpectedEof.into())),
            Ok(Err(broken)) => return Err(Stop::Ended(broken)),
            Err(_) => return Err(crate::session::autologout()),
        }
    };
    if line == b"*" {
        return Err(Done::bad("Authentication cancelled").into());
    }
    decode(&line)
}

fn decode(text: &[u8]) -> Result<Vec<u8>, Stop> {
    BASE64.decode(text.trim_ascii()).map_err(|_| Done::bad("That is not valid BASE64").into())
}
