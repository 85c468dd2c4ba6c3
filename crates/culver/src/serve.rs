//! `culver serve`: from a configuration to a server that runs until SIGTERM.
//!
//! In this order, and for a reason: settings, log, sockets (ports below 1024 may need root), certificates (keys may be
//! root's), then the sandbox, and only then threads, which all inherit it.

use crate::DEFAULT_CONFIG;
use crate::config_command;
use crate::parts;
use crate::sandbox;
use crate::server::{Endpoint, Reload, Server};
use anyhow::{Context, Result, bail};
use culver_config::Settings;
use culver_events::{Event, Events};
use culver_net::{Encryption, Listener, TlsAcceptor};
use std::net::{SocketAddr, TcpListener};
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
    let endpoints = endpoints(&settings, handed_over, tls.is_some())?;
    parts::make_state_dir(&settings)?;
    raise_descriptors();
    sandbox::enter(&settings, &arguments.config, &events)?;
    let reload = Reload { config: arguments.config.clone() };
    Server { settings, events, tls, endpoints, reload: Some(reload) }.run(|_| Ok(()))
}

fn certificates(settings: &Settings) -> Result<Option<TlsAcceptor>> {
    let files = parts::certificate_files(settings);
    if files.is_empty() {
        return Ok(None);
    }
    let clients = parts::client_certificates(settings);
    TlsAcceptor::asking(&files, parts::oldest(settings), clients.as_ref()).map(Some).context("TLS")
}

fn endpoints(
    settings: &Settings,
    handed_over: Vec<(String, TcpListener)>,
    tls: bool,
) -> Result<Vec<Endpoint>> {
    let mut endpoints = Vec::new();
    let services = [
        ("imap", Encryption::OnRequest, &settings.imap.listen),
        ("imaps", Encryption::Implicit, &settings.imaps.listen),
    ];
    for (name, _) in &handed_over {
        if !services.iter().any(|(service, ..)| service == name) {
            bail!("systemd hands over a socket named {name}: set FileDescriptorName= to imap or imaps");
        }
    }
    let mut given: Vec<(String, TcpListener)> = handed_over;
    for (name, encryption, addresses) in services {
        if encryption == Encryption::Implicit && !tls {
            continue;
        }
        let (own, rest): (Vec<_>, Vec<_>) = given.into_iter().partition(|(n, _)| n == name);
        given = rest;
        if own.is_empty() {
            endpoints.extend(bind_all(name, encryption, addresses)?);
        }
        for (_, socket) in own {
            endpoints.push(Endpoint { listener: Listener::adopt(name, encryption, socket)? });
        }
    }
    if endpoints.is_empty() {
        bail!("there is nothing to listen on: set imap.listen or imaps.listen (and a certificate)");
    }
    Ok(endpoints)
}

fn bind_all(name: &str, encryption: Encryption, addresses: &[SocketAddr]) -> Result<Vec<Endpoint>> {
    let mut endpoints = Vec::new();
    for address in addresses {
        match Listener::bind(name, encryption, *address) {
            Ok(listener) => endpoints.push(Endpoint { listener }),
            // The default lists both families; a machine without IPv6 is no mistake.
            Err(e)
                if address.is_ipv6()
                    && address.ip().is_unspecified()
                    && matches!(e.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {}
            Err(e) => {
                let hint = match e.kind() {
                    std::io::ErrorKind::AddrInUse => "another server (Dovecot?) has it: stop that one first",
                    std::io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need root, or dist/culver.socket, through which systemd binds them"
                    }
                    _ => "is it an address of this machine?",
                };
                return Err(e).with_context(|| format!("cannot listen on {address} for {name}; {hint}"));
            }
        }
    }
    Ok(endpoints)
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
