//! `culver demo`: the embedded default, for people who want to look and for developers of clients.
//!
//! Everything lies in one folder: `mail/ADDRESS/Mail`, `state/`, `tls/`, `ports.json`. Started again on the same folder
//! it goes on where it was. Nothing of it is for serving: passwords are printed in the manual.
#![allow(clippy::disallowed_methods, reason = "the demo's own folder, before anything is served from it")]

mod samples;
mod words;

use crate::parts;
use crate::server::{Addresses, Server};
use crate::system::Helpers;
use anyhow::{Context, Result};
use culver_auth::scheme;
use culver_config::Settings;
use culver_directory::builtin::{Builtin, NewUser, Problem};
use culver_net::tls::Oldest;
use culver_net::{CertificateFiles, Encryption, Listener, TlsAcceptor, UnixPath};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// `culver demo`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where everything lies. A new temporary folder unless told otherwise.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Ports are counted from here: imap 143, imaps 993, pop3 110, pop3s 995, lmtp 24. 0: free ports, told in DIR/ports.json.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(0..=64_000))]
    base_port: u16,
    /// Adds accounts u0001@example.test, ... with the password `pass`.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=9999))]
    users: u32,
}

/// The domain of the demo.
const DOMAIN: &str = "example.test";

/// Serves until told to stop.
pub fn run(arguments: &Arguments) -> Result<()> {
    let dir = folder(arguments.dir.as_deref())?;
    for below in ["mail", "state", "tls"] {
        make(&dir.join(below))?;
    }
    let settings = settings(&dir)?;
    let events = parts::events(&settings)?;
    culver_events::install(&events, parts::level(&settings));
    accounts(&dir, &settings, arguments.users)?;
    let tls = TlsAcceptor::new(&[certificate(&dir.join("tls"))?], Oldest::Tls12)?;
    let mut listeners = Vec::new();
    for (name, encryption, offset) in [
        ("imap", Encryption::OnRequest, 143),
        ("imaps", Encryption::Implicit, 993),
        ("pop3", Encryption::OnRequest, 110),
        ("pop3s", Encryption::Implicit, 995),
        ("lmtp", Encryption::OnRequest, 24),
    ] {
        let port = if arguments.base_port == 0 { 0 } else { arguments.base_port + offset };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = Listener::bind(name, encryption, address).with_context(|| {
            format!(
                "cannot listen on {address}; another demo may run: --base-port 20000 counts from elsewhere"
            )
        })?;
        listeners.push(listener);
    }
    let socket = UnixPath { path: dir.join("lmtp"), mode: 0o600, uid: None, gid: None };
    listeners.push(Listener::bind_unix("lmtp", &socket).with_context(|| socket.path.display().to_string())?);
    crate::serve::raise_descriptors();
    let server =
        Server { settings, helpers: Helpers::default(), events, tls: Some(tls), listeners, reload: None };
    server.run(|addresses| ready(&dir, addresses, arguments.users))
}

fn folder(asked: Option<&Path>) -> Result<PathBuf> {
    if let Some(dir) = asked {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        return dir.canonicalize().with_context(|| dir.display().to_string());
    }
    loop {
        let mut random = [0_u8; 6];
        getrandom::fill(&mut random)
            .map_err(|e| anyhow::anyhow!("the system gives no random numbers: {e}"))?;
        let name: String = random.iter().map(|b| char::from(b'a' + b % 26)).collect();
        let dir = std::env::temp_dir().join(format!("culver-demo-{name}"));
        match make_new(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            done => {
                return done.map(|()| dir.clone()).with_context(|| format!("cannot make {}", dir.display()));
            }
        }
    }
}

fn make_new(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(dir)
}

fn make(dir: &Path) -> Result<()> {
    match make_new(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        done => done.with_context(|| format!("cannot make {}", dir.display())),
    }
}

/// The defaults, moved into the folder.
fn settings(dir: &Path) -> Result<Settings> {
    let mut settings = Settings { state_dir: dir.join("state"), sandbox: false, ..Settings::default() };
    let root = dir.to_str().context("the folder's name is not UTF-8")?;
    // A `%` in the folder's name is no variable.
    let root = root.replace('%', "%%");
    for directory in &mut settings.directory {
        directory.home = format!("{root}/mail/%u");
    }
    // Limits that nobody reaches, so that clients have something to show.
    settings.quota.storage = culver_config::Size(100 << 30);
    settings.quota.messages = 10_000_000;
    settings.quota.mailboxes = 10_000;
    settings.imap.append_limit = culver_config::Size(2 << 30);
    "~/Mail".clone_into(&mut settings.mail.location);
    Ok(settings)
}

fn accounts(dir: &Path, settings: &Settings, users: u32) -> Result<()> {
    let directory = parts::builtin_directory(settings)?;
    match directory.add_domain(DOMAIN) {
        Ok(_) | Err(Problem::DomainExists(_)) => {}
        Err(e) => return Err(e.into()),
    }
    if add(&directory, &format!("demo@{DOMAIN}"), &hashed("demo")?)? {
        samples::deliver(&dir.join("mail").join(format!("demo@{DOMAIN}")))?;
    }
    // One hash for all: each costs milliseconds, and the password is the same.
    let pass = if users > 0 { hashed("pass")? } else { String::new() };
    for n in 1..=users {
        add(&directory, &format!("u{n:04}@{DOMAIN}"), &pass)?;
    }
    Ok(())
}

fn hashed(password: &str) -> Result<String> {
    scheme::make(scheme::Make::ScramSha256, password).context("the system gives no random numbers")
}

/// `true` when the account is new.
fn add(directory: &Builtin, name: &str, password: &str) -> Result<bool> {
    match directory.add_user(name, &NewUser { password: Some(password.to_owned()), ..NewUser::default() }) {
        Ok(_) => Ok(true),
        Err(Problem::UserExists(_)) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The certificate is kept, so that clients which were told to trust it go on doing so.
fn certificate(dir: &Path) -> Result<CertificateFiles> {
    let files = CertificateFiles { certificate: dir.join("certificate.pem"), key: dir.join("key.pem") };
    if !files.certificate.exists() {
        let made = culver_net::tls::self_signed(&["localhost", "127.0.0.1", "::1", DOMAIN])?;
        std::fs::write(&files.key, made.key).with_context(|| files.key.display().to_string())?;
        std::fs::write(&files.certificate, made.certificate)?;
    }
    Ok(files)
}

fn ready(dir: &Path, addresses: &Addresses, users: u32) -> Result<()> {
    let ports: serde_json::Map<String, serde_json::Value> =
        addresses.iter().filter_map(|a| Some((a.name.clone(), a.tcp?.port().into()))).collect();
    let json = serde_json::Value::Object(ports).to_string();
    // By rename: who waits for the file reads it whole.
    let new = dir.join("ports.json.new");
    std::fs::write(&new, format!("{json}\n"))?;
    std::fs::rename(&new, dir.join("ports.json"))?;
    println!("{}", words::how_to_connect(dir, addresses, users));
    println!("ports: {json}");
    Ok(())
}
