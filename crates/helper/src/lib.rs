//! The helper process: PAM and NSS for a server that has neither root's rights nor C in it.
//!
//! `culver pam-helper` is started before the server gives its rights up (by a parent that starts it again when it has ended), or
//! runs as a service of its own. It takes questions from a
//! socket (`culver_directory::system::protocol`) and hands each to one of a few worker processes, which it starts, watches and
//! replaces: a PAM module that hangs costs one worker, a module that crashes too, and nobody else anything. It reads no
//! configuration and no mail.
//!
//! The server is not trusted: which PAM services may be asked stands in the arguments, since the file of a service names code
//! that runs as root, and users below the least uid are none, so that nobody can guess root's password here.
//!
//! libpam is looked for when the first password is asked about, so the program starts where it is not installed.

mod nss;
mod pam;
mod parent;
mod supervisor;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

/// `culver pam-helper`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Listen on this unix socket. Without it, the socket is standard input, as the server gives it.
    #[arg(long, value_name = "PATH")]
    listen: Option<PathBuf>,
    /// The user of the server, to whom the socket belongs.
    #[arg(long, value_name = "USER", requires = "listen")]
    owner: Option<String>,
    /// A PAM service that may be asked: its name, or the absolute path of its file. May be given more than once.
    #[arg(long = "service", value_name = "NAME", default_value = "culver")]
    services: Vec<String>,
    /// Users with a lower uid are none.
    #[arg(long, value_name = "UID", default_value_t = 500)]
    first_valid_uid: u32,
    /// Questions at once, each in a process of its own.
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    workers: u16,
    /// A question that takes longer is given up, and its process ended.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    timeout: f64,
    /// The process that starts the helper for the server, which is at standard input, and another when it has ended.
    #[arg(long, hide = true)]
    parent: bool,
    /// One of the processes that answer.
    #[arg(long, hide = true)]
    worker: bool,
}

impl Arguments {
    /// The same in words, for a helper that has its socket as standard input.
    fn again(&self) -> Vec<String> {
        let mut words = vec!["--first-valid-uid".to_owned(), self.first_valid_uid.to_string()];
        words.extend(["--workers".to_owned(), self.workers.to_string()]);
        words.extend(["--timeout".to_owned(), self.timeout.to_string()]);
        for service in &self.services {
            words.extend(["--service".to_owned(), service.clone()]);
        }
        words
    }
}

/// Runs until the other end hangs up.
///
/// # Errors
/// When it cannot listen.
pub fn run(arguments: &Arguments) -> std::io::Result<()> {
    let least = arguments.first_valid_uid.max(1);
    if arguments.worker {
        return worker::run(least);
    }
    if arguments.parent {
        return parent::run(&arguments.again());
    }
    let limit = Duration::try_from_secs_f64(arguments.timeout).ok().filter(|limit| !limit.is_zero());
    let limit = limit.ok_or_else(|| std::io::Error::other("--timeout must be more than 0 seconds"))?;
    let limits = supervisor::Limits { services: arguments.services.clone(), least, time: limit };
    let pool = supervisor::Pool::new(arguments.workers.clamp(1, 256), limits)?;
    match &arguments.listen {
        None => pool.serve_standard_input(),
        Some(path) => {
            let owner = match &arguments.owner {
                None => None,
                Some(name) => Some(nss::user(name)?.ok_or_else(|| {
                    std::io::Error::other(format!(
                        "there is no user {name}: --owner names the user of the server"
                    ))
                })?),
            };
            pool.listen(path, owner.map(|user| (user.uid, user.gid)))
        }
    }
}
