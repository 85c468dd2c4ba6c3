//! `culver auth test|lookup`: what other programs are answered on the auth sockets. (`culver auth blocks` is in `admin`.)
//!
//! The running server is asked; where the configuration has no such socket, or nobody listens on it, the directories of the
//! configuration are asked directly, and the first line says so. Output and exit codes are doveadm's: 0, 67 for no such
//! account, 75 for what cannot be known now, 77 for a wrong password.

use super::{Sockets, Verdict};
use crate::system::Helpers;
use crate::{DEFAULT_CONFIG, config_command, parts, sandbox};
use anyhow::{Context, Result, bail};
use culver_auth::{Auth, Memory};
use culver_auth_protocol::client::Answer;
use culver_auth_protocol::{Fields, master};
use culver_authd::{AuthdService, Finished};
use culver_events::Events;
use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// `culver auth`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Is this the password, and may the account log in?
    Test(Test),
    /// Whose is the account, and where does its mail lie?
    Lookup(Lookup),
    /// Make the running server forget what its sources of accounts remember: of one name, or of all.
    Flush(Flush),
    /// Who guessed too much and is not looked at for a while.
    #[command(subcommand)]
    Blocks(culver_admin::BlocksCommand),
}

#[derive(clap::Args)]
struct Test {
    /// The name, as somebody would type it.
    user: String,
    /// The password. Better left out: other users of the machine see it. It is asked for then, or read from standard input.
    password: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
struct Lookup {
    /// The name, as somebody would type it.
    user: String,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
struct Flush {
    /// The name, as somebody would type it.
    user: Option<String>,
    #[command(flatten)]
    sockets: Sockets,
}

#[derive(clap::Args)]
struct Common {
    #[command(flatten)]
    sockets: Sockets,
    /// What is said of the login: service=smtp, rip=192.0.2.1, secured, ...
    #[arg(short = 'x', value_name = "FIELD[=VALUE]")]
    field: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const NO_USER: u8 = 67;
const TEMPORARY: u8 = 75;
const WRONG: u8 = 77;

/// Runs `culver auth`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Test(test) => test.run(&arguments.config),
        Command::Lookup(lookup) => lookup.run(&arguments.config),
        Command::Flush(flush) => flush.run(&arguments.config),
        Command::Blocks(command) => {
            let settings = config_command::read(&arguments.config)?.settings;
            println!("{}", culver_admin::run_blocks(command, &settings.state_dir)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Common {
    /// The service, and the other fields.
    fn fields(&self) -> (String, Fields) {
        let mut service = "doveadm".to_owned();
        let mut fields = Fields::new();
        for field in &self.field {
            fields = match field.split_once('=') {
                Some(("service", name)) => {
                    service = name.to_owned();
                    fields
                }
                Some((key, value)) => fields.with(key, value),
                None => fields.with_flag(field),
            };
        }
        (service, fields)
    }
}

impl Test {
    fn run(&self, config: &Path) -> Result<ExitCode> {
        let password = match &self.password {
            Some(password) => password.clone(),
            None => ask(&self.user)?,
        };
        let (service, fields) = self.common.fields();
        let verdict = match self.common.sockets.client(config)? {
            Some(path) if listens(&path) => {
                // What an administrator tries is no attack.
                let fields = fields.with_flag("no-penalty");
                self.common.sockets.verify(config, &service, &self.user, password.as_bytes(), fields)
            }
            path => {
                tell_direct(path.as_deref());
                let direct = Direct::new(config)?;
                let asked =
                    culver_authd::verify(&direct.service, &service, &self.user, password.as_bytes(), &fields);
                match direct.runtime.block_on(asked) {
                    Answer::Ok { fields, .. } => Verdict::Right(fields),
                    Answer::Fail { fields, .. } if fields.get("code") == Some("temp_fail") => {
                        Verdict::Unknown("the directory cannot tell for now".to_owned())
                    }
                    Answer::Fail { fields, .. } => Verdict::Wrong(fields),
                    Answer::Continue { .. } => bail!("the exchange did not end"),
                }
            }
        };
        let (result, fields, code) = match verdict {
            Verdict::Right(fields) => ("succeeded", fields, 0),
            Verdict::Wrong(fields) => ("failed", fields, WRONG),
            Verdict::Unknown(why) => {
                eprintln!("culver: {why}");
                ("cannot be known for now", Fields::new(), TEMPORARY)
            }
        };
        if self.common.json {
            println!("{}", json(&self.user, &[("result", result)], &fields));
        } else {
            print!("passdb: {} auth {result}\n{}", self.user, listed("extra fields:\n", &fields, "=", 0));
        }
        Ok(ExitCode::from(code))
    }
}

impl Lookup {
    fn run(&self, config: &Path) -> Result<ExitCode> {
        let (service, fields) = self.common.fields();
        let answer = match self.common.sockets.master(config)? {
            Some(path) if listens(&path) => {
                let found = self.common.sockets.look_up(
                    config,
                    master::Request::User,
                    &service,
                    &self.user,
                    fields,
                )?;
                found.context("the master socket has gone")?
            }
            path => {
                tell_direct(path.as_deref());
                let direct = Direct::new(config)?;
                match direct.runtime.block_on(culver_authd::look_up(&direct.service, &self.user)) {
                    Ok(answer) => answer,
                    Err(why) => {
                        eprintln!("culver: {why}");
                        return Ok(ExitCode::from(TEMPORARY));
                    }
                }
            }
        };
        match answer {
            master::Answer::User { user, fields, .. } => {
                if self.common.json {
                    println!("{}", json(&user, &[], &fields));
                } else {
                    print!("userdb: {user}\n{}", listed("", &fields, ": ", 10));
                }
                Ok(ExitCode::SUCCESS)
            }
            master::Answer::NotFound(_) => {
                eprintln!("userdb lookup: user {} doesn't exist", self.user);
                Ok(ExitCode::from(NO_USER))
            }
            _ => {
                eprintln!("culver: the server cannot tell for now; its log says why");
                Ok(ExitCode::from(TEMPORARY))
            }
        }
    }
}

impl Flush {
    fn run(&self, config: &Path) -> Result<ExitCode> {
        let flush = master::Request::Flush { id: 1, users: self.user.iter().cloned().collect() };
        match self.sockets.ask_master(config, &flush)? {
            Some(master::Answer::Flushed { entries, .. }) => println!("{entries} cache entries flushed"),
            Some(_) => bail!("the server does not know how to flush"),
            None => bail!("there is no master socket: add [[auth_socket.master]], or name one with --master"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The directories of the configuration, in this process.
struct Direct {
    runtime: tokio::runtime::Runtime,
    service: Arc<AuthdService>,
}

impl Direct {
    fn new(config: &Path) -> Result<Self> {
        let settings = config_command::read(config)?.settings;
        parts::is_there(&settings)?;
        let helpers = Helpers::start(&settings)?;
        // What SQLite writes beside its file must be the service user's.
        sandbox::become_keeper(&settings)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let _within = runtime.enter();
        let directory = parts::directory_with(&settings, helpers)?;
        let events = Events::none();
        let backends = parts::backends(&settings, directory.clone())?;
        let auth = Auth::build(backends, parts::auth_settings(&settings), events.clone(), Memory::new());
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let service = AuthdService { auth, directory, events, finished: Finished::default(), owner };
        drop(_within);
        Ok(Self { runtime, service: Arc::new(service) })
    }
}

fn listens(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

fn tell_direct(path: Option<&Path>) {
    match path {
        Some(path) => eprintln!("nobody listens on {}: the directories are asked directly", path.display()),
        None => eprintln!("the configuration has no auth socket: the directories are asked directly"),
    }
}

fn ask(user: &str) -> Result<String> {
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(format!("Password for {user}: "))
            .context("the password could not be read");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("standard input")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// As doveadm prints fields.
fn listed(head: &str, fields: &Fields, between: &str, width: usize) -> String {
    let mut out = String::new();
    if !fields.is_empty() {
        out.push_str(head);
    }
    for (key, value) in fields.iter() {
        let _ = match value {
            Some(value) => writeln!(out, "  {key:width$}{between}{}", printable(value)),
            None => writeln!(out, "  {key}"),
        };
    }
    out
}

/// Nothing that a directory holds steers a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn json(user: &str, more: &[(&str, &str)], fields: &Fields) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    object.insert("user".to_owned(), user.into());
    for (key, value) in more {
        object.insert((*key).to_owned(), (*value).into());
    }
    let fields = fields.iter().map(|(key, value)| (key.to_owned(), value.map_or(true.into(), Into::into)));
    object.insert("fields".to_owned(), serde_json::Value::Object(fields.collect()));
    object.into()
}
