//! CAPA (RFC 2449 §5).

use crate::context::Context;
use crate::state::State;
use culver_pop3::capability::{self, Login};
use culver_pop3::language::Text;
use culver_pop3::response;

/// CAPA.
pub fn run(state: &State, cx: &mut Context) {
    let login = match state {
        State::Authorization(_) => Login::Before,
        State::Transaction(_) => Login::After,
    };
    cx.ok(&Text::ListFollows);
    cx.service.clone().with_circumstances(login, &cx.peer, |c| capability::render(&mut cx.wire.out, c));
    response::end(&mut cx.wire.out);
}
