//! Debian's Postfix and Exim with configurations of our own, and an SMTP server that takes everything.
//!
//! As with the other peers: a temporary folder, loopback, ports that the system chose, ended when dropped. Postfix is the
//! installed package with its own configuration, queue and data directories; Exim is unpacked by `cargo xtask debian`
//! into target/debian, since Debian has one MTA installed at a time. Both are started by root only, and run as the users
//! that their packages have made.

use crate::peer::{Process, START, open_to_all, wait_until};
use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const POSTFIX: &str = "/usr/sbin/postfix";

/// Why swaks cannot run here, if so.
pub fn swaks_missing() -> Option<String> {
    (!Path::new("/usr/bin/swaks").exists()).then(|| "swaks is not there: apt-get install swaks".to_owned())
}

/// Sends with swaks; gives the dialogue, and whether swaks was content.
///
/// # Errors
/// When swaks cannot be started.
pub fn swaks(server: SocketAddr, args: &[&str]) -> Result<(String, bool)> {
    let mut swaks = Command::new("/usr/bin/swaks");
    swaks.args(["--server", &server.ip().to_string(), "--port", &server.port().to_string()]);
    swaks.args(["--helo", "client.example", "--suppress-data", "--timeout", "20"]).args(args);
    let Output { status, mut stdout, stderr } = swaks.stdin(Stdio::null()).output().context("swaks")?;
    stdout.extend_from_slice(&stderr);
    Ok((String::from_utf8_lossy(&stdout).into_owned(), status.success()))
}

/// A port that is free now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn greeted(address: SocketAddr) -> Result<()> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.starts_with("220") { Ok(()) } else { bail!("greeted with {line:?}") }
}

/// Starts a server on a port that may be taken meanwhile: then another one.
fn on_a_free_port<T>(log: &Path, mut start: impl FnMut(SocketAddr) -> Result<T>) -> Result<T> {
    let mut last = anyhow::anyhow!("no attempt");
    for _ in 0..3 {
        match start(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?))) {
            Ok(server) => return Ok(server),
            Err(why) => {
                let log = fs::read_to_string(log).unwrap_or_default();
                last = why.context(format!("the log:\n{log}"));
            }
        }
    }
    Err(last)
}

/// Debian's Postfix.
#[derive(Debug)]
pub struct Postfix {
    _process: Process,
    dir: PathBuf,
    smtp: SocketAddr,
    _temp: TempDir,
}

impl Postfix {
    /// Why Postfix cannot run here, if so: tests say "not run" with this reason.
    pub fn missing() -> Option<String> {
        if !Path::new(POSTFIX).exists() {
            return Some(format!("{POSTFIX} is not there: apt-get install postfix"));
        }
        (!rustix::process::getuid().is_root()).then(|| "Postfix is started by root only".to_owned())
    }

    /// Starts it with these lines at the end of main.cf and of master.cf. Without any it relays nothing and knows nobody;
    /// `smtpd` listens on the loopback, chroot is off, so sockets may lie anywhere that the user `postfix` can reach.
    ///
    /// # Errors
    /// When it does not get ready; the text holds its log.
    pub fn start(main: &str, master: &str) -> Result<Postfix> {
        let temp = tempfile::Builder::new().prefix("postfix-").tempdir()?;
        let dir = temp.path().to_owned();
        open_to_all(&dir)?;
        for name in ["etc", "queue", "data"] {
            fs::create_dir(dir.join(name))?;
        }
        own(&dir.join("data"), "postfix")?;
        let (process, smtp) =
            on_a_free_port(&dir.join("log"), |smtp| Ok((Postfix::launch(&dir, smtp, main, master)?, smtp)))?;
        Ok(Postfix { _process: process, dir, smtp, _temp: temp })
    }

    fn launch(dir: &Path, smtp: SocketAddr, main: &str, master: &str) -> Result<Process> {
        let (d, etc) = (dir.display(), dir.join("etc"));
        fs::write(
            etc.join("main.cf"),
            format!(
                "compatibility_level = 3.6\nqueue_directory = {d}/queue\ndata_directory = {d}/data\n\
                 maillog_file = {d}/log\nmaillog_file_prefixes = {d}\nmyhostname = mx.example.test\n\
                 mydestination =\nmynetworks = 127.0.0.0/8\ninet_interfaces = loopback-only\ninet_protocols = ipv4\n\
                 alias_maps =\nalias_database =\nlocal_recipient_maps =\ndefault_database_type = hash\n\
                 smtp_tls_security_level = none\nsmtpd_peername_lookup = no\nsmtp_dns_support_level = disabled\n\
                 smtp_host_lookup = native\nmaximal_backoff_time = 5s\nminimal_backoff_time = 1s\nqueue_run_delay = 1s\n\
                 smtpd_client_connection_count_limit = 0\n{main}\n"
            ),
        )?;
        let services = "pickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
             tlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nverify unix - - n - 1 verify\n\
             flush unix n - n 1000? 0 flush\nproxymap unix - - n - - proxymap\nsmtp unix - - n - - smtp\n\
             relay unix - - n - - smtp\nshowq unix n - n - - showq\nerror unix - - n - - error\n\
             retry unix - - n - - error\ndiscard unix - - n - - discard\nlocal unix - n n - - local\n\
             virtual unix - n n - - virtual\nlmtp unix - - n - - lmtp\nanvil unix - - n - 1 anvil\n\
             scache unix - - n - 1 scache\npostlog unix-dgram n - n - 1 postlogd\n";
        fs::write(etc.join("master.cf"), format!("{smtp} inet n - n - - smtpd\n{services}{master}\n"))?;
        let out = fs::OpenOptions::new().append(true).create(true).open(dir.join("out"))?;
        let child = Command::new(POSTFIX)
            .arg("-c")
            .arg(&etc)
            .arg("start-fg")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("postfix")?;
        let mut process = Process(child);
        wait_until(START, &mut process, || greeted(smtp)).map_err(|why| {
            let out = fs::read_to_string(dir.join("out")).unwrap_or_default();
            why.context(format!("it printed:\n{out}"))
        })?;
        Ok(process)
    }

    /// Where it speaks SMTP.
    pub fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// Its folder: `etc`, `queue`, `log`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// One of Postfix's own commands (`postqueue -p`, `postmap -q`) with this configuration; gives what it printed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn command(&self, name: &str, args: &[&str]) -> Result<String> {
        let mut command = Command::new(Path::new("/usr/sbin").join(name));
        let out = command.arg("-c").arg(self.dir.join("etc")).args(args).stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    }

    /// The log, as soon as it holds this text.
    ///
    /// # Errors
    /// When it does not within half a minute; the error holds the log.
    pub fn logs(&self, text: &str) -> Result<String> {
        logs(|| self.log(), text)
    }
}

/// Debian's Exim, unpacked.
#[derive(Debug)]
pub struct Exim {
    _process: Process,
    dir: PathBuf,
    smtp: SocketAddr,
    _temp: TempDir,
}

impl Exim {
    /// Why Exim cannot run here, if so: tests say "not run" with this reason.
    pub fn missing() -> Option<String> {
        if !program().exists() {
            return Some(format!("{} is not there: cargo xtask debian", program().display()));
        }
        if id("-u", EXIM_USER).is_err() {
            return Some(format!("the user {EXIM_USER} is not there: cargo xtask debian"));
        }
        (!rustix::process::getuid().is_root()).then(|| "Exim is started by root only".to_owned())
    }

    /// Starts it with this configuration behind the main settings that place its files: more main settings first, then
    /// its sections.
    ///
    /// # Errors
    /// When it does not get ready; the text holds its log.
    pub fn start(configuration: &str) -> Result<Exim> {
        let temp = tempfile::Builder::new().prefix("exim-").tempdir()?;
        let dir = temp.path().to_owned();
        open_to_all(&dir)?;
        for name in ["spool", "logs"] {
            fs::create_dir(dir.join(name))?;
            own(&dir.join(name), EXIM_USER)?;
        }
        let (process, smtp) = on_a_free_port(&dir.join("logs/paniclog"), |smtp| {
            Ok((Exim::launch(&dir, smtp, configuration)?, smtp))
        })?;
        Ok(Exim { _process: process, dir, smtp, _temp: temp })
    }

    fn launch(dir: &Path, smtp: SocketAddr, configuration: &str) -> Result<Process> {
        let d = dir.display();
        fs::write(
            dir.join("exim.conf"),
            format!(
                "primary_hostname = mx.example.test\nexim_path = {}\nspool_directory = {d}/spool\nlog_file_path = {d}/logs/%slog\n\
                 pid_file_path = {d}/exim.pid\nlocal_interfaces = {}\ndaemon_smtp_ports = {}\ntls_advertise_hosts =\n\
                 keep_environment =\nhost_lookup =\nrfc1413_hosts =\nrfc1413_query_timeout = 0s\n\
                 deliver_drop_privilege = true\nmessage_logs = false\n{configuration}\n",
                program().display(),
                smtp.ip(),
                smtp.port()
            ),
        )?;
        let out = fs::OpenOptions::new().append(true).create(true).open(dir.join("out"))?;
        let mut exim = Command::new(program());
        exim.arg("-C").arg(dir.join("exim.conf")).args(["-bdf", "-q1s"]);
        let child = exim.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn().context("exim")?;
        let mut process = Process(child);
        wait_until(START, &mut process, || greeted(smtp)).map_err(|why| {
            let out = fs::read_to_string(dir.join("out")).unwrap_or_default();
            why.context(format!("it printed:\n{out}"))
        })?;
        Ok(process)
    }

    /// Where it speaks SMTP.
    pub fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// Its folder: `exim.conf`, `spool`, `logs`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        ["mainlog", "rejectlog", "paniclog"]
            .iter()
            .map(|name| fs::read_to_string(self.dir.join("logs").join(name)).unwrap_or_default())
            .collect()
    }

    /// Exim with more arguments (`-bt ADDRESS`, `-qff`) and this configuration; gives what it printed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn command(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(program());
        command.arg("-C").arg(self.dir.join("exim.conf")).args(args).stdin(Stdio::null());
        let out = command.output()?;
        Ok(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    }

    /// The log, as soon as it holds this text.
    ///
    /// # Errors
    /// When it does not within half a minute; the error holds the log.
    pub fn logs(&self, text: &str) -> Result<String> {
        logs(|| self.log(), text)
    }
}

fn logs(log: impl Fn() -> String, text: &str) -> Result<String> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let log = log();
        if log.contains(text) {
            return Ok(log);
        }
        if Instant::now() > end {
            bail!("{text:?} was never logged:\n{log}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

const EXIM_USER: &str = "Debian-exim";

fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    target.join("debian/exim4-daemon-heavy/usr/sbin/exim4")
}

fn id(what: &str, user: &str) -> Result<u32> {
    let out = Command::new("id").args([what, user]).stderr(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().parse()?)
}

fn own(path: &Path, user: &str) -> Result<()> {
    std::os::unix::fs::chown(path, Some(id("-u", user)?), Some(id("-g", user)?))?;
    Ok(())
}

/// A message as the sink got it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// What stood in MAIL FROM.
    pub from: String,
    /// What stood in each RCPT TO.
    pub to: Vec<String>,
    /// The message, with CRLF.
    pub data: String,
}

/// An SMTP server which takes every message for everybody: the outside world.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Received>>>,
}

impl Sink {
    /// Listens on a free port of the loopback, as long as the test program lives.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> Result<Sink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, got) = (listener.local_addr()?, Arc::new(Mutex::new(Vec::new())));
        let all = got.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let got = all.clone();
                std::thread::spawn(move || take(stream, &got));
            }
        });
        Ok(Sink { address, got })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first message for this recipient, as soon as it has come.
    ///
    /// # Errors
    /// When it does not within half a minute.
    pub fn received(&self, recipient: &str) -> Result<Received> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let found = self.got.lock().iter().find(|r| r.to.iter().any(|to| to == recipient)).cloned();
            if let Some(found) = found {
                return Ok(found);
            }
            if Instant::now() > end {
                bail!("nothing came for {recipient}; what came: {:?}", self.got.lock());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn take(stream: TcpStream, got: &Mutex<Vec<Received>>) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream.take(100 << 20));
    out.write_all(b"220 sink.example ESMTP\r\n").ok()?;
    let mut now = Received { from: String::new(), to: Vec::new(), data: String::new() };
    let path = |line: &str| {
        line.split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'))
            .map(|(p, _)| p.to_owned())
            .unwrap_or_default()
    };
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let verb = line.trim_end().to_ascii_uppercase();
        let answer = if verb.starts_with("EHLO") || verb.starts_with("HELO") {
            "250 sink.example"
        } else if verb.starts_with("MAIL") {
            now = Received { from: path(&line), to: Vec::new(), data: String::new() };
            "250 ok"
        } else if verb.starts_with("RCPT") {
            now.to.push(path(&line));
            "250 ok"
        } else if verb == "DATA" {
            out.write_all(b"354 go on\r\n").ok()?;
            loop {
                let mut bytes = Vec::new();
                if input.read_until(b'\n', &mut bytes).ok()? == 0 {
                    return None;
                }
                if bytes == b".\r\n" {
                    break;
                }
                now.data.push_str(&String::from_utf8_lossy(bytes.strip_prefix(b".").unwrap_or(&bytes)));
            }
            got.lock().push(now.clone());
            "250 taken"
        } else if verb == "QUIT" {
            out.write_all(b"221 bye\r\n").ok()?;
            return Some(());
        } else {
            "250 ok"
        };
        out.write_all(answer.as_bytes()).ok()?;
        out.write_all(b"\r\n").ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postfix_relays_what_it_may() {
        if let Some(why) = Postfix::missing().or_else(swaks_missing) {
            println!("not run: mta: {why}");
            return;
        }
        let sink = Sink::start().unwrap();
        let relay = format!("relayhost = [127.0.0.1]:{}", sink.address().port());
        let postfix = Postfix::start(&relay, "").unwrap();
        let (talk, fine) =
            swaks(postfix.smtp(), &["--from", "a@example.com", "--to", "b@example.org"]).unwrap();
        assert!(fine, "{talk}");
        let got = sink.received("b@example.org").unwrap();
        assert_eq!(got.from, "a@example.com");
        assert!(got.data.contains("This is a test mailing"), "{}", got.data);
        postfix.logs("status=sent").unwrap();
    }

    #[test]
    fn exim_relays_what_it_may() {
        if let Some(why) = Exim::missing().or_else(swaks_missing) {
            println!("not run: mta: {why}");
            return;
        }
        let sink = Sink::start().unwrap();
        let configuration = format!(
            "acl_smtp_rcpt = accept\nbegin routers\nout:\n  driver = manualroute\n  route_list = * 127.0.0.1\n  \
             self = send\n  transport = smtp\nbegin transports\nsmtp:\n  driver = smtp\n  port = {}\n  \
             hosts_try_fastopen =\n",
            sink.address().port()
        );
        let exim = Exim::start(&configuration).unwrap();
        let (talk, fine) = swaks(exim.smtp(), &["--from", "a@example.com", "--to", "b@example.org"]).unwrap();
        assert!(fine, "{talk}");
        let got = sink.received("b@example.org");
        let got = got.unwrap_or_else(|why| panic!("{why}: {}", exim.log()));
        assert_eq!(got.from, "a@example.com");
    }
}
