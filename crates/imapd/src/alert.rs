//! ALERT (RFC 3501 §7.1, RFC 9051 §7.1) for an account whose quota is or will soon be used up.
//!
//! It is said at login, again at the first SELECT or EXAMINE, since many clients show nothing of what comes with a login, and
//! later at SELECT, EXAMINE, NOOP or during IDLE when it has got worse. Never with every command: clients show each ALERT to
//! the user, most of them in a window of its own.

use crate::state::Authenticated;
use crate::wire::Wire;
use culver_imap::response::{self, Code, Condition};
use culver_keeper::{Alert, Keeper};

/// What a session has said of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Alerted {
    /// How grave it was.
    grave: u8,
    /// Was a mailbox selected since?
    selected: bool,
}

/// At login.
pub fn at_login(alert: Option<Alert>, wire: &mut Wire) -> Alerted {
    let grave = alert.as_ref().map_or(0, |alert| alert.grave);
    if let Some(alert) = alert {
        say(&alert, wire);
    }
    Alerted { grave, selected: false }
}

/// At SELECT and EXAMINE.
pub fn at_select(user: &mut Authenticated, keeper: &Keeper, wire: &mut Wire) {
    if !std::mem::replace(&mut user.alerted.selected, true) {
        user.alerted.grave = 0;
    }
    when_worse(user, keeper, wire);
}

/// When it has got worse since it was said. `true`: something was said.
pub fn when_worse(user: &mut Authenticated, keeper: &Keeper, wire: &mut Wire) -> bool {
    let alert = keeper.alert(&user.account);
    let grave = alert.as_ref().map_or(0, |alert| alert.grave);
    let before = std::mem::replace(&mut user.alerted.grave, grave);
    match alert.filter(|_| grave > before) {
        Some(alert) => {
            say(&alert, wire);
            true
        }
        None => false,
    }
}

fn say(alert: &Alert, wire: &mut Wire) {
    response::status(&mut wire.out, None, Condition::Ok, Some(&Code::Alert), &alert.text);
}
