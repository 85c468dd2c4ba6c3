//! `culver serve`: from a configuration to a server that runs until SIGTERM.
//!
//! In this order, and for a reason: settings, log, sockets (ports below 1024 may need root), certificates (keys may be
//! root's), the helpers that keep root's rights, then the sandbox, and only then threads, which all inherit it.

use crate::DEFAULT_CONFIG;
use crate::config_command;
use crate::doors;
use crate::parts;
use crate::sandbox;
use crate::server::{Reload, Server};
use crate::system::{self, Helpers};
use anyhow::{Context, Result};
use culver_config::Settings;
use culver_config::settings::ForwardMethod;
use culver_events::{Event, Events};
use culver_net::TlsAcceptor;
use std::path::PathBuf;

/// `culver serve`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Serves until told to stop.
pub fn run(arguments: &Arguments) -> Result<()> {
    let settings = config_command::read(&arguments.config)?.settings;
    let events = parts::events(&settings)?;
    culver_events::install(&events, parts::level(&settings));
    let names = std::env::var("LISTEN_FDNAMES").ok();
    let handed_over = culver_net::activated(names.as_deref()).context("sockets of systemd")?;
    let tls = certificates(&settings)?;
    let listeners = doors::open(&settings, handed_over, tls.is_some())?;
    forwarding_works(&settings, &listeners)?;
    parts::make_state_dir(&settings)?;
    raise_descriptors();
    let helpers = Helpers::start(&settings)?;
    tell_obstacles(&events, &settings);
    sandbox::enter(&settings, &arguments.config, &events)?;
    let reload = Reload { config: arguments.config.clone() };
    Server { settings, helpers, events, tls, listeners, reload: Some(reload) }.run(|_| Ok(()))
}

/// What the settings' check cannot know: LMTP on a socket of systemd's.
fn forwarding_works(settings: &Settings, listeners: &[culver_net::Listener]) -> Result<()> {
    let lmtp = listeners.iter().any(|l| l.name == "lmtp");
    if lmtp && settings.sandbox && settings.deliver.forward.method == ForwardMethod::Sendmail {
        anyhow::bail!(
            "deliver.forward.method = \"sendmail\": the sandbox does not let the server start programs, and mail comes by \
             LMTP (a socket of systemd). Write \"smtp\" and the MTA's address in `relay`, or, if it must be, sandbox = false"
        );
    }
    Ok(())
}

fn certificates(settings: &Settings) -> Result<Option<TlsAcceptor>> {
    let files = parts::certificate_files(settings);
    if files.is_empty() {
        return Ok(None);
    }
    let clients = parts::client_certificates(settings);
    TlsAcceptor::asking(&files, parts::oldest(settings), clients.as_ref()).map(Some).context("TLS")
}

/// Tells what keeps users of the machine out, while it can still be mended.
fn tell_obstacles(events: &Events, settings: &Settings) {
    let mut found = system::obstacles(settings);
    if system::lacks_rights(settings) {
        found.push(
            "the server was not started as root, so the PAM helper that it starts cannot read /etc/shadow: run \
             culver-pam-helper.service and set directory.system.helper, unless the PAM service needs no root"
                .to_owned(),
        );
    }
    for text in found {
        events.emit(Event::message(culver_events::Level::Warning, "system users", text));
    }
}

/// A session is a descriptor or two; the soft limit of 1024 is a relic that select(2) left.
pub fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Tells warnings of the configuration.
pub fn tell_warnings(events: &Events, parsed: &culver_config::Parsed) {
    for problem in &parsed.problems {
        let text = format!("{}: {}", problem.what, problem.instead);
        events.emit(Event::message(culver_events::Level::Warning, "config", text));
    }
}
