//! The servers that tests talk to: Culver, and Debian's Dovecot as the peer to compare with.
//!
//! Each is started privately: a temporary folder, loopback, a port that the system chose. Readiness is seen by the
//! greeting, never by sleeping for a fixed time. Dropping a server ends it; its log is kept until then, to be shown
//! beside a failure.

use anyhow::{Context, Result, bail};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

use crate::client::Client;

/// How long a server may take to start.
pub(crate) const START: Duration = Duration::from_secs(20);

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Account {
    /// The address.
    pub user: String,
    /// The password.
    pub password: String,
    /// The root of the Maildir, which is INBOX.
    pub maildir: PathBuf,
}

/// A running server on a Maildir.
pub trait Peer: Send + Sync {
    /// `culver` or `dovecot`.
    fn name(&self) -> &'static str;
    /// Where it speaks IMAP in plain text.
    fn imap(&self) -> SocketAddr;
    /// Where it speaks IMAP in TLS, if it does.
    fn imaps(&self) -> Option<SocketAddr>;
    /// Where it speaks POP3 in plain text, if it does.
    fn pop3(&self) -> Option<SocketAddr> {
        None
    }
    /// Where it speaks POP3 in TLS, if it does.
    fn pop3s(&self) -> Option<SocketAddr> {
        None
    }
    /// An account that nobody has used before.
    fn fresh_account(&self) -> Account;
    /// What it has logged.
    fn log(&self) -> String;
    /// Makes a file or folder that a test put behind the server's back belong to the server's user.
    ///
    /// # Errors
    /// From the file system.
    fn own(&self, path: &Path) -> Result<()>;

    /// A connection, logged in as `account`.
    ///
    /// # Errors
    /// As [`Client`].
    fn log_in(&self, account: &Account) -> Result<Client> {
        let mut client = Client::connect(self.imap())?;
        client.login(&account.user, &account.password)?;
        Ok(client)
    }
}

/// A child process that is ended when its owner is.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Calls `probe` until it succeeds.
///
/// # Errors
/// The last error of `probe` when `limit` is over or `process` has ended.
pub(crate) fn wait_until<T>(
    limit: Duration,
    process: &mut Process,
    mut probe: impl FnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(why) => {
                if let Ok(Some(status)) = process.0.try_wait() {
                    return Err(why.context(format!("the server ended with {status}")));
                }
                if Instant::now() > end {
                    return Err(why.context("the server did not get ready"));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How to start Culver.
#[derive(Clone, Debug)]
pub struct CulverOptions {
    /// The folder of `culver demo`; a temporary one when missing.
    pub dir: Option<PathBuf>,
    /// How many accounts `u0001@example.test`, ...
    pub users: u32,
}

impl Default for CulverOptions {
    fn default() -> Self {
        CulverOptions { dir: None, users: 20 }
    }
}

/// `culver demo`, running.
#[derive(Debug)]
pub struct Culver {
    // Before `temp`: the process ends first, then its folder goes.
    process: Process,
    dir: PathBuf,
    imap: SocketAddr,
    imaps: SocketAddr,
    pop3: SocketAddr,
    pop3s: SocketAddr,
    lmtp: SocketAddr,
    users: u32,
    used: AtomicU32,
    temp: Option<TempDir>,
}

impl Culver {
    /// Starts the program at `exe` and waits until it greets.
    ///
    /// # Errors
    /// When it does not get ready; the text holds its log.
    pub fn start(exe: &Path, options: CulverOptions) -> Result<Culver> {
        let (dir, temp) = match options.dir {
            Some(dir) => (dir, None),
            None => {
                let temp = tempfile::Builder::new().prefix("culver-").tempdir()?;
                (temp.path().to_owned(), Some(temp))
            }
        };
        fs::create_dir_all(&dir)?;
        let ports = dir.join("ports.json");
        let _ = fs::remove_file(&ports);
        let log = fs::File::create(dir.join("test.log"))?;
        let child = Command::new(exe)
            .arg("demo")
            .arg("--dir")
            .arg(&dir)
            .args(["--base-port", "0", "--users", &options.users.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", exe.display()))?;
        let mut process = Process(child);
        let ready = wait_until(START, &mut process, || {
            let text = fs::read_to_string(&ports).context("ports.json")?;
            let at =
                |name| Ok::<_, anyhow::Error>(SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&text, name)?)));
            let (imap, imaps) = (at("imap")?, at("imaps")?);
            Client::connect(imap)?;
            Ok((imap, imaps, at("pop3")?, at("pop3s")?, at("lmtp")?))
        });
        let (imap, imaps, pop3, pop3s, lmtp) = ready.map_err(|why| {
            let log = fs::read_to_string(dir.join("test.log")).unwrap_or_default();
            why.context(format!("the log of culver:\n{log}"))
        })?;
        let (users, used) = (options.users, AtomicU32::new(0));
        Ok(Culver { process, dir, imap, imaps, pop3, pop3s, lmtp, users, used, temp })
    }

    /// The folder that holds everything.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it speaks LMTP by TCP.
    pub fn lmtp(&self) -> SocketAddr {
        self.lmtp
    }

    /// Its unix socket for LMTP.
    pub fn lmtp_socket(&self) -> PathBuf {
        self.dir.join("lmtp")
    }

    /// The account `demo@example.test`, which has sample mail.
    pub fn demo_account(&self) -> Account {
        self.account("demo@example.test", "demo")
    }

    fn account(&self, user: &str, password: &str) -> Account {
        Account {
            user: user.to_owned(),
            password: password.to_owned(),
            maildir: self.dir.join("mail").join(user).join("Mail"),
        }
    }

    /// Memory of the process that is not shared with a file, now and at its highest, in KiB (`VmRSS`, `VmHWM`).
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let field = |name: &str| -> Result<u64> {
            let line =
                status.lines().find_map(|l| l.strip_prefix(name)).context("a line of /proc/PID/status")?;
            Ok(line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse()?)
        };
        Ok((field("VmRSS")?, field("VmHWM")?))
    }

    /// Ends it by SIGTERM and waits; its temporary folder is handed over.
    ///
    /// # Errors
    /// When it had been given a folder of its own: that one simply stays.
    pub fn stop(mut self) -> Result<TempDir> {
        let temp = self.temp.take().context("a temporary folder")?;
        drop(self);
        Ok(temp)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

/// `"NAME": N` out of a flat JSON object of numbers.
fn port_of(json: &str, name: &str) -> Result<u16> {
    let key = format!("\"{name}\"");
    let rest = json.split_once(&key).with_context(|| format!("{key} in ports.json"))?.1;
    let rest = rest.trim_start().strip_prefix(':').context(": in ports.json")?.trim_start();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    Ok(digits.parse()?)
}

impl Peer for Culver {
    fn name(&self) -> &'static str {
        "culver"
    }

    fn imap(&self) -> SocketAddr {
        self.imap
    }

    fn imaps(&self) -> Option<SocketAddr> {
        Some(self.imaps)
    }

    fn pop3(&self) -> Option<SocketAddr> {
        Some(self.pop3)
    }

    fn pop3s(&self) -> Option<SocketAddr> {
        Some(self.pop3s)
    }

    fn fresh_account(&self) -> Account {
        let n = self.used.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(
            n <= self.users,
            "the test needs more than {} accounts: raise CulverOptions::users",
            self.users
        );
        self.account(&format!("u{n:04}@example.test"), "pass")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("test.log")).unwrap_or_default()
    }

    fn own(&self, _: &Path) -> Result<()> {
        Ok(()) // `culver demo` runs everything as the user who started it.
    }
}

/// Debian's Dovecot with a configuration of our own.
#[derive(Debug)]
pub struct Dovecot {
    process: Process,
    dir: PathBuf,
    imap: SocketAddr,
    pop3: Option<SocketAddr>,
    used: AtomicU32,
    _temp: TempDir,
}

impl Dovecot {
    /// Why Dovecot cannot run here, if so: tests say "not run" with this reason.
    pub fn missing() -> Option<String> {
        if !Path::new(DOVECOT).exists() {
            return Some(format!("{DOVECOT} is not there: apt-get install dovecot-imapd"));
        }
        if !rustix::process::getuid().is_root() {
            return Some("Dovecot is started by root only".to_owned());
        }
        None
    }

    /// Starts it on an empty mail root. Every user name is taken; the password is `pass`; a user's Maildir is
    /// `mail/USER/Mail` under its folder, as with Culver.
    ///
    /// # Errors
    /// When it does not get ready; the text holds its log.
    pub fn start() -> Result<Dovecot> {
        Dovecot::start_with("")
    }

    /// The same, with more lines in its configuration.
    ///
    /// # Errors
    /// As [`Dovecot::start`].
    pub fn start_with(settings: &str) -> Result<Dovecot> {
        let temp = tempfile::Builder::new().prefix("dovecot-").tempdir()?;
        let dir = temp.path().to_owned();
        let mail = dir.join("mail");
        fs::create_dir(&mail)?;
        // The mail processes run as the owner of mail, which must be able to come here.
        open_to_all(&dir)?;
        chown(&mail)?;
        let mut last = anyhow::anyhow!("no attempt");
        for _ in 0..5 {
            // The port may be taken between our probe and Dovecot's bind: then the next one.
            let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
            let (one, other) = (free()?, free()?);
            let (port, pop3) = (one.local_addr()?.port(), other.local_addr()?.port());
            drop((one, other));
            match Dovecot::launch(&dir, port, pop3, settings) {
                Ok((process, imap)) => {
                    let pop3 = SocketAddr::from((Ipv4Addr::LOCALHOST, pop3));
                    let pop3 = Path::new(DOVECOT_POP3).exists().then_some(pop3);
                    return Ok(Dovecot { process, dir, imap, pop3, used: AtomicU32::new(0), _temp: temp });
                }
                Err(why) => {
                    let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
                    last = why.context(format!("the log of dovecot:\n{log}"));
                }
            }
        }
        Err(last)
    }

    fn launch(dir: &Path, port: u16, pop3: u16, settings: &str) -> Result<(Process, SocketAddr)> {
        let conf = dir.join("dovecot.conf");
        let d = dir.display();
        let with_pop3 = if Path::new(DOVECOT_POP3).exists() {
            format!(
                "protocols = imap pop3\nservice pop3-login {{\n service_count = 0\n inet_listener pop3 {{\n \
                 port = {pop3}\n }}\n inet_listener pop3s {{\n port = 0\n }}\n chroot =\n}}\n"
            )
        } else {
            String::new()
        };
        fs::write(
            &conf,
            format!(
                "protocols = imap\nlisten = 127.0.0.1\nbase_dir = {d}/run\nstate_dir = {d}/state\n\
                 log_path = {d}/log\ninfo_log_path = {d}/log\nssl = no\ndisable_plaintext_auth = no\n\
                 mail_location = maildir:~/Mail\nmail_uid = {OWNER_ID}\nmail_gid = {OWNER_ID}\nfirst_valid_uid = 1\n\
                 first_valid_gid = 1\nmail_max_userip_connections = 1000\nauth_failure_delay = 0\n\
                 auth_username_format = %Lu\nmaildir_stat_dirs = yes\nauth_mechanisms = plain login\n\
                 passdb {{\n driver = static\n args = password=pass\n}}\n\
                 userdb {{\n driver = static\n args = home={d}/mail/%Lu\n}}\n\
                 namespace inbox {{\n inbox = yes\n separator = /\n}}\n\
                 service imap-login {{\n service_count = 0\n inet_listener imap {{\n port = {port}\n }}\n \
                 inet_listener imaps {{\n port = 0\n }}\n chroot =\n}}\n\
                 service anvil {{\n chroot =\n}}\nservice imap {{\n process_limit = 200\n}}\n\
                 service stats {{\n unix_listener stats-writer {{\n mode = 0666\n }}\n}}\n{with_pop3}{settings}\n"
            ),
        )?;
        let child = Command::new(DOVECOT)
            .args(["-F", "-c"])
            .arg(&conf)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::OpenOptions::new().append(true).create(true).open(dir.join("log"))?)
            .spawn()?;
        let mut process = Process(child);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until(START, &mut process, || {
            let mut client = Client::connect(addr)?;
            client.login("ready@example.test", "pass")?;
            client.ok("STATUS INBOX (MESSAGES)").map(|_| ())
        })?;
        Ok((process, addr))
    }

    /// Settings for [`Dovecot::start_with`] that make it speak LMTP on a free port, and the port.
    ///
    /// # Errors
    /// When there is none.
    pub fn with_lmtp() -> Result<(String, SocketAddr)> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let settings = format!(
            "protocols = $protocols lmtp\nservice lmtp {{\n inet_listener lmtp {{\n address = 127.0.0.1\n port = {port}\n }}\n}}\n\
             postmaster_address = postmaster@example.test\n"
        );
        Ok((settings, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
    }

    /// Its configuration, for `doveadm -c`.
    pub fn config(&self) -> PathBuf {
        self.dir.join("dovecot.conf")
    }

    /// The process id of the master.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The account of this address.
    pub fn account(&self, user: &str) -> Account {
        Account {
            user: user.to_owned(),
            password: "pass".to_owned(),
            maildir: self.dir.join("mail").join(user).join("Mail"),
        }
    }
}

/// For [`Dovecot::start_with`]: the settings of someone who knows Dovecot and wants speed, without giving up what keeps
/// mail safe. Fewer looks at `cur` (`maildir_very_dirty_syncs`), no `stat` of folders; `mail_fsync = optimized` as it comes.
/// Login processes in their high-performance mode, one for each core; mail processes serve many sessions one after the
/// other, since all mail belongs to one user; sessions that only wait are handed to one process. Limits for thousands.
pub const TUNED: &str = "\
maildir_very_dirty_syncs = yes
maildir_stat_dirs = no
mail_fsync = optimized
mmap_disable = no
mail_max_userip_connections = 0
auth_cache_size = 10M
imap_hibernate_timeout = 5 secs
default_process_limit = 4096
default_client_limit = 16000
default_vsz_limit = 2G
service imap-login {
 service_count = 0
 process_min_avail = 2
 process_limit = 2
 client_limit = 8000
}
service imap {
 service_count = 256
 process_min_avail = 4
 idle_kill = 10 secs
 process_limit = 4096
 unix_listener imap-master {
  user = $default_internal_user
 }
 extra_groups = $default_internal_group
}
service pop3-login {
 process_min_avail = 2
 process_limit = 2
 client_limit = 8000
}
service pop3 {
 service_count = 256
 process_min_avail = 4
 idle_kill = 10 secs
 process_limit = 4096
}
service imap-hibernate {
 client_limit = 16000
 unix_listener imap-hibernate {
  mode = 0660
  group = $default_internal_group
 }
}
";

/// Beside [`TUNED`], for LMTP: processes that stay, each for many connections one after the other.
pub const TUNED_LMTP: &str = "\
service lmtp {
 process_min_avail = 4
 service_count = 0
 process_limit = 100
}
";

const DOVECOT: &str = "/usr/sbin/dovecot";
const DOVECOT_POP3: &str = "/usr/lib/dovecot/pop3-login";
/// Whom Dovecot's mail belongs to: user and group `nobody` of Debian.
const OWNER_ID: u32 = 65534;

pub(crate) fn open_to_all(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

fn chown(path: &Path) -> Result<()> {
    std::os::unix::fs::lchown(path, Some(OWNER_ID), Some(OWNER_ID))?;
    Ok(())
}

impl Peer for Dovecot {
    fn name(&self) -> &'static str {
        "dovecot"
    }

    fn imap(&self) -> SocketAddr {
        self.imap
    }

    fn imaps(&self) -> Option<SocketAddr> {
        None
    }

    fn pop3(&self) -> Option<SocketAddr> {
        self.pop3
    }

    fn fresh_account(&self) -> Account {
        let n = self.used.fetch_add(1, Ordering::Relaxed) + 1;
        self.account(&format!("u{n:04}@example.test"))
    }

    fn log(&self) -> String {
        let _ = self.process.id();
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn own(&self, path: &Path) -> Result<()> {
        chown(path)?;
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }
}

/// Culver from the program at `exe`; or Dovecot when the variable `CULVER_TEST_PEER` says `dovecot`, to see whether a
/// failure is the server's or the test's.
///
/// # Errors
/// As [`Culver::start`].
pub fn under_test(exe: &str) -> Result<Box<dyn Peer>> {
    match std::env::var("CULVER_TEST_PEER").as_deref() {
        Ok("dovecot") => Ok(Box::new(Dovecot::start()?)),
        Ok(other) => bail!("CULVER_TEST_PEER={other}: `dovecot` or nothing"),
        Err(_) => Ok(Box::new(Culver::start(Path::new(exe), CulverOptions::default())?)),
    }
}
