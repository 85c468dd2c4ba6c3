//! `culver pam-exec`: what pam_exec(8) runs, so that FTP, SSH and others take the logins of mail.
//!
//!     auth     required  pam_exec.so expose_authtok quiet /usr/bin/culver pam-exec
//!     account  required  pam_exec.so quiet /usr/bin/culver pam-exec
//!
//! `auth` proves the password; `account` asks whether the account may log in at all, for logins that were proven in another
//! way (SSH keys). Zero lets in, everything else does not. What went wrong goes to syslog (authpriv), since nobody sees the
//! output of a PAM module.

use super::{Sockets, Verdict};
use crate::DEFAULT_CONFIG;
use culver_auth_protocol::{Fields, master};
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::ExitCode;

/// `culver pam-exec`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    sockets: Sockets,
    /// The configuration, for the sockets that are not named.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// For what somebody logs in, as the log names it. Without it, PAM's service.
    #[arg(long)]
    service: Option<String>,
}

/// More than the longest password that is taken is not read.
const LONGEST: u64 = 1025;
/// authpriv.warning and authpriv.err of syslog(3).
const WARNING: u8 = 10 * 8 + 4;
const ERROR: u8 = 10 * 8 + 3;

/// Lets in, or not.
pub fn run(arguments: &Arguments) -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (user, kind) = (variable("PAM_USER").unwrap_or_default(), variable("PAM_TYPE"));
    let service = arguments.service.clone().or_else(|| variable("PAM_SERVICE"));
    let request = Request {
        arguments,
        user: &user,
        service: known(&service.unwrap_or_else(|| "pam".to_owned())),
        fields: host(variable("PAM_RHOST").as_deref()),
    };
    let refused = match kind.as_deref() {
        None => Some((ERROR, "PAM_TYPE is not set: this program is for pam_exec to run".to_owned())),
        Some("auth") => request.authenticate(),
        Some("account") => request.account(),
        Some("open_session" | "close_session") => None,
        Some(_) => Some((WARNING, "passwords are changed in Culver: culver user passwd".to_owned())),
    };
    let Some((level, text)) = refused else { return ExitCode::SUCCESS };
    tell(level, &format!("{user}: {text}"));
    ExitCode::FAILURE
}

struct Request<'a> {
    arguments: &'a Arguments,
    user: &'a str,
    service: String,
    fields: Fields,
}

impl Request<'_> {
    fn authenticate(self) -> Option<(u8, String)> {
        let mut password = Vec::new();
        if let Err(e) = std::io::stdin().lock().take(LONGEST + 1).read_to_end(&mut password) {
            return Some((ERROR, format!("the password cannot be read: {e}")));
        }
        // pam_exec ends it by a NUL.
        if password.last() == Some(&0) {
            password.pop();
        }
        if password.is_empty() {
            return Some((ERROR, "there is no password: pam_exec.so needs expose_authtok".to_owned()));
        }
        let Arguments { sockets, config, .. } = self.arguments;
        match sockets.verify(config, &self.service, self.user, &password, self.fields) {
            Verdict::Right(_) => None,
            Verdict::Wrong(fields) => Some((
                WARNING,
                fields.get("reason").unwrap_or("the name or the password is wrong").to_owned(),
            )),
            Verdict::Unknown(why) => Some((ERROR, why)),
        }
    }

    fn account(self) -> Option<(u8, String)> {
        let Arguments { sockets, config, .. } = self.arguments;
        match sockets.look_up(config, master::Request::Pass, &self.service, self.user, self.fields) {
            Ok(Some(master::Answer::Pass { fields, .. })) if !fields.has("nologin") => None,
            Ok(Some(master::Answer::Pass { fields, .. })) => {
                Some((WARNING, format!("the account is disabled: {}", fields.get("reason").unwrap_or("no reason given"))))
            }
            Ok(Some(master::Answer::NotFound(_))) => Some((WARNING, "there is no such account".to_owned())),
            Ok(Some(_)) => Some((ERROR, "the server cannot tell for now; its log says why".to_owned())),
            Ok(None) => Some((
                ERROR,
                "the account stage needs a master socket: add [[auth_socket.master]], or name one with --master".to_owned(),
            )),
            Err(e) => Some((ERROR, format!("{e:#}"))),
        }
    }
}

/// PAM's names of services as the log has them.
fn known(service: &str) -> String {
    match service {
        "sshd" => "ssh".to_owned(),
        ftp if ftp.contains("ftp") => "ftp".to_owned(),
        other => other.to_owned(),
    }
}

/// What is known of the client. Whoever has the password already is on this machine: how it came here is not ours to
/// judge.
fn host(remote: Option<&str>) -> Fields {
    let fields = Fields::new().with_flag("secured");
    match remote.and_then(|host| host.trim_start_matches("::ffff:").parse::<IpAddr>().ok()) {
        Some(ip) => fields.with("rip", ip),
        None => fields,
    }
}

/// To syslog, and to where pam_exec's `log=` may see it.
fn tell(level: u8, text: &str) {
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    eprintln!("culver pam-exec: {text}");
    let line = format!("<{level}>culver-pam[{}]: {text}", std::process::id());
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.send_to(line.as_bytes(), "/dev/log");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pam_says() {
        assert_eq!(
            [known("sshd"), known("vsftpd"), known("proftpd"), known("x")],
            ["ssh", "ftp", "ftp", "x"]
        );
        assert_eq!(host(Some("::ffff:192.0.2.1")).to_string(), "\tsecured\trip=192.0.2.1");
        assert_eq!(host(Some("client.example")).to_string(), "\tsecured");
        assert_eq!(host(None).to_string(), "\tsecured");
    }
}
