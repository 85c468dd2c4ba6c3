//! LOGIN (RFC 9051 §6.2.3), and what every successful login does.

use crate::alert;
use crate::context::Context;
use crate::service;
use crate::state::{Authenticated, Enabled};
use crate::stop::{Code, Done, Stop};
use culver_auth::Denied;
use culver_events::Event;
use culver_imap::response::Code as WireCode;
use std::sync::Arc;

/// LOGIN.
pub async fn run(user: &[u8], password: &[u8], cx: &mut Context) -> Result<(Authenticated, Done), Stop> {
    if cx.service.login_disabled(&cx.peer) {
        // RFC 9051 §6.2.3: LOGINDISABLED was shown; the password has been sent in the clear all the same.
        let text = "Logging in without TLS is disabled here: use STARTTLS or port 993. \
                    The password was just sent in the clear; change it";
        return Ok(Err(Done::no(Code::Plain(WireCode::PrivacyRequired), text))?);
    }
    let account = cx.service.auth.verify(user, password, &cx.peer).await.map_err(|d| denied(d, cx))?;
    open(account, "LOGIN", cx).await
}

/// Opens the mail of an account that has proven who it is.
pub async fn open(
    account: Arc<culver_directory::Account>,
    method: &'static str,
    cx: &mut Context,
) -> Result<(Authenticated, Done), Stop> {
    let most = cx.service.settings.sessions;
    let seat = cx.service.auth.seat(&account.name, &cx.peer, most);
    let seat = seat.map_err(|no| Done::no(Code::Plain(WireCode::Limit), no.text()))?;
    let place = account.place();
    let mail = cx.service.store.account(&place).await?;
    cx.service.events.emit(Event::login(&account.name, method, service::origin(&cx.peer)));
    let alerted = alert::at_login(cx.service.keeper.greeting(&account).await, &mut cx.wire);
    let user = Authenticated {
        name: account.name.as_str().into(),
        account,
        mail,
        enabled: Enabled::default(),
        seat,
        alerted,
    };
    Ok((user, Done::ok("Logged in").with(Code::Capability)))
}

/// What a client reads when it is not let in (RFC 5530 §3), and the count of failures of this connection.
pub fn denied(denied: Denied, cx: &mut Context) -> Done {
    cx.failed_logins += 1;
    let code = match &denied {
        Denied::Credentials => WireCode::AuthenticationFailed,
        Denied::Disabled { .. } => WireCode::ContactAdmin,
        Denied::Temporary => WireCode::Unavailable,
        Denied::Policy { .. } => WireCode::NoPerm,
        Denied::NotAllowedHere => WireCode::AuthorizationFailed,
        Denied::PrivacyRequired => WireCode::PrivacyRequired,
        Denied::TooManySessions { .. } => WireCode::Limit,
        Denied::Blocked { .. } | Denied::TooManyFailures { .. } => WireCode::Unavailable,
        _ => WireCode::AuthenticationFailed,
    };
    Done::no(Code::Plain(code), denied.text())
}
