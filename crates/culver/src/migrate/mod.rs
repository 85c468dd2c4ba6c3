//! From another server and back: `culver adopt`, `culver adopt --verify`, `culver release`.
//!
//! What these have in common: which accounts are meant, as whom the work is done, how progress is shown.

pub mod adopt;
pub mod release;
mod report;
mod verify;

use crate::sandbox;
use crate::state_lock::StateLock;
use crate::{config_command, parts};
use anyhow::{Context, Result, bail};
use culver_config::Settings;
use culver_directory::{Account, Directory, Login};
use culver_events::{Destination, Events, Level, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::process::geteuid;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which accounts.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// An account by its address, or the Maildir of one.
    #[arg(value_name = "USER|PATH")]
    one: Option<String>,
    /// Every account of the configuration's directories.
    #[arg(long)]
    all: bool,
}

impl Which {
    /// A path, if it is one.
    fn path(&self) -> Option<PathBuf> {
        let one = self.one.as_deref()?;
        let is_path = one.contains('/') || (!one.contains('@') && Path::new(one).is_dir());
        is_path.then(|| std::path::absolute(one).unwrap_or_else(|_| one.into()))
    }

    /// The accounts, in the order of their names. `Err` in the list: one that is named but cannot be had.
    async fn accounts(&self, directory: &Directory) -> Result<Vec<(String, Result<Arc<Account>>)>> {
        let path = self.path();
        if let (Some(name), None) = (&self.one, &path) {
            let login = Login::parse(name.as_bytes())?;
            let account = find(directory, &login).await?;
            return Ok(vec![(account.name.clone(), Ok(account))]);
        }
        let mut found = Vec::new();
        for name in directory.names().await? {
            let account = match Login::parse(name.as_bytes()) {
                Ok(login) => find(directory, &login).await,
                Err(e) => Err(e.into()),
            };
            if let Some(path) = &path {
                match account {
                    Ok(account) if is_same(&account.mail.root, path) => return Ok(vec![(name, Ok(account))]),
                    _ => continue,
                }
            }
            found.push((name, account));
        }
        Ok(found)
    }
}

async fn find(directory: &Directory, login: &Login) -> Result<Arc<Account>> {
    let found = directory.find(login).await?;
    found.with_context(|| format!("there is no account {login} in the directories of the configuration"))
}

fn is_same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.components().collect());
    a == b || real(a) == real(b)
}

/// Must the state folder be ours alone?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Alone,
    LookOnly,
}

/// Reads the configuration and does `work` in a thread that has the service user's identity, as the server would do it.
fn work<T: Send>(
    config: &Path,
    how: Use,
    work: impl AsyncFnOnce(&Settings, &Directory) -> Result<T> + Send,
) -> Result<T> {
    let settings = config_command::read(config)?.settings;
    // Lines of the store, such as what it found odd and mended, go where people look.
    let events = Events::new(Style::Plain, Level::Warning, Destination::stderr(None))?;
    culver_events::install(&events, Level::Warning);
    if how == Use::Alone && !settings.state_dir.is_dir() {
        if geteuid().is_root() {
            let dir = settings.state_dir.display();
            bail!(
                "there is no {dir}: make it for the service user first: install -d -o culver -g culver -m 700 {dir}"
            );
        }
        parts::make_state_dir(&settings)?;
    }
    let _lock = match how {
        Use::Alone => Some(StateLock::alone(&settings.state_dir)?),
        Use::LookOnly => None,
    };
    if how == Use::LookOnly {
        parts::is_there(&settings)?;
    }
    let settings = &settings;
    let thread = move || {
        if settings.state_dir.is_dir() {
            sandbox::become_keeper(settings)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async move {
            let directory = parts::directory(settings)?;
            work(settings, &directory).await
        })
    };
    std::thread::scope(|scope| scope.spawn(thread).join())
        .unwrap_or_else(|_| bail!("a bug: the work ended in a panic"))
}

/// Progress for people who watch; lines for those who read later.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Over so many accounts. Without a terminal nothing is drawn.
    fn new(accounts: usize) -> Self {
        let bar =
            ProgressBar::with_draw_target(Some(accounts as u64), ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {pos}/{len} accounts, {eta} to go; {wide_msg}")
        {
            bar.set_style(style);
        }
        Self { bar }
    }

    fn begins(&self, account: &str, at: usize, of: usize, mailbox: &str) {
        // Names may hold anything.
        self.bar.set_message(format!("{account} {}/{of} {}", at + 1, mailbox.escape_debug()));
    }

    /// An account is done; `text` is said of it.
    fn done(&self, text: &str) {
        self.bar.inc(1);
        if !text.is_empty() {
            self.bar.suspend(|| println!("{text}"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
