//! IDLE (RFC 2177, RFC 9051 §6.3.13): a command that lasts.
//!
//! The session waits for four things at once: the client (DONE), the mailbox (a new snapshot), the account's quota, and the
//! time (a line now and then keeps middleboxes from forgetting the connection). It owns no buffer meanwhile.

use crate::alert;
use crate::context::Context;
use crate::state::{Selected, State};
use crate::stop::{Done, Stop};
use crate::sync;
use crate::view::Expunges;
use culver_imap::Framer;
use culver_imap::response::{self, Condition};
use std::io;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What DONE ends with, for a session with or without a mailbox.
pub async fn run(state: &mut State, framer: &mut Framer, cx: &mut Context) -> Result<Done, Stop> {
    let keeper = cx.service.keeper.clone();
    let mut standing = state.user().map(|user| keeper.watch(&user.account));
    if let Some(user) = state.user_mut() {
        alert::when_worse(user, &keeper, &mut cx.wire);
    }
    if let Some(selected) = state.selected_mut() {
        // What came between the last command and the watch.
        let _ = selected.mailbox.refresh().await;
        sync::tell(selected, &mut cx.wire, Expunges::Tell).await?;
    }
    response::continuation(&mut cx.wire.out, "idling");
    cx.wire.flush().await?;
    let ends = Instant::now() + cx.service.settings.idle_timeout;
    let mut keepalive = Instant::now() + cx.service.settings.idle_keepalive;
    loop {
        cx.wire.rest();
        if !cx.wire.input().is_empty()
            && let Some(line) = take_line(framer, cx)?
        {
            if line.trim_ascii().eq_ignore_ascii_case(b"DONE") {
                return Ok(Done::ok("IDLE completed"));
            }
            return Ok(Done::bad("Only DONE ends IDLE"));
        }
        tokio::select! {
            more = cx.wire.fill() => {
                if !more.map_err(Stop::Ended)? {
                    return Err(Stop::Ended(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            changed = changed(state.selected_mut()) => {
                if let (true, Some(selected)) = (changed, state.selected_mut()) {
                    sync::tell(selected, &mut cx.wire, Expunges::Tell).await?;
                    cx.wire.flush().await?;
                }
            }
            () = moved(&mut standing) => {
                if let Some(user) = state.user_mut()
                    && alert::when_worse(user, &keeper, &mut cx.wire)
                {
                    cx.wire.flush().await?;
                }
            }
            () = sleep_until(keepalive) => {
                keepalive += cx.service.settings.idle_keepalive;
                response::status(&mut cx.wire.out, None, Condition::Ok, None, "Still here");
                cx.wire.flush().await?;
            }
            () = sleep_until(ends) => return Err(crate::session::autologout()),
            () = cx.shutdown.wait() => return Err(crate::session::shutting_down()),
        }
    }
}

/// The account's quota has another state.
async fn moved(standing: &mut Option<watch::Receiver<culver_keeper::State>>) {
    let changed = match standing {
        Some(watched) => watched.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending().await
    }
}

async fn changed(selected: Option<&mut Selected>) -> bool {
    match selected {
        Some(selected) if !selected.told_gone => match selected.news.changed().await {
            Ok(()) => true,
            // The mailbox object went away: nothing more will come.
            Err(_) => std::future::pending().await,
        },
        _ => std::future::pending().await,
    }
}

/// A line of the client outside of any command.
pub fn take_line(framer: &mut Framer, cx: &mut Context) -> Result<Option<Vec<u8>>, Stop> {
    let (used, line) = framer.line(cx.wire.input(), cx.service.settings.line_limit);
    cx.wire.consume(used);
    match line {
        None => Ok(None),
        Some(Ok(line)) => Ok(Some(line)),
        Some(Err(_)) => Ok(Some(Vec::new())),
    }
}
