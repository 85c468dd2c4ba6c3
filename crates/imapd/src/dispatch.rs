//! State x command: which handler runs, and what every command needs whatever it is: the sync afterwards.
//!
//! What a command needs while it runs lies in a box of its own, so that a session in IDLE, which most are, keeps only
//! what IDLE needs.

use crate::alert;
use crate::command::{
    append, authenticate, copy, enable, expunge, fetch, id, idle, list, login, mailboxes, r#move, quota,
    search, select, sort, status, store, thread,
};
use crate::context::Context;
use crate::state::{Access, Authenticated, Selected, State};
use crate::stop::{Done, Stop};
use crate::sync;
use crate::view::Expunges;
use crate::wire::Wire;
use culver_auth::Secured;
use culver_imap::capability::Login;
use culver_imap::command as c;
use culver_imap::command::{Command, Numbering};
use culver_imap::response::{self, Code, Condition};
use culver_imap::{Framer, Limits};
use culver_store::Subscribed;

/// `Ok(None)`: the session ends.
pub type Outcome = Result<Option<Done>, Stop>;

/// Runs a command and gives the next state back.
pub async fn run(
    state: State,
    command: Command<'_>,
    framer: &mut Framer,
    cx: &mut Context,
) -> (State, Outcome) {
    let expunges = expunges(&command);
    let (mut state, mut outcome) = match command {
        Command::Any(command) => any(state, command, cx).await,
        Command::NotAuthenticated(command) => match state {
            State::NotAuthenticated => Box::pin(not_authenticated(command, framer, cx)).await,
            state => (state, wrong("You are logged in already")),
        },
        Command::Authenticated(command) => match state {
            State::NotAuthenticated => (state, wrong("Log in first")),
            state => authenticated(state, command, framer, cx).await,
        },
        Command::Selected(command) => match state {
            State::Selected(selected) => Box::pin(in_mailbox(selected, command, cx)).await,
            state => (state, wrong("Select a mailbox first")),
        },
    };
    if let (State::Selected(selected), Ok(Some(_)) | Err(Stop::Answer(_) | Stop::Fault(_))) =
        (&mut state, &outcome)
        && let Err(stop) = sync::tell(selected, &mut cx.wire, expunges).await
    {
        outcome = Err(stop);
    }
    (state, outcome)
}

/// May EXPUNGE be told with this command's answer? (RFC 9051 §7.5.1: not while a command that names messages by
/// sequence number is answered; their UID forms are other commands.)
fn expunges(command: &Command<'_>) -> Expunges {
    let by_number = |n: Numbering| if n == Numbering::Sequence { Expunges::Hold } else { Expunges::Tell };
    match command {
        Command::Selected(c::Selected::Fetch(f)) => by_number(f.numbering),
        Command::Selected(c::Selected::Store(s)) => by_number(s.numbering),
        Command::Selected(c::Selected::Search(s)) => by_number(s.numbering),
        Command::Selected(c::Selected::Sort(s)) => by_number(s.numbering),
        Command::Selected(c::Selected::Thread(t)) => by_number(t.numbering),
        _ => Expunges::Tell,
    }
}

fn wrong(text: &'static str) -> Outcome {
    Ok(Some(Done::bad(format!("That command is not valid now: {text}"))))
}

fn done(result: Result<Done, Stop>) -> Outcome {
    result.map(Some)
}

async fn any(mut state: State, command: c::Any<'_>, cx: &mut Context) -> (State, Outcome) {
    let outcome = match command {
        c::Any::Capability => {
            let login = if state.user().is_some() { Login::After } else { Login::Before };
            cx.service.clone().with_circumstances(login, &cx.peer, |c| {
                response::capability(&mut cx.wire.out, c);
            });
            Ok(Some(Done::ok("CAPABILITY completed")))
        }
        c::Any::Noop => {
            if let State::Selected(selected) = &mut state {
                look(selected).await;
            }
            if let Some(user) = state.user_mut() {
                alert::when_worse(user, &cx.service.keeper, &mut cx.wire);
            }
            Ok(Some(Done::ok("NOOP completed")))
        }
        c::Any::Logout => {
            leave(&mut state);
            response::status(&mut cx.wire.out, None, Condition::Bye, None, "Logging out");
            let tag = Some(cx.tag.as_str());
            response::status(&mut cx.wire.out, tag, Condition::Ok, None, "LOGOUT completed");
            Ok(None)
        }
        c::Any::Id(pairs) => Ok(Some(id::run(pairs, cx))),
    };
    (state, outcome)
}

/// Nothing of the mailbox is told any more; the user stays known for the log.
fn leave(state: &mut State) {
    if let State::Selected(_) = state
        && let State::Selected(selected) = std::mem::replace(state, State::NotAuthenticated)
    {
        *state = State::Authenticated(selected.user);
    }
}

/// Looks for changes from outside; a failure costs only the news.
async fn look(selected: &mut Selected) {
    if let Err(failure) = selected.mailbox.refresh().await {
        tracing::warn!(account = %selected.user.name, mailbox = %selected.name, "cannot look for changes: {failure}");
    }
}

async fn not_authenticated(
    command: c::NotAuthenticated<'_>,
    framer: &mut Framer,
    cx: &mut Context,
) -> (State, Outcome) {
    let logged_in = match command {
        c::NotAuthenticated::StartTls => return (State::NotAuthenticated, start_tls(framer, cx).await),
        c::NotAuthenticated::Login { user, password } => login::run(&user, &password, cx).await,
        c::NotAuthenticated::Authenticate { mechanism, initial } => {
            authenticate::run(mechanism, initial, framer, cx).await
        }
    };
    match logged_in {
        Ok((user, answer)) => (State::Authenticated(user), Ok(Some(answer))),
        Err(stop) => (State::NotAuthenticated, Err(stop)),
    }
}

/// STARTTLS (RFC 9051 §6.2.1). The tagged OK goes out in the clear; nothing read before the handshake is kept.
async fn start_tls(framer: &mut Framer, cx: &mut Context) -> Outcome {
    let Some(acceptor) = cx.service.tls.clone().filter(|_| cx.peer.secured != Secured::Tls) else {
        let text = if cx.peer.secured == Secured::Tls { "TLS is on already" } else { "There is no TLS here" };
        return Ok(Some(Done::bad(text)));
    };
    let tag = Some(cx.tag.as_str());
    response::status(&mut cx.wire.out, tag, Condition::Ok, None, "Begin TLS negotiation now");
    cx.wire.flush().await?;
    cx.wire.start_tls(&acceptor).await?;
    *framer = Framer::new(Limits { line: cx.service.settings.line_limit, ..Limits::default() });
    cx.peer.secured = Secured::Tls;
    cx.peer.certificate = cx.wire.stream().and_then(culver_net::Stream::client_certificate);
    // The answer has been sent: nothing more to say, and the session goes on.
    Err(Stop::Answered)
}

async fn authenticated(
    mut state: State,
    command: c::Authenticated<'_>,
    framer: &mut Framer,
    cx: &mut Context,
) -> (State, Outcome) {
    match command {
        c::Authenticated::Select(cmd) => return Box::pin(open(state, cmd, Access::ReadWrite, cx)).await,
        c::Authenticated::Examine(cmd) => return Box::pin(open(state, cmd, Access::ReadOnly, cx)).await,
        c::Authenticated::Idle => {
            let outcome = idle::run(&mut state, framer, cx).await;
            return (state, done(outcome));
        }
        _ => {}
    }
    let user = match &mut state {
        State::Authenticated(user) => user,
        State::Selected(selected) => &mut selected.user,
        State::NotAuthenticated => return (state, wrong("Log in first")),
    };
    let outcome = Box::pin(by_name(user, command, cx)).await;
    (state, done(outcome))
}

async fn by_name(
    user: &mut Authenticated,
    command: c::Authenticated<'_>,
    cx: &mut Context,
) -> Result<Done, Stop> {
    match command {
        c::Authenticated::Enable(names) => Ok(enable::run(user, &names, cx)),
        c::Authenticated::Create { mailbox, special_use, unknown_use } => {
            mailboxes::create(user, &mailbox, &special_use, unknown_use, &cx.service.keeper).await
        }
        c::Authenticated::Delete(mailbox) => mailboxes::delete(user, &mailbox, &cx.service.keeper).await,
        c::Authenticated::Rename { from, to } => mailboxes::rename(user, &from, &to).await,
        c::Authenticated::Subscribe(m) => mailboxes::subscribe(user, &m, Subscribed::Yes).await,
        c::Authenticated::Unsubscribe(m) => mailboxes::subscribe(user, &m, Subscribed::No).await,
        c::Authenticated::List(cmd) => list::run(user, cmd, cx).await,
        c::Authenticated::Lsub { reference, pattern } => list::lsub(user, &reference, &pattern, cx).await,
        c::Authenticated::Namespace => Ok(mailboxes::namespace(cx)),
        c::Authenticated::Status { mailbox, items } => status::run(user, &mailbox, &items, cx).await,
        c::Authenticated::GetQuota { root } => quota::of_root(user, &root, cx).await,
        c::Authenticated::GetQuotaRoot(mailbox) => quota::of_mailbox(user, &mailbox, cx).await,
        c::Authenticated::SetQuota { root } => Ok(quota::set(&root)),
        c::Authenticated::Append { mailbox, messages } => append::run(user, &mailbox, messages, cx).await,
        // SELECT, EXAMINE and IDLE change or need the state: the caller has them.
        c::Authenticated::Select(_) | c::Authenticated::Examine(_) | c::Authenticated::Idle => {
            Ok(Done::bad("That command is not valid now"))
        }
    }
}

/// SELECT and EXAMINE: what was selected is closed first, and stays closed when the new one cannot be opened.
async fn open(state: State, cmd: c::Select, access: Access, cx: &mut Context) -> (State, Outcome) {
    let user = match state {
        State::Selected(selected) => {
            closed(&mut cx.wire);
            selected.user
        }
        State::Authenticated(user) => user,
        State::NotAuthenticated => return (state, wrong("Log in first")),
    };
    match select::run(user, cmd, access, cx).await {
        Ok((mut selected, answer)) => {
            alert::at_select(&mut selected.user, &cx.service.keeper, &mut cx.wire);
            (State::Selected(Box::new(selected)), Ok(Some(answer)))
        }
        Err((user, stop)) => (State::Authenticated(user), Err(stop)),
    }
}

/// CLOSED (RFC 7162 §3.2.11): from here on, answers are about the new mailbox.
fn closed(wire: &mut Wire) {
    response::status(&mut wire.out, None, Condition::Ok, Some(&Code::Closed), "Previous mailbox is closed");
}

async fn in_mailbox(
    mut selected: Box<Selected>,
    command: c::Selected<'_>,
    cx: &mut Context,
) -> (State, Outcome) {
    let leaves = matches!(command, c::Selected::Close | c::Selected::Unselect);
    if !leaves && let Err(stop) = sync::tell(&mut selected, &mut cx.wire, Expunges::Hold).await {
        // What others have done is told first, so that the answer speaks of the mailbox as it is.
        return (State::Selected(selected), Err(stop));
    }
    let outcome = match command {
        c::Selected::Check => {
            look(&mut selected).await;
            Ok(Done::ok("CHECK completed"))
        }
        c::Selected::Close => {
            let expunged = close(&selected).await;
            cx.service.keeper.stored(&selected.user.account).await;
            let answer = expunged.map(|()| Some(Done::ok("CLOSE completed")));
            return (State::Authenticated(selected.user), answer);
        }
        c::Selected::Unselect => {
            return (State::Authenticated(selected.user), Ok(Some(Done::ok("UNSELECT completed"))));
        }
        c::Selected::Expunge { uids } => expunge::run(&mut selected, uids, cx).await,
        c::Selected::Search(cmd) => search::run(&mut selected, cmd, cx).await,
        c::Selected::Sort(cmd) => sort::run(&mut selected, cmd, cx).await,
        c::Selected::Thread(cmd) => thread::run(&mut selected, cmd, cx).await,
        c::Selected::Fetch(cmd) => fetch::run(&mut selected, cmd, cx).await,
        c::Selected::Store(cmd) => store::run(&mut selected, cmd, cx).await,
        c::Selected::Copy(cmd) => copy::run(&mut selected, cmd, cx).await,
        c::Selected::Move(cmd) => r#move::run(&mut selected, cmd, cx).await,
    };
    (State::Selected(selected), done(outcome))
}

/// CLOSE expunges without telling (RFC 9051 §6.4.1), unless the mailbox is read-only or gone.
async fn close(selected: &Selected) -> Result<(), Stop> {
    if let Ok(mailbox) = selected.writable() {
        mailbox.expunge(&selected.view.snapshot().uids()).await?;
    }
    Ok(())
}
