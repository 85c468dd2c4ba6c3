//! The door to the running server, for verbs that need it: what it alone remembers.
//!
//! A unix socket in `state_dir`, which only root and the service user may open: its permissions say so. A line of JSON each
//! way: `{"verb": "auth.blocks.list", ...}` and `{"ok": ...}` or `{"error": "..."}`; as many as the client likes, in turn. A
//! family of verbs is a [`Verbs`]; the program gives them to [`Control`]. [`ask`] is the client.

mod client;
mod server;

pub use client::{answers, ask};
pub use server::{AuthVerbs, Control};

use async_trait::async_trait;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The socket of a server with this `state_dir`.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("control")
}

/// A family of verbs.
#[async_trait]
pub trait Verbs: Send + Sync {
    /// Does the verb; `None` when it is of another family. What is wrong is told in words that say what to do.
    async fn run(&self, verb: &str, arguments: &Value) -> Option<Result<Value, String>>;
}

/// The longest line, either way.
const LONGEST: usize = 4 << 20;
