//! `culver checkpassword`: DJB's interface (<https://cr.yp.to/checkpwd/interface.html>).
//!
//! Name, password and a timestamp come on descriptor 3, each ended by a NUL. When the password is right, the program
//! that is named runs as the account, in its home, with USER, HOME and SHELL set. Otherwise the exit code says it: 1
//! for a wrong password, 2 for a wrong use, 111 for what may be better later.

use super::{Sockets, Verdict};
use crate::DEFAULT_CONFIG;
use anyhow::{Context, Result, bail};
use culver_auth_protocol::{Fields, master};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Gid, PidfdFlags, PidfdGetfdFlags, Uid};
use std::ffi::OsString;
use std::io::{ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// `culver checkpassword`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    sockets: Sockets,
    /// The configuration, for the sockets that are not named.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// For what somebody logs in, as the log names it.
    #[arg(long, default_value = "checkpassword")]
    service: String,
    /// The program, and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// A wrong password.
const WRONG: u8 = 1;
/// The interface was not kept.
const MISUSED: u8 = 2;
/// Try again later.
const TEMPORARY: u8 = 111;
/// More than this is not read from descriptor 3; the interface asks for as much.
const LONGEST: u64 = 512;

/// Comes back only when the program was not started.
pub fn run(arguments: &Arguments) -> ExitCode {
    let (code, text) = match check(arguments) {
        Ok(Refused { code, text }) => (code, text),
        Err(e) => (TEMPORARY, format!("{e:#}")),
    };
    if !text.is_empty() {
        eprintln!("culver checkpassword: {text}");
    }
    ExitCode::from(code)
}

struct Refused {
    code: u8,
    text: String,
}

/// `Err` is temporary.
fn check(arguments: &Arguments) -> Result<Refused> {
    let refused = |code, text: &str| Ok(Refused { code, text: text.to_owned() });
    let bytes = match read_three() {
        Ok(bytes) => bytes,
        Err(e) => {
            return refused(
                MISUSED,
                &format!("nothing can be read from descriptor 3 ({e}): it is for programs to call"),
            );
        }
    };
    let Some((user, password)) = parse(&bytes) else {
        return refused(
            MISUSED,
            "descriptor 3 must give a name, a password and a timestamp, each ended by NUL, in 512 octets",
        );
    };
    // Whoever has the password already is on this machine: how it came here is not ours to judge.
    let mut fields = Fields::new().with_flag("secured");
    if let Ok(ip) = std::env::var("TCPREMOTEIP") {
        fields = fields.with("rip", ip);
    }
    let sockets = &arguments.sockets;
    let account = match sockets.verify(&arguments.config, &arguments.service, &user, &password, fields) {
        Verdict::Right(fields) => fields.get("user").unwrap_or(&user).to_owned(),
        Verdict::Wrong(fields) => return refused(WRONG, fields.get("reason").unwrap_or_default()),
        Verdict::Unknown(why) => bail!("{why}"),
    };
    let found = sockets.look_up(
        &arguments.config,
        master::Request::User,
        &arguments.service,
        &account,
        Fields::new(),
    )?;
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new(&arguments.program[0]);
    command.args(&arguments.program[1..]).env("USER", &account).env("SHELL", "/bin/sh");
    match found {
        Some(master::Answer::User { fields, .. }) => become_owner(&fields, root, &mut command)?,
        Some(_) => bail!("the server does not say whose the account is"),
        None if root => bail!(
            "a master socket is needed to learn whose the account is: add [[auth_socket.master]], or name one with --master"
        ),
        None => {}
    }
    let e = command.exec();
    bail!("{} cannot be run: {e}", arguments.program[0].display())
}

/// Takes the account's identity, which cannot be undone.
fn become_owner(fields: &Fields, root: bool, command: &mut Command) -> Result<()> {
    let id = |name: &str| fields.get(name).and_then(|id| id.parse::<u32>().ok()).filter(|id| *id > 0);
    if root {
        let (uid, gid) =
            id("uid").zip(id("gid")).context("the account's uid or gid is missing, or root's")?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::thread::set_thread_groups(&[gid]).context("setgroups")?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).context("setgid")?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).context("setuid")?;
    } else if id("uid") != Some(rustix::process::geteuid().as_raw()) {
        bail!("only root can run a program as another user: the account is uid {:?}", id("uid"));
    }
    if let Some(home) = fields.get("home") {
        // As the account: what it cannot enter is no home.
        std::env::set_current_dir(home).with_context(|| format!("the home {home}"))?;
        command.env("HOME", home);
    }
    Ok(())
}

/// All that descriptor 3 gives.
fn read_three() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let three = match rustix::fs::open("/proc/self/fd/3", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(opened) => opened,
        // A socket cannot be opened by its name.
        Err(rustix::io::Errno::NXIO) => duplicate_three()?,
        Err(e) => return Err(e.into()),
    };
    match std::fs::File::from(three).take(LONGEST + 1).read_to_end(&mut bytes) {
        Err(e) if e.kind() != ErrorKind::Interrupted => Err(e),
        _ => Ok(bytes),
    }
}

fn duplicate_three() -> rustix::io::Result<OwnedFd> {
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    rustix::process::pidfd_getfd(own, 3, PidfdGetfdFlags::empty())
}

/// `name NUL password NUL timestamp NUL`; some leave the last out.
fn parse(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    if bytes.len() as u64 > LONGEST {
        return None;
    }
    let mut parts = bytes.split(|b| *b == 0);
    let (user, password, _timestamp) = (parts.next()?, parts.next()?, parts.next()?);
    let user = std::str::from_utf8(user).ok().filter(|u| !u.is_empty())?;
    Some((user.to_owned(), password.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_parts() {
        let is = |bytes: &[u8]| parse(bytes).map(|(u, p)| (u, String::from_utf8(p).unwrap()));
        let anna = Some(("anna@example.org".to_owned(), "secret".to_owned()));
        assert_eq!(is(b"anna@example.org\0secret\0Y123456\0"), anna);
        assert_eq!(is(b"anna@example.org\0secret\0"), anna);
        for bad in [&b""[..], b"anna", b"anna\0secret", b"\0secret\0x\0", b"\xff\0x\0y\0", &[b'a'; 513]] {
            assert_eq!(is(bad), None);
        }
    }
}
