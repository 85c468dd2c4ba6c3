//! Locking the server in, before it has threads: user, capabilities, Landlock, seccomp.
//!
//! What remains possible to code that was taken over: the mail of accounts (ids from `auth.first_valid_uid` on), the state
//! folder, reading certificates and settings. What not: becoming root or another service, starting programs, other
//! people's files outside the mail roots, tracing, mounting, io_uring.
//!
//! Degrades with a line of the log where the kernel lacks something; fails only when the service user is wrong, because
//! then the server would run as somebody else than was asked for. All calls change the calling thread alone, and all
//! threads inherit: so this comes before the first.

mod files;
mod system_calls;
mod user;

pub use user::become_keeper;

use anyhow::Result;
use culver_config::Settings;
use culver_events::{Event, Events, Level};
use std::path::Path;

/// Takes the service user's identity and fences the process in. To be called while there is one thread.
///
/// # Errors
/// When the service user does not exist or cannot be taken.
pub fn enter(settings: &Settings, config: &Path, events: &Events) -> Result<()> {
    user::become_service_user(settings)?;
    if !settings.sandbox {
        events.emit(Event::message(Level::Warning, "sandbox", "the sandbox is off (sandbox = false)"));
        return Ok(());
    }
    let mut missing = Vec::new();
    if let Err(e) = rustix::thread::set_no_new_privs(true) {
        missing.push(format!("no_new_privs: {e}"));
    }
    if let Err(e) = files::fence(settings, config) {
        missing.push(format!("Landlock: {e:#}"));
    }
    if let Err(e) = system_calls::filter(settings) {
        missing.push(format!("seccomp: {e:#}"));
    }
    if missing.is_empty() {
        events.emit(Event::message(Level::Info, "sandbox", "locked in by Landlock and seccomp"));
    } else {
        let text = format!(
            "not fully locked in: {}. The server works; a newer kernel, or fewer limits by the container, would let it \
             protect other files better",
            missing.join("; ")
        );
        events.emit(Event::message(Level::Warning, "sandbox", text));
    }
    Ok(())
}
