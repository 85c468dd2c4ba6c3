//! A connection to the master socket. It ends when the peer closes, breaks the protocol or reads nothing, and when the
//! server stops.

use crate::fields::{pass_fields, user_fields};
use crate::service::{AuthdService, WITHIN};
use crate::wire::{Input, Wire};
use culver_auth_protocol::Broken;
use culver_auth_protocol::master::{Answer, Lookup, Request, greeting};
use culver_directory::{Account, Login};
use culver_net::{BoxFuture, Connection, Shutdown};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use tokio::time::timeout;

/// Look-ups at once on one connection; the next line is read when one of them is done.
const AT_ONCE: usize = 100;
/// A list is sent in pieces of so many octets.
const PIECE: usize = 32 * 1024;

/// Serves one connection.
pub async fn run(service: Arc<AuthdService>, connection: Connection, shutdown: Shutdown) {
    let session = connection.session;
    let mut wire = Wire::new(connection.stream);
    if let Err(why) = serve(&service, &mut wire, &session, &shutdown).await {
        service.closed("a master", &session, &why);
    }
    wire.close().await;
}

/// `Err` when the peer broke the protocol, with what to tell of it.
async fn serve(
    service: &Arc<AuthdService>,
    wire: &mut Wire,
    session: &str,
    shutdown: &Shutdown,
) -> Result<(), String> {
    let mut agreed = false;
    let mut running: FuturesUnordered<BoxFuture<'static, String>> = FuturesUnordered::new();
    let gone = |_: io::Error| Ok(());
    if wire.send(&greeting(std::process::id())).await.is_err() {
        return Ok(());
    }
    loop {
        tokio::select! {
            Some(answer) = running.next(), if !running.is_empty() => {
                for piece in pieces(&answer) {
                    if let Err(e) = wire.send(piece).await {
                        return gone(e);
                    }
                }
            }
            input = wire.line(), if running.len() < AT_ONCE => match input {
                Input::End => return Ok(()),
                Input::TooLong => return Err(culver_auth_protocol::TooLong.to_string()),
                Input::Line(line) => {
                    let request = Request::parse(&line).map_err(|broken| broken.to_string())?;
                    match (&request, agreed) {
                        (Request::Version { .. }, _) => agreed = true,
                        (_, false) => {
                            let expected = "VERSION before anything else";
                            return Err(Broken { command: "the master's first line", expected }.to_string());
                        }
                        _ => running.push(Box::pin(answer(service.clone(), request, session.to_owned()))),
                    }
                }
            },
            () = shutdown.wait() => return Ok(()),
        }
    }
}

/// Whole lines, so that several connections' lists do not all wait in buffers of sockets.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let from = PIECE.min(rest.len());
        let end = rest.as_bytes()[..from].iter().rposition(|b| *b == b'\n').map_or(rest.len(), |n| n + 1);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// The answer's lines.
async fn answer(service: Arc<AuthdService>, request: Request, session: String) -> String {
    match request {
        Request::Version { .. } => String::new(),
        Request::User(lookup) => {
            let found = find(&service, &lookup, &session).await;
            line(&found.map_or_else(|none| none, |account| user(&service, lookup.id, &account)))
        }
        Request::Pass(lookup) => {
            let found = find(&service, &lookup, &session).await;
            let pass = |account: Arc<Account>| Answer::Pass { id: lookup.id, fields: pass_fields(&account) };
            line(&found.map_or_else(|none| none, pass))
        }
        Request::List { id, .. } => list(&service, id, &session).await,
        Request::Finished { id, client, exchange, cookie, .. } => {
            line(&match service.finished.take(&cookie, client, exchange) {
                None => Answer::Fail(id),
                Some((account, mechanism)) => match user(&service, id, &account) {
                    Answer::User { id, user, fields } => {
                        Answer::User { id, user, fields: fields.with("auth_mech", mechanism) }
                    }
                    other => other,
                },
            })
        }
        Request::Flush { id, users } => line(&Answer::Flushed { id, entries: flush(&service, &users) }),
    }
}

/// What sources remember of these, or of all.
fn flush(service: &AuthdService, users: &[String]) -> u64 {
    let entries = match users {
        [] => service.directory.flush(None),
        users => {
            let logins = users.iter().filter_map(|user| Login::parse(user.as_bytes()).ok());
            logins.map(|login| service.directory.flush(Some(&login))).sum()
        }
    };
    entries as u64
}

fn line(answer: &Answer) -> String {
    format!("{answer}\n")
}

fn user(service: &AuthdService, id: u32, account: &Account) -> Answer {
    Answer::User { id, user: account.name.clone(), fields: user_fields(account, service.owner) }
}

/// The account, or what is answered instead.
async fn find(service: &AuthdService, lookup: &Lookup, session: &str) -> Result<Arc<Account>, Answer> {
    let id = lookup.id;
    let login = Login::parse(lookup.user.as_bytes()).map_err(|_| Answer::NotFound(id))?;
    let outage = |why: &str| {
        service.fault("", format!("an account could not be looked up: {why}"), session);
        Answer::Fail(id)
    };
    match timeout(WITHIN, service.directory.find(&login)).await {
        Ok(Ok(found)) => found.ok_or(Answer::NotFound(id)),
        Ok(Err(why)) => Err(outage(&why.to_string())),
        Err(_) => Err(outage("the directory did not answer in time")),
    }
}

async fn list(service: &AuthdService, id: u32, session: &str) -> String {
    match service.directory.names().await {
        Ok(names) => {
            let mut out = String::new();
            for user in names {
                let _ = writeln!(out, "{}", Answer::Listed { id, user });
            }
            out + &line(&Answer::Done { id, failed: false })
        }
        Err(why) => {
            service.fault("", format!("accounts could not be listed: {why}"), session);
            line(&Answer::Done { id, failed: true })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines() {
        let text: String = (0..20_000).map(|n| format!("LIST\t1\tu{n}@example.org\n")).collect();
        let all: Vec<&str> = pieces(&text).collect();
        assert!(all.len() > 10 && all.iter().all(|p| p.ends_with('\n') && p.len() <= PIECE));
        assert_eq!(all.concat(), text);
        assert_eq!(pieces("").count(), 0);
        assert_eq!(pieces("x").collect::<Vec<_>>(), ["x"]);
    }
}
