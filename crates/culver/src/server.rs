//! The running server: listeners, signals, reload, and the end.

use crate::parts::{self, Parts};
use crate::state_lock::StateLock;
use crate::system::Helpers;
use crate::{config_command, serve};
use anyhow::{Context, Result};
use culver_config::Settings;
use culver_events::{Event, Events};
use culver_net::{Front, Listener, Stopper, Tasks, TlsAcceptor, UnixPath};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

/// Where settings come from when they are read again.
pub struct Reload {
    /// The configuration.
    pub config: PathBuf,
}

/// Everything that a server needs to begin.
pub struct Server {
    /// What is to be done.
    pub settings: Settings,
    /// Who asks PAM and NSS, started with more rights than the server has now.
    pub helpers: Helpers,
    /// What happened.
    pub events: Events,
    /// Certificates.
    pub tls: Option<TlsAcceptor>,
    /// Where to listen. Which service it is stands in the listener's name.
    pub listeners: Vec<Listener>,
    /// `None`: SIGHUP changes nothing.
    pub reload: Option<Reload>,
}

/// Addresses that are listened on.
pub type Addresses = Vec<Address>;

/// One of them.
pub struct Address {
    /// The listener's name.
    pub name: String,
    /// For people: `127.0.0.1:143`, `unix:/run/culver/lmtp`.
    pub text: String,
    /// When it is TCP.
    pub tcp: Option<SocketAddr>,
}

impl Address {
    fn of(listener: &Listener) -> Self {
        let tcp = listener.tcp_address();
        Self { name: listener.name.clone(), text: listener.address().to_owned(), tcp }
    }
}

/// How often certificates are looked at.
const CERTIFICATES: Duration = Duration::from_secs(10);

impl Server {
    /// Runs until SIGTERM or SIGINT. `ready` is called once connections are taken.
    pub fn run(self, ready: impl FnOnce(&Addresses) -> Result<()>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("culver")
            .build()
            .context("cannot start threads")?;
        let done = runtime.block_on(self.serve(ready));
        runtime.shutdown_timeout(Duration::from_secs(2));
        done
    }

    async fn serve(mut self, ready: impl FnOnce(&Addresses) -> Result<()>) -> Result<()> {
        let events = self.events.clone();
        let (stopper, sessions, helpers) =
            (Stopper::new(), Tasks::new(events.clone()), Tasks::new(events.clone()));
        // Commands that work on the state folder see that it is in use.
        let _in_use = StateLock::shared(&self.settings.state_dir)?;
        let helpers_of_sources = std::mem::take(&mut self.helpers);
        let parts = Parts::build(&self.settings, helpers_of_sources, self.tls.clone(), events.clone())?;
        let front = Front {
            tls: self.tls.clone(),
            tasks: sessions.clone(),
            events: events.clone(),
            shutdown: stopper.shutdown(),
            room: Arc::new(Semaphore::new(self.settings.max_connections as usize)),
        };
        // Before the first connection, so that no signal is missed.
        let mut signals = Signals::new()?;
        let mut addresses = Addresses::new();
        for listener in std::mem::take(&mut self.listeners) {
            let service = parts.service(&listener.name)?;
            addresses.push(Address::of(&listener));
            let name = format!("{} on {}", listener.name, listener.address());
            helpers.spawn(name, culver_net::accept(listener, service, front.clone()));
        }
        self.open_control(&parts, &front, &helpers);
        let stop = stopper.shutdown();
        let background = parts.auth(&self.settings).background(async move { stop.wait().await });
        helpers.spawn("logins, what they do not wait for", background);
        let (keeper, stop) = (parts.keeper().clone(), stopper.shutdown());
        helpers.spawn("quota", async move {
            loop {
                tokio::select! {
                    () = keeper.wait() => keeper.tick().await,
                    () = stop.wait() => return,
                }
            }
        });
        let (keeper, stop) = (parts.keeper().clone(), stopper.shutdown());
        helpers.spawn("quota's hooks", async move {
            loop {
                tokio::select! {
                    () = keeper.wait_for_hooks() => {}
                    () = stop.wait() => return,
                }
                tokio::select! {
                    () = keeper.run_hooks() => {}
                    () = stop.wait() => return,
                }
            }
        });
        drop(front);
        if let Some(tls) = &self.tls {
            let watch = tls.clone().watch(CERTIFICATES, events.clone(), stopper.shutdown());
            helpers.spawn("certificates", watch);
        }
        let listeners = addresses.iter().map(|a| format!("{} {}", a.name, a.text)).collect();
        events.emit(Event::Started { version: env!("CARGO_PKG_VERSION").to_owned(), listeners });
        ready(&addresses)?;
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

        while let Signal::Reload = signals.next().await {
            self.reload(&parts);
        }

        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        events.emit(Event::Stopping { sessions: sessions.running() });
        stopper.stop();
        helpers.drain(Duration::from_secs(1)).await;
        // A second SIGTERM means: now.
        let open = sessions.running();
        let cut = tokio::select! {
            cut = sessions.drain(self.settings.drain_timeout) => cut,
            () = signals.end() => open,
        };
        // Sessions hold mailboxes; with them gone, journals and pending flags are written out and closed.
        parts.close().await;
        events.emit(Event::Stopped { cut });
        Ok(())
    }

    /// The door for verbs that need the running server. Without it mail is served all the same.
    fn open_control(&self, parts: &Parts, front: &Front, helpers: &Tasks) {
        let path = culver_admin::control::path(&self.settings.state_dir);
        // Root may connect anyhow, and whoever we are.
        let at = UnixPath { path: path.clone(), mode: 0o600, uid: None, gid: None };
        match Listener::bind_unix("control", &at) {
            Ok(listener) => {
                let accepting = culver_net::accept(listener, Arc::new(parts.control()), front.clone());
                helpers.spawn("control", accepting);
            }
            Err(why) => {
                let text =
                    format!("{}: {why}; verbs that ask the running server will not work", path.display());
                self.events.emit(Event::message(culver_events::Level::Warning, "control", text));
            }
        }
    }

    fn reload(&mut self, parts: &Parts) {
        let Some(Reload { config }) = &self.reload else { return };
        let parsed = match config_command::read(config) {
            Ok(parsed) => parsed,
            Err(e) => {
                self.events.emit(Event::ReloadFailed { why: format!("{e:#}") });
                return;
            }
        };
        let need_restart = culver_config::changes_for_restart(&self.settings, &parsed.settings);
        let settings = parsed.settings.clone();
        let (style, level, destination) = parts::log(&settings);
        if let Err(e) = self.events.reopen(style, level, destination) {
            self.events.emit(Event::ReloadFailed { why: format!("log.file: {e}") });
        }
        if let Some(tls) = &self.tls {
            match tls.reload(&parts::certificate_files(&settings)) {
                Ok(()) => self.events.emit(Event::CertificatesLoaded { names: tls.certificates().names() }),
                Err(e) => {
                    let file = "of the configuration".to_owned();
                    self.events.emit(Event::CertificateProblem { file, why: e.to_string() });
                }
            }
        }
        serve::tell_warnings(&self.events, &parsed);
        parts.reload(&settings);
        self.settings = settings;
        self.events.emit(Event::Reloaded { need_restart });
    }
}

enum Signal {
    Reload,
    End,
}

struct Signals {
    hup: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let of = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            hup: of(SignalKind::hangup())?,
            term: of(SignalKind::terminate())?,
            int: of(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hup.recv() => Signal::Reload,
            _ = self.term.recv() => Signal::End,
            _ = self.int.recv() => Signal::End,
        }
    }

    async fn end(&mut self) {
        while let Signal::Reload = self.next().await {}
    }
}
