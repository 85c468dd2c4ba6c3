//! State x command: which handler runs.

use crate::command::{
    apop, auth, capa, dele, lang, last, list, pass, quit, retr, rset, stat, stls, top, uidl, user, utf8,
};
use crate::context::Context;
use crate::state::{Authorization, State, Transaction};
use crate::stop::{End, Stop, no};
use culver_pop3::command::{Command, States};
use culver_pop3::language::Text;

/// Runs a command and gives the next state back. Handlers write what they say; what they stop with is answered here.
pub async fn run(state: State, command: Command<'_>, cx: &mut Context) -> (State, Result<(), End>) {
    let (state, done) = match (state, command) {
        (state, command) if is_hidden(&command, cx) => (state, no(Text::UnknownCommand)),
        (State::Authorization(_), Command::Quit) => {
            cx.ok(&Text::Goodbye);
            (State::Authorization(Authorization::default()), Err(Stop::Ended(End::Quit)))
        }
        (State::Transaction(tx), Command::Quit) => {
            let (tx, done) = quit::run(tx, cx).await;
            (State::Transaction(tx), done)
        }
        (state, Command::Capa) => {
            capa::run(&state, cx);
            (state, Ok(()))
        }
        (state, Command::Lang(range)) => (state, lang::run(range, cx)),
        (State::Authorization(before), command) => {
            if command.row().states == States::Transaction {
                (State::Authorization(before), no(Text::LogInFirst))
            } else {
                Box::pin(authorization(before, command, cx)).await
            }
        }
        (State::Transaction(mut tx), command) => {
            let done = if command.row().states == States::Authorization {
                no(Text::LoggedInAlready)
            } else {
                transaction(&mut tx, command, cx).await
            };
            (State::Transaction(tx), done)
        }
    };
    let ended = match done {
        Ok(()) => Ok(()),
        Err(stop) => cx.answer(stop),
    };
    (state, ended)
}

/// Commands of capabilities that are hidden are not served either.
fn is_hidden(command: &Command<'_>, cx: &Context) -> bool {
    let settings = &cx.service.settings;
    let token = match command.row().name {
        "PASS" => "USER",
        "AUTH" => "SASL",
        "LAST" if !settings.enable_last => return true,
        name => name,
    };
    settings.masked.contains(token)
}

async fn authorization(
    before: Authorization,
    command: Command<'_>,
    cx: &mut Context,
) -> (State, Result<(), Stop>) {
    let logged_in = match command {
        Command::User(name) => {
            let (next, done) = user::run(name, cx);
            return (State::Authorization(next), done);
        }
        Command::Stls => return (State::Authorization(Authorization::default()), stls::run(cx).await),
        Command::Utf8 => {
            utf8::run(cx);
            return (State::Authorization(before), Ok(()));
        }
        Command::Pass(password) => pass::run(before.user, password, cx).await,
        Command::Apop { user, digest } => apop::run(user, digest, cx).await,
        Command::Auth { mechanism, initial } => auth::run(mechanism, initial, cx).await,
        _ => no(Text::LogInFirst),
    };
    match logged_in {
        Ok(tx) => {
            cx.ok(&Text::Welcome { messages: tx.len(), octets: tx.octets() });
            (State::Transaction(Box::new(tx)), Ok(()))
        }
        Err(stop) => (State::Authorization(Authorization::default()), Err(stop)),
    }
}

async fn transaction(tx: &mut Transaction, command: Command<'_>, cx: &mut Context) -> Result<(), Stop> {
    match command {
        Command::Stat => {
            stat::run(tx, cx);
            Ok(())
        }
        Command::List(number) => list::run(tx, number, cx).await,
        Command::Uidl(number) => uidl::run(tx, number, cx).await,
        Command::Retr(number) => retr::run(tx, number, cx).await,
        Command::Top { message, lines } => top::run(tx, message, lines, cx).await,
        Command::Dele(number) => dele::run(tx, number, cx),
        Command::Rset => {
            rset::run(tx, cx);
            Ok(())
        }
        Command::Last => {
            last::run(tx, cx);
            Ok(())
        }
        // NOOP: nothing is done (RFC 1939 §5). What is for another state has been refused.
        _ => {
            culver_pop3::response::facts(&mut cx.wire.out, &[]);
            Ok(())
        }
    }
}
