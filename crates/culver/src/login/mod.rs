//! Programs through which others share the logins: `culver auth test|lookup` for people, `culver checkpassword` and
//! `culver pam-exec` for FTP, SSH and whatever else speaks DJB's interface or PAM. All ask a running server on its auth
//! sockets; they know no password and read no directory themselves.

pub mod auth_command;
pub mod checkpassword;
pub mod pam_exec;

use crate::config_command;
use anyhow::{Context, Result};
use culver_auth_protocol::Fields;
use culver_auth_protocol::client::Answer;
use culver_auth_protocol::master::{self, Lookup};
use culver_authd::ask::{Client, Master, NoAnswer};
use culver_config::settings::UnixSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The server promises an answer within five seconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// Which server is asked.
#[derive(clap::Args)]
pub struct Sockets {
    /// The client socket, which proves passwords. Without it, the first of the configuration.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The master socket, which looks accounts up. Without it, the first of the configuration.
    #[arg(long, value_name = "PATH")]
    master: Option<PathBuf>,
}

/// How a login came out.
pub enum Verdict {
    /// The password is right; what the server says of the account.
    Right(Fields),
    /// It is not, or the account may not log in.
    Wrong(Fields),
    /// It cannot be known now.
    Unknown(String),
}

impl Sockets {
    fn client(&self, config: &Path) -> Result<Option<PathBuf>> {
        configured(self.socket.as_ref(), config, |s| &s.auth_socket.client)
    }

    fn master(&self, config: &Path) -> Result<Option<PathBuf>> {
        configured(self.master.as_ref(), config, |s| &s.auth_socket.master)
    }

    /// Is this the password?
    pub fn verify(
        &self,
        config: &Path,
        service: &str,
        user: &str,
        password: &[u8],
        fields: Fields,
    ) -> Verdict {
        let asked = || -> Result<Answer> {
            let path = self.client(config)?.context(
                "no client socket is configured: add [[auth_socket.client]] with a path, or name one with --socket",
            )?;
            ask(&path, service, user, password, fields).with_context(|| path.display().to_string())
        };
        match asked() {
            Ok(Answer::Ok { fields, .. }) => Verdict::Right(fields),
            Ok(Answer::Fail { fields, .. }) if fields.get("code") == Some("temp_fail") => {
                Verdict::Unknown("the server cannot tell for now; its log says why".to_owned())
            }
            Ok(Answer::Fail { fields, .. }) => Verdict::Wrong(fields),
            Ok(Answer::Continue { .. }) => {
                Verdict::Unknown("the server asks for more than a password".to_owned())
            }
            Err(e) => Verdict::Unknown(format!("{e:#}")),
        }
    }

    /// Looks an account up; `None` when no master socket is configured.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn look_up(
        &self,
        config: &Path,
        request: impl FnOnce(Lookup) -> master::Request,
        service: &str,
        user: &str,
        fields: Fields,
    ) -> Result<Option<master::Answer>> {
        let lookup = Lookup { id: 1, user: user.to_owned(), service: service.to_owned(), fields };
        self.ask_master(config, &request(lookup))
    }

    /// Asks a master socket; `None` when none is configured.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask_master(&self, config: &Path, request: &master::Request) -> Result<Option<master::Answer>> {
        let Some(path) = self.master(config)? else { return Ok(None) };
        let answer = Master::connect(&path, PATIENCE).and_then(|mut master| master.ask(request));
        answer.map(Some).with_context(|| path.display().to_string())
    }
}

fn configured(
    given: Option<&PathBuf>,
    config: &Path,
    of: impl FnOnce(&culver_config::Settings) -> &Vec<UnixSocket>,
) -> Result<Option<PathBuf>> {
    if let Some(path) = given {
        return Ok(Some(path.clone()));
    }
    let parsed = config_command::read(config)?;
    Ok(of(&parsed.settings).first().map(|socket| socket.path.clone()))
}

fn ask(path: &Path, service: &str, user: &str, password: &[u8], fields: Fields) -> Result<Answer, NoAnswer> {
    Client::connect(path, PATIENCE)?.plain(1, service, user, password, fields)
}
