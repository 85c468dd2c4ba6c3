//! AUTH (RFC 5034 §4). The exchange's lines are read here; `*` cancels it.
//!
//! Without a mechanism the list of them comes, as servers before RFC 5034 gave it and Outlook asks for it.

use crate::command::login;
use crate::context::Context;
use crate::state::Transaction;
use crate::stop::{Stop, no};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use culver_auth::Progress;
use culver_auth::sasl::Mechanism;
use culver_pop3::language::Text;
use culver_pop3::response::{self, Code};

/// AUTH.
pub async fn run(
    mechanism: Option<&str>,
    initial: Option<&[u8]>,
    cx: &mut Context,
) -> Result<Transaction, Stop> {
    let offered = cx.service.auth.offered(&cx.peer);
    let Some(name) = mechanism else {
        cx.ok(&Text::ListFollows);
        for mechanism in &offered {
            cx.wire.out.extend_from_slice(mechanism.name().as_bytes());
            cx.wire.out.extend_from_slice(b"\r\n");
        }
        response::end(&mut cx.wire.out);
        return Err(Stop::Answered);
    };
    let known = Mechanism::parse(name);
    let Some(mechanism) = known.filter(|m| offered.contains(m)) else {
        if known.is_some() && cx.service.needs_tls(&cx.peer) {
            return Err(Stop::No(Some(Code::Auth), Text::MechanismNeedsTls));
        }
        return no(Text::MechanismNotOffered);
    };
    let mut answer = match initial {
        // RFC 5034 §4: refused where the server speaks first.
        Some(_) if !mechanism.client_first() => return no(Text::NoInitialResponse),
        Some(b"=") => Vec::new(),
        Some(text) => decode(text)?,
        // An empty challenge asks for the first answer.
        None if mechanism.client_first() => ask(b"", cx).await?,
        None => Vec::new(),
    };
    let binding = cx
        .wire
        .stream()
        .and_then(culver_net::Stream::channel_binding)
        .map(|b| culver_auth::ChannelBinding { exporter: b.tls_exporter, end_point: b.tls_server_end_point });
    let service = cx.service.clone();
    let mut exchange = service.auth.start(mechanism, &cx.peer, binding);
    loop {
        match exchange.step(&answer).await {
            Progress::Challenge(challenge) => answer = ask(&challenge, cx).await?,
            Progress::Done { account, final_message } => {
                if let Some(last) = final_message {
                    // RFC 5034 §4: there is no place for data beside success; it goes as one more challenge.
                    ask(&last, cx).await?;
                }
                return login::open(account, mechanism.name(), cx).await;
            }
            Progress::Denied(denied) => return Err(Stop::Denied(denied)),
        }
    }
}

async fn ask(challenge: &[u8], cx: &mut Context) -> Result<Vec<u8>, Stop> {
    let line = cx.ask(challenge).await?;
    if line.as_ref() == b"*" {
        return no(Text::Cancelled);
    }
    decode(&line)
}

fn decode(text: &[u8]) -> Result<Vec<u8>, Stop> {
    BASE64.decode(text).map_or_else(|_| no(Text::NotBase64), Ok)
}
