//! Servers that accounts come from: PostgreSQL, MariaDB, OpenLDAP, and Dovecot's auth process to compare with.
//!
//! Each is a private instance in a temporary folder, on a unix socket and, where a test wants TCP, on a port of the loopback
//! interface that the system chose. They refuse to run as root, so as root they run as their package's user. `None` says
//! that the program is not there. Dropping one ends it and removes its data.

use crate::peer::{Process, wait_until};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const START: Duration = Duration::from_secs(30);

/// A server.
pub struct Server {
    process: Option<Process>,
    start: Box<dyn Fn() -> Command + Send + Sync>,
    ready: Box<dyn Fn() -> Result<()> + Send + Sync>,
    /// Its folder.
    pub dir: PathBuf,
    /// Its unix socket (PostgreSQL: the folder of it).
    pub socket: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Its port for TLS from the start, if it has one.
    pub tls_port: u16,
    /// Does it wait for its clients when it is told to end (SIGTERM)? PostgreSQL does not when it is interrupted.
    interrupt: bool,
    _temp: TempDir,
}

impl Server {
    fn launch(
        temp: TempDir,
        socket: PathBuf,
        port: u16,
        start: impl Fn() -> Command + Send + Sync + 'static,
        ready: impl Fn() -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let dir = temp.path().to_owned();
        let (start, ready) = (Box::new(start), Box::new(ready));
        let mut server = Self {
            process: None,
            start,
            ready,
            dir,
            socket,
            port,
            tls_port: 0,
            interrupt: false,
            _temp: temp,
        };
        server.start()?;
        Ok(server)
    }

    /// Starts it (again); returns when it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&mut self) -> Result<()> {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.dir.join("log"))?;
        let mut command = (self.start)();
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut process = Process(command.spawn()?);
        let ready = wait_until(START, &mut process, || (self.ready)());
        ready.with_context(|| fs::read_to_string(self.dir.join("log")).unwrap_or_default())?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it; its data stay.
    pub fn stop(&mut self) {
        let Some(process) = self.process.take() else { return };
        let pid = i32::try_from(process.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.interrupt) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A folder that belongs to the user as whom the server runs.
fn folder(user: &str) -> Result<TempDir> {
    let temp = tempfile::Builder::new().prefix("culver-").tempdir()?;
    if rustix::process::geteuid().is_root() {
        run(Command::new("chown").arg(user).arg(temp.path()))?;
    }
    Ok(temp)
}

/// The program, as that user when we are root.
fn as_user(user: &'static str, program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]).arg(program);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The newest PostgreSQL of Debian's packages.
fn postgres_programs() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> =
        fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|e| Some(e.ok()?.path().join("bin"))).collect();
    versions.sort();
    versions.pop().filter(|bin| bin.join("initdb").exists())
}

/// PostgreSQL with a superuser `postgres` who is let in on the socket, and a database of the same name. TCP asks for
/// passwords (SCRAM).
///
/// # Errors
/// When it does not start.
pub fn postgres() -> Result<Option<Server>> {
    postgres_with(&[], &[])
}

/// Files that a server's user alone may read, in its folder.
fn write_files(dir: &Path, user: &str, files: &[(&str, &str)]) -> Result<()> {
    for (name, text) in files {
        let path = dir.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg(user).arg(&path))?;
        }
    }
    Ok(())
}

/// Arguments with the server's folder in the place of `@DIR@`.
fn arguments(dir: &Path, more: &[&str]) -> Vec<String> {
    more.iter().map(|text| text.replace("@DIR@", &dir.display().to_string())).collect()
}

/// [`postgres`] with these files in its folder and these arguments, in which `@DIR@` is that folder.
///
/// # Errors
/// When it does not start.
pub fn postgres_with(files: &[(&str, &str)], more: &[&str]) -> Result<Option<Server>> {
    let Some(bin) = postgres_programs() else { return Ok(None) };
    let temp = folder("postgres")?;
    write_files(temp.path(), "postgres", files)?;
    let more = arguments(temp.path(), more);
    let (dir, data) = (temp.path().to_owned(), temp.path().join("data"));
    let mut initdb = as_user("postgres", &bin.join("initdb"));
    initdb.args(["--no-sync", "--username=postgres", "--encoding=UTF8", "--no-locale", "--auth-local=trust"]);
    run(initdb.args(["--auth-host=scram-sha-256", "-D"]).arg(&data))?;
    let port = free_port()?;
    let (program, socket) = (bin.join("postgres"), dir.clone());
    let (psql, at) = (bin.join("psql"), dir.clone());
    let mut server = Server::launch(
        temp,
        dir,
        port,
        move || {
            let mut command = as_user("postgres", &program);
            command.arg("-D").arg(&data).arg("-k").arg(&socket).args(["-p", &port.to_string()]);
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=8MB"]);
            command.args(&more);
            command
        },
        move || {
            run(Command::new(&psql).arg("-h").arg(&at).args([
                "-p",
                &port.to_string(),
                "-U",
                "postgres",
                "-c",
                "SELECT 1",
            ]))
        },
    )?;
    server.interrupt = true;
    Ok(Some(server))
}

impl Server {
    /// Runs SQL in PostgreSQL.
    ///
    /// # Errors
    /// When it is refused.
    pub fn psql(&self, sql: &str) -> Result<()> {
        let bin = postgres_programs().context("no PostgreSQL")?;
        let mut command = Command::new(bin.join("psql"));
        command.arg("-h").arg(&self.socket).args(["-p", &self.port.to_string(), "-U", "postgres"]);
        run(command.args(["-v", "ON_ERROR_STOP=1", "-c", sql]))
    }

    /// Runs SQL in MariaDB.
    ///
    /// # Errors
    /// When it is refused.
    pub fn mariadb(&self, sql: &str) -> Result<()> {
        run(Command::new("mariadb")
            .arg("--no-defaults")
            .arg("-S")
            .arg(&self.socket)
            .args(["-u", "root", "-e", sql]))
    }
}

/// MariaDB with a user `root` without password on the socket and a database `mail`.
///
/// # Errors
/// When it does not start.
pub fn mariadb() -> Result<Option<Server>> {
    mariadb_with(&[], &[])
}

/// [`mariadb`] with these files in its folder and these arguments, in which `@DIR@` is that folder.
///
/// # Errors
/// When it does not start.
pub fn mariadb_with(files: &[(&str, &str)], more: &[&str]) -> Result<Option<Server>> {
    let program = PathBuf::from("/usr/sbin/mariadbd");
    if !program.exists() {
        return Ok(None);
    }
    let temp = folder("mysql")?;
    write_files(temp.path(), "mysql", files)?;
    let more = arguments(temp.path(), more);
    let dir = temp.path().to_owned();
    let (data, socket) = (dir.join("data"), dir.join("socket"));
    let mut install = as_user("mysql", Path::new("/usr/bin/mariadb-install-db"));
    install.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]);
    // Of the kernel's own asynchronous requests there are not enough for several at once.
    install.arg("--innodb-use-native-aio=0");
    run(install.arg(format!("--datadir={}", data.display())))?;
    let port = free_port()?;
    let (at, asked) = (socket.clone(), socket.clone());
    let server = Server::launch(
        temp,
        socket,
        port,
        move || {
            let mut command = as_user("mysql", &program);
            command.args(["--no-defaults", "--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"]);
            command.args(["--innodb-buffer-pool-size=8M", "--skip-log-bin", "--skip-name-resolve"]);
            command.arg("--innodb-use-native-aio=0");
            command.arg(format!("--datadir={}", data.display()));
            command.arg(format!("--socket={}", at.display())).arg(format!("--port={port}")).args(&more);
            command
        },
        move || {
            let mut client = Command::new("mariadb");
            client.arg("--no-defaults").arg("-S").arg(&asked);
            run(client.args(["-u", "root", "-e", "CREATE DATABASE IF NOT EXISTS mail"]))
        },
    )?;
    Ok(Some(server))
}

/// OpenLDAP's slapd with the tree `dc=example,dc=org`, filled from this LDIF, and everything under
/// `cn=admin,dc=example,dc=org` with the password `admin secret`; `extra` are further lines of slapd.conf, before those of the
/// database; with a `TLSCertificateFile` it speaks TLS too. It has an attribute `mailQuota` for any object (`extensibleObject`). On a socket (`ldapi`) and on TCP.
///
/// # Errors
/// When it does not start.
pub fn slapd(extra: &str, ldif: &str) -> Result<Option<Server>> {
    let program = PathBuf::from("/usr/sbin/slapd");
    if !program.exists() {
        return Ok(None);
    }
    let temp = tempfile::Builder::new().prefix("culver-").tempdir()?;
    let dir = temp.path().to_owned();
    let (d, conf, socket) = (dir.display(), dir.join("slapd.conf"), dir.join("ldapi"));
    fs::create_dir(dir.join("data"))?;
    let mut text = String::new();
    for schema in ["core", "cosine", "nis", "inetorgperson"] {
        text.push_str(&format!("include /etc/ldap/schema/{schema}.schema\n"));
    }
    text.push_str("attributetype ( 1.3.6.1.4.1.4203.666.1.77 NAME 'mailQuota' EQUALITY integerMatch\n");
    text.push_str(" SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )\n");
    text.push_str(&format!(
        "modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {d}/pid\n{extra}\ndatabase mdb\nmaxsize 16777216\n\
         suffix dc=example,dc=org\nrootdn cn=admin,dc=example,dc=org\nrootpw \"admin secret\"\ndirectory {d}/data\n\
         index uid,mail eq\ndbnosync\n"
    ));
    fs::write(&conf, text)?;
    fs::write(dir.join("ldif"), ldif)?;
    run(Command::new("/usr/sbin/slapadd").arg("-f").arg(&conf).arg("-l").arg(dir.join("ldif")).arg("-q"))?;
    let port = free_port()?;
    let at = socket.display().to_string().replace('/', "%2F");
    let (mut uris, asked) = (format!("ldap://127.0.0.1:{port}/ ldapi://{at}/"), format!("ldapi://{at}/"));
    let tls_port = free_port()?;
    if extra.contains("TLSCertificateFile") {
        uris.push_str(&format!(" ldaps://127.0.0.1:{tls_port}/"));
    }
    let mut server = Server::launch(
        temp,
        socket,
        port,
        move || {
            let mut command = Command::new(&program);
            command.arg("-f").arg(&conf).args(["-h", &uris, "-d", "0"]);
            command
        },
        move || run(Command::new("ldapsearch").args(["-x", "-H", &asked, "-b", "", "-s", "base", "-LLL"])),
    )?;
    server.tls_port = tls_port;
    Ok(Some(server))
}

impl Server {
    /// Changes entries of slapd.
    ///
    /// # Errors
    /// When it refuses.
    pub fn ldapmodify(&self, ldif: &str) -> Result<()> {
        let (file, at) = (self.dir.join("change"), self.socket.display().to_string().replace('/', "%2F"));
        fs::write(&file, ldif)?;
        let mut command = Command::new("ldapmodify");
        command.args(["-x", "-H", &format!("ldapi://{at}/"), "-D", "cn=admin,dc=example,dc=org"]);
        run(command.args(["-w", "admin secret", "-f"]).arg(&file))
    }
}

/// Dovecot's auth process alone, with these sections of its configuration. It speaks on `auth-client`.
///
/// # Errors
/// When it does not start.
pub fn dovecot_auth(sections: &str) -> Result<Option<Server>> {
    if !Path::new("/usr/sbin/dovecot").exists() {
        return Ok(None);
    }
    let temp = tempfile::Builder::new().prefix("culver-").tempdir()?;
    run(Command::new("chmod").arg("755").arg(temp.path()))?;
    let dir = temp.path().to_owned();
    let d = dir.display();
    let conf = dir.join("dovecot.conf");
    fs::write(
        &conf,
        format!(
            "base_dir = {d}/base\nstate_dir = {d}/state\nlog_path = {d}/log\nssl = no\nprotocols =\n\
             auth_failure_delay = 0\nservice anvil {{\n chroot =\n}}\nservice stats {{\n chroot =\n}}\n{sections}\n"
        ),
    )?;
    let socket = dir.join("base/auth-client");
    let asked = socket.clone();
    let server = Server::launch(
        temp,
        socket,
        0,
        move || {
            let mut command = Command::new("/usr/sbin/dovecot");
            command.arg("-F").arg("-c").arg(&conf);
            command
        },
        move || Ok(UnixStream::connect(&asked).map(|_| ())?),
    )?;
    Ok(Some(server))
}

/// What Dovecot's auth process says of names and passwords: the whole line of each answer, in their order.
///
/// # Errors
/// When it ends the conversation.
pub fn ask_dovecot(socket: &Path, logins: &[(String, String)]) -> Result<Vec<String>> {
    use base64::Engine as _;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(START))?;
    stream.write_all(format!("VERSION\t1\t1\nCPID\t{}\n", std::process::id()).as_bytes())?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().context("Dovecot has hung up")?? != "DONE" {}
    let mut answers = vec![String::new(); logins.len()];
    // Failures are answered together, once a second or so; not too many may wait.
    for (part, chunk) in logins.chunks(100).enumerate() {
        for (index, (user, password)) in chunk.iter().enumerate() {
            let response = base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{password}"));
            let id = part * 100 + index + 1;
            stream.write_all(
                format!("AUTH\t{id}\tPLAIN\tservice=test\tno-penalty\tresp={response}\n").as_bytes(),
            )?;
        }
        for _ in chunk {
            let line = lines.next().context("Dovecot has hung up")??;
            let id: usize = line.split('\t').nth(1).unwrap_or_default().parse()?;
            *answers.get_mut(id - 1).context("an answer to nobody")? = line;
        }
    }
    Ok(answers)
}
