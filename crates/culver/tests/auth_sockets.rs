//! The auth sockets of the running program, with those who ask them: Postfix, Exim, PAM under an FTP server, and the
//! commands for administrators. The configurations are those of docs/postfix.md, docs/exim.md and docs/services.md.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use culver_sasl::scram::{Client, Hash};
use culver_testkit::mta::{Exim, Postfix, Sink, swaks, swaks_missing};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const CULVER: &str = env!("CARGO_BIN_EXE_culver");
/// What the sockets promise; Postfix gives up after ten.
const PROMISED: Duration = Duration::from_secs(5);
/// Whose the mail is.
const OWNER: u32 = 4001;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The block of a page which holds this text.
fn block(page: &str, text: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("\n```").skip(1).step_by(2);
    let found = blocks.map(|b| b.split_once('\n').unwrap().1).find(|b| b.contains(text));
    found.unwrap_or_else(|| panic!("no block holds {text}")).to_owned()
}

fn run(program: &str, args: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// A folder with a configuration, the accounts, and the server that runs on it.
struct Site {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Site {
    /// `anna` and `mute`, who may not send, are in the built-in directory; example.net is a secondary domain. `bert` is in a
    /// passwd-file, which cannot be read until [`Site::restore`]: what the first does not know cannot be known.
    fn new(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let site = Self { dir, child: None };
        for name in ["state", "home", "home/anna"] {
            fs::create_dir(site.at(name)).unwrap();
        }
        if is_root() {
            chown(site.at("home/anna"), Some(OWNER), Some(OWNER)).unwrap();
        }
        let root = site.dir.path().display();
        let text = format!(
            "state_dir = \"{root}/state\"\nlog.file = \"{root}/log\"\nmail.roots = [\"{root}/home\"]\n\
             imap.listen = [\"127.0.0.1:0\"]\nimaps.listen = []\nauth.failure_delay = \"500ms\"\n{settings}\n# SOCKETS\n\
             [[directory]]\nsource = \"builtin\"\nhome = \"{root}/home/%n\"\nuid = {OWNER}\ngid = {OWNER}\n\
             [[directory]]\nsource = \"passwd-file\"\ndomains = [\"example.com\"]\npath = \"{root}/users\"\n"
        );
        fs::write(site.at("culver.toml"), text).unwrap();
        fs::create_dir(site.at("users")).unwrap();
        site.culver(&["domain", "add", "example.org"], b"");
        site.culver(&["domain", "alias", "example.net", "example.org"], b"");
        for name in ["anna@example.org", "mute@example.org"] {
            site.culver(&["user", "add", name, "--stdin", "--scheme", "plain"], b"secret\n");
        }
        site.culver(
            &["user", "disable", "mute@example.org", "--what", "send", "--reason", "too much spam"],
            b"",
        );
        site
    }

    /// With sockets in its own folder.
    fn with_sockets() -> Self {
        let mut site = Self::new("");
        let sockets = block("services.md", "[[auth_socket.master]]")
            .replace("/run/culver", &site.dir.path().display().to_string());
        site.sockets(&sockets);
        site.start();
        site
    }

    /// Puts sockets into the configuration.
    fn sockets(&self, text: &str) {
        let config = fs::read_to_string(self.at("culver.toml")).unwrap();
        fs::write(self.at("culver.toml"), config.replace("# SOCKETS", text)).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    fn culver(&self, args: &[&str], input: &[u8]) -> String {
        let out = run(CULVER, &[args, &["--config", &self.path("culver.toml")]].concat(), input);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// The passwd-file can be read.
    fn restore(&self) {
        fs::remove_dir(self.at("users")).unwrap();
        let bert = format!("bert@example.com:{{PLAIN}}secret:{OWNER}:{OWNER}::/srv/bert\n");
        fs::write(self.at("users"), bert).unwrap();
    }

    /// In place of the passwd-file, a database at this port.
    fn database(&self, port: u16) {
        let config = fs::read_to_string(self.at("culver.toml")).unwrap();
        let file = format!(
            "source = \"passwd-file\"\ndomains = [\"example.com\"]\npath = \"{}\"\n",
            self.path("users")
        );
        assert!(config.contains(&file), "{config}");
        let sql = format!(
            "source = \"sql\"\ndomains = [\"example.com\"]\n[directory.sql]\nhosts = [\"127.0.0.1:{port}\"]\ndatabase = \"mail\"\nuser = \"culver\"\n\
             password_query = \"SELECT password FROM users WHERE name = '%u'\"\n"
        );
        fs::write(self.at("culver.toml"), config.replace(&file, &sql)).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    fn start(&mut self) {
        let config = self.path("culver.toml");
        let mut serve = Command::new(CULVER);
        serve.args(["serve", "--config", &config]).stdin(Stdio::null()).stdout(Stdio::null());
        self.child = Some(serve.stderr(fs::File::create(self.at("stderr")).unwrap()).spawn().unwrap());
        let until = Instant::now() + Duration::from_secs(30);
        while !self.log().contains(" is ready on ") {
            let said = fs::read_to_string(self.at("stderr")).unwrap_or_default();
            assert!(Instant::now() < until, "{said}{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_file(self.at("log"));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An SMTP session after EHLO.
struct Smtp {
    stream: BufReader<TcpStream>,
    greeting: String,
}

impl Smtp {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut smtp = Self { stream: BufReader::new(stream), greeting: String::new() };
        smtp.reply();
        smtp.greeting = smtp.ask("EHLO client.example");
        smtp
    }

    fn reply(&mut self) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).unwrap() > 0, "the connection ended after {all:?}");
            all.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return all;
            }
        }
    }

    fn ask(&mut self, line: &str) -> String {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.reply()
    }

    /// AUTH PLAIN on a new connection: the answer, which came in time.
    fn plain(address: SocketAddr, user: &str, password: &str) -> String {
        let mut smtp = Self::connect(address);
        let begun = Instant::now();
        let answer = smtp.ask(&format!("AUTH PLAIN {}", base64(&format!("\0{user}\0{password}"))));
        assert!(begun.elapsed() < PROMISED, "{user}: {answer} after {:?}", begun.elapsed());
        answer
    }

    fn login(address: SocketAddr, user: &str, password: &str) -> String {
        let mut smtp = Self::connect(address);
        assert!(smtp.ask("AUTH LOGIN").starts_with("334 VXNlcm5hbWU6"));
        assert!(smtp.ask(&base64(user)).starts_with("334 UGFzc3dvcmQ6"));
        smtp.ask(&base64(password))
    }
}

/// SCRAM over SMTP: the server's signature comes as one more challenge, and is right.
fn scram(address: SocketAddr, user: &str, password: &str) {
    let mut smtp = Smtp::connect(address);
    assert!(smtp.greeting.contains("SCRAM-SHA-256") && !smtp.greeting.contains("-PLUS"), "{}", smtp.greeting);
    let client = Client::new(Hash::Sha256, user, password.as_bytes(), "abcdef");
    let challenge = |reply: &str| {
        let text = reply.strip_prefix("334 ").unwrap_or_else(|| panic!("{reply}")).trim_end().to_owned();
        String::from_utf8(run("base64", &["-d"], text.as_bytes()).stdout).unwrap()
    };
    let first = challenge(&smtp.ask(&format!("AUTH SCRAM-SHA-256 {}", base64(&client.first()))));
    let (last, signature) = client.last(&first).unwrap();
    assert_eq!(challenge(&smtp.ask(&base64(&last))), signature);
    let done = smtp.ask("");
    assert!(done.starts_with("235"), "{done}");
}

fn base64(text: &str) -> String {
    let out = run("base64", &["-w0"], text.as_bytes());
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn postfix_asks() {
    if let Some(why) = Postfix::missing().or_else(swaks_missing) {
        println!("not run: SASL of Postfix: {why}");
        return;
    }
    let sink = Sink::start().unwrap();
    let mechanisms = "auth.mechanisms = [\"PLAIN\", \"LOGIN\", \"CRAM-MD5\", \"SCRAM-SHA-256\"]";
    let mut site = Site::new(mechanisms);
    let socket =
        block("postfix.md", "[[auth_socket.client]]").replace("/var/spool/postfix/private", &site.path(""));
    site.sockets(&socket);
    site.start();
    let postfix = start_postfix(&site.path("auth"), sink.address());
    let smtp = postfix.smtp();

    let greeting = Smtp::connect(smtp).greeting;
    assert!(
        greeting.contains("AUTH ") && greeting.contains(" PLAIN") && greeting.contains(" LOGIN"),
        "{greeting}"
    );
    // Who is let in, and under which name.
    let talk = |user: &str, mechanism: &str, to: &str| {
        let args = ["--auth", mechanism, "--auth-user", user, "--auth-password", "secret"];
        let mail = ["--from", "anna@example.org", "--to", to];
        let (talk, fine) = swaks(smtp, &[&args[..], &mail[..]].concat()).unwrap();
        assert!(fine && talk.contains("235 2.7.0"), "{talk}{}", postfix.log());
    };
    talk("Anna#Example.net", "PLAIN", "one@example.com");
    talk("anna@example.org", "LOGIN", "two@example.com");
    sink.received("one@example.com").unwrap();
    sink.received("two@example.com").unwrap();
    for method in ["PLAIN", "LOGIN"] {
        postfix.logs(&format!("sasl_method={method}, sasl_username=anna@example.org")).unwrap();
    }
    let url = format!("smtp://{smtp}");
    let args =
        ["-sS", "--url", &url, "--user", "anna@example.org:secret", "--login-options", "AUTH=CRAM-MD5"];
    let mail = ["--mail-from", "anna@example.org", "--mail-rcpt", "three@example.com", "-T", "-"];
    let cram = run("curl", &[&args[..], &mail[..]].concat(), b"Subject: x\r\n\r\ny\r\n");
    assert!(cram.status.success(), "{}{}", String::from_utf8_lossy(&cram.stderr), postfix.log());
    postfix.logs("sasl_method=CRAM-MD5, sasl_username=anna@example.org").unwrap();
    scram(smtp, "anna@example.org", "secret");
    // Who is not, and how soon.
    let wrong = Smtp::plain(smtp, "anna@example.org", "guess");
    assert!(wrong.starts_with("535 5.7.8"), "{wrong}");
    assert!(Smtp::login(smtp, "anna@example.org", "guess").starts_with("535 5.7.8"));
    let mute = Smtp::plain(smtp, "mute@example.org", "secret");
    assert!(mute.starts_with("535 5.7.8") && mute.contains("may not send mail: too much spam"), "{mute}");
    let bare = Smtp::plain(smtp, "anna", "secret");
    assert!(bare.contains("The domain is missing in the user name"), "{bare}");
    // The directory is gone: nobody is told that the password is wrong.
    let outage = Smtp::plain(smtp, "bert@example.com", "secret");
    assert!(outage.starts_with("454 4.7.0"), "{outage}");
    assert!(Smtp::login(smtp, "bert@example.com", "secret").starts_with("454 4.7.0"));
    // On the same connection as the outage, and with others.
    let mut same = Smtp::connect(smtp);
    let bert = format!("AUTH PLAIN {}", base64("\0bert@example.com\0secret"));
    assert!(same.ask(&bert).starts_with("454 4.7.0"));
    assert!(Smtp::plain(smtp, "anna@example.org", "secret").starts_with("235"));
    site.restore();
    let back = same.ask(&bert);
    assert!(back.starts_with("235"), "{back}{}", postfix.log());
    assert!(Smtp::plain(smtp, "nobody@example.org", "guess").starts_with("535 5.7.8"));
    assert!(site.log().contains("a login could not be checked: passwd-file"), "{}", site.log());
    // Culver itself is restarted.
    let mut across = Smtp::connect(smtp);
    assert!(across.ask(&format!("AUTH PLAIN {}", base64("\0anna@example.org\0guess"))).starts_with("535"));
    site.stop();
    site.start();
    assert!(across.ask(&bert).starts_with("235"));
}

/// With the page's authenticators and the folder of our sockets; mail of those who have logged in goes to the sink.
fn start_exim(sockets: &str, sink: SocketAddr) -> Exim {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/exim.md")).unwrap();
    let advertise = page.split('`').find(|part| part.starts_with("auth_advertise_hosts")).unwrap();
    let authenticators = block("exim.md", "begin authenticators").replace("/run/culver/", sockets);
    let exim = Exim::start(&format!(
        "{advertise}\nacl_smtp_rcpt = rcpt\nbegin acl\nrcpt:\n  accept authenticated = *\n  deny\nbegin routers\nout:\n  \
         driver = manualroute\n  route_list = * 127.0.0.1\n  self = send\n  transport = smtp\nbegin transports\nsmtp:\n  \
         driver = smtp\n  port = {}\n  hosts_try_fastopen =\n{authenticators}\n",
        sink.port()
    ));
    exim.unwrap()
}

/// With the page's settings and our socket.
fn start_postfix(socket: &str, sink: SocketAddr) -> Postfix {
    let sasl = block("postfix.md", "smtpd_sasl_auth_enable").replace("private/auth", socket);
    Postfix::start(&format!("{sasl}\nrelayhost = [127.0.0.1]:{}", sink.port()), "").unwrap()
}

#[test]
fn exim_asks() {
    if let Some(why) = Exim::missing().or_else(swaks_missing) {
        println!("not run: SASL of Exim: {why}");
        return;
    }
    let sink = Sink::start().unwrap();
    let mut site = Site::new("");
    let here = site.path("");
    let socket = block("exim.md", "[[auth_socket.client]]").replace("/run/culver/", &here);
    site.sockets(&socket);
    site.start();
    let exim = start_exim(&here, sink.address());
    let smtp = exim.smtp();
    let greeting = Smtp::connect(smtp).greeting;
    assert!(greeting.contains("AUTH PLAIN LOGIN"), "{greeting}");
    for (user, mechanism, to) in
        [("Anna#Example.net", "PLAIN", "one@example.com"), ("anna@example.org", "LOGIN", "two@example.com")]
    {
        let args = ["--auth", mechanism, "--auth-user", user, "--auth-password", "secret"];
        let mail = ["--from", "anna@example.org", "--to", to];
        let (talk, fine) = swaks(smtp, &[&args[..], &mail[..]].concat()).unwrap();
        assert!(fine && talk.contains("235 Authentication succeeded"), "{talk}{}", exim.log());
        sink.received(to).unwrap();
        exim.logs(&format!("A=culver_{}:anna@example.org", mechanism.to_lowercase())).unwrap();
    }
    let wrong = Smtp::plain(smtp, "anna@example.org", "guess");
    assert!(wrong.starts_with("535"), "{wrong}");
    assert!(Smtp::plain(smtp, "mute@example.org", "secret").starts_with("535"));
    assert!(Smtp::login(smtp, "anna@example.org", "guess").starts_with("535"));
    let outage = Smtp::plain(smtp, "bert@example.com", "secret");
    assert!(outage.starts_with("435"), "{outage}");
    assert!(Smtp::login(smtp, "bert@example.com", "secret").starts_with("435"));
    assert!(Smtp::plain(smtp, "anna@example.org", "secret").starts_with("235"));
    site.restore();
    assert!(Smtp::plain(smtp, "bert@example.com", "secret").starts_with("235"));
}

/// A database that is down, and one that takes connections and says nothing: Postfix would wait for ten seconds.
#[test]
fn both_hear_of_a_database_that_is_gone() {
    if let Some(why) = Postfix::missing().or_else(Exim::missing) {
        println!("not run: SASL of Postfix and Exim: {why}");
        return;
    }
    let sink = Sink::start().unwrap();
    let mut site = Site::new("");
    let socket = block("postfix.md", "[[auth_socket.client]]");
    let socket = socket.replace("/var/spool/postfix/private/", &site.path(""));
    site.sockets(&socket.replace("0660", "0666"));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    site.database(silent.local_addr().unwrap().port());
    site.start();
    let postfix = start_postfix(&site.path("auth"), sink.address());
    let exim = start_exim(&site.path(""), sink.address());
    let ask = |user: &'static str| {
        std::thread::scope(|scope| {
            let asked = [postfix.smtp(), exim.smtp()].map(|smtp| {
                scope.spawn(move || {
                    let begun = Instant::now();
                    (Smtp::plain(smtp, user, "secret"), begun.elapsed())
                })
            });
            asked.map(|asked| asked.join().unwrap())
        })
    };
    for ((answer, took), code) in ask("bert@example.com").into_iter().zip(["454 4.7.0", "435"]) {
        assert!(answer.starts_with(code), "{answer}{}", site.log());
        assert!(took > Duration::from_secs(4), "{took:?}");
    }
    assert!(site.log().contains("it was not decided in time"), "{}", site.log());
    drop(silent);
    for ((answer, _), code) in ask("carl@example.com").into_iter().zip(["454 4.7.0", "435"]) {
        assert!(answer.starts_with(code), "{answer}{}", site.log());
    }
    // Whom another source knows does not notice.
    for (answer, _) in ask("anna@example.org") {
        assert!(answer.starts_with("235"), "{answer}");
    }
}

/// A file of /etc/pam.d that goes again.
struct PamService(String);

impl PamService {
    fn new(site: &Site) -> Self {
        let name = format!("culver-test-{}", std::process::id());
        let sockets = format!("{CULVER} pam-exec --config {}", site.path("culver.toml"));
        let text = block("services.md", "pam_exec.so").replace("/usr/bin/culver pam-exec", &sockets);
        fs::write(Path::new("/etc/pam.d").join(&name), text + "\n").unwrap();
        Self(name)
    }
}

impl Drop for PamService {
    fn drop(&mut self) {
        let _ = fs::remove_file(Path::new("/etc/pam.d").join(&self.0));
    }
}

#[test]
fn ftp_and_pam_share_the_login() {
    const PROFTPD: &str = "/usr/sbin/proftpd";
    const PAMTESTER: &str = "/usr/bin/pamtester";
    if !is_root() || [PROFTPD, PAMTESTER].iter().any(|p| !Path::new(p).exists()) {
        println!("not run: PAM: needs root, proftpd and pamtester: cargo xtask debian");
        return;
    }
    let site = Site::with_sockets();
    let pam = PamService::new(&site);
    let tester = |user: &str, password: &str, operations: &[&str]| {
        let out = run(
            PAMTESTER,
            &[&[pam.0.as_str(), user], operations].concat(),
            format!("{password}\n").as_bytes(),
        );
        out.status.success()
    };
    assert!(
        tester("anna@example.org", "secret", &["authenticate", "acct_mgmt", "open_session"]),
        "{}",
        site.log()
    );
    assert!(tester("Anna#example.net", "secret", &["authenticate"]));
    assert!(!tester("anna@example.org", "guess", &["authenticate"]));
    site.restore();
    assert!(!tester("nobody@example.org", "guess", &["acct_mgmt"]));
    // Proven in another way, as by a key: switched off is switched off.
    site.culver(&["user", "disable", "anna@example.org", "--reason", "unpaid"], b"");
    assert!(!tester("anna@example.org", "", &["acct_mgmt"]));
    assert!(!tester("anna@example.org", "secret", &["authenticate"]));
    site.culver(&["user", "enable", "anna@example.org"], b"");
    assert!(tester("anna@example.org", "", &["acct_mgmt"]));

    // A real FTP server.
    let home = site.at("home/anna");
    fs::write(home.join("index.html"), "hello").unwrap();
    let user = block("services.md", "anna@example.org:x:").replace("/srv/anna", &home.display().to_string());
    fs::write(site.at("ftp-users"), user + "\n").unwrap();
    fs::set_permissions(site.at("ftp-users"), fs::Permissions::from_mode(0o600)).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let conf = block("services.md", "AuthPAMConfig")
        .replace("/etc/proftpd/users", &site.path("ftp-users"))
        .replace("AuthPAMConfig proftpd", &format!("AuthPAMConfig {}", pam.0));
    let more = format!(
        "ServerType standalone\nDefaultAddress 127.0.0.1\nPort {port}\nUseIPv6 off\nUser nobody\nGroup nogroup\n\
         PidFile {}\nSystemLog {}\nScoreboardFile none\nDelayEngine off\nTransferLog none\nWtmpLog off\nUseReverseDNS off\n",
        site.path("ftp.pid"),
        site.path("ftp.log")
    );
    fs::write(site.at("proftpd.conf"), format!("{conf}\n{more}")).unwrap();
    let mut proftpd = Command::new(PROFTPD);
    proftpd.args(["-n", "-q", "-c"]).arg(site.at("proftpd.conf")).stdin(Stdio::null()).stderr(Stdio::null());
    let mut ftpd = proftpd.spawn().unwrap();
    let ftp_log = || fs::read_to_string(site.at("ftp.log")).unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "proftpd did not start: {}", ftp_log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let url = format!("ftp://127.0.0.1:{port}/index.html");
    let get = |who: &str| run("curl", &["-sS", "--max-time", "20", "--user", who, &url], b"");
    let (right, wrong) = (get("anna@example.org:secret"), get("anna@example.org:guess"));
    let _ = ftpd.kill();
    let _ = ftpd.wait();
    assert_eq!(String::from_utf8_lossy(&right.stdout), "hello", "{}", ftp_log());
    // curl(1): 67 is a login that was denied.
    assert_eq!(wrong.status.code(), Some(67), "{}", String::from_utf8_lossy(&wrong.stderr));
    // PAM's service is not named after FTP here; the client's address came through it.
    let log = site.log();
    let told = |text: &str| log.lines().any(|l| l.contains(text) && l.contains(" from=127.0.0.1:0 "));
    assert!(told("login of anna@example.org by PLAIN"), "{log}");
    assert!(told("login failed for <anna@example.org> by PLAIN: password mismatch"), "{log}");
}

/// A real sshd, in a view of the file system of its own where `/etc/pam.d/sshd` is the one of the docs and NSS knows anna.
#[test]
fn ssh_shares_the_login() {
    const SSHD: &str = "/usr/sbin/sshd";
    let there = [SSHD, "/usr/bin/ssh", "/usr/bin/unshare"].iter().all(|p| Path::new(p).exists());
    if !is_root() || !there || !run("unshare", &["-m", "true"], b"").status.success() {
        println!("not run: SSH: needs root, mount namespaces, and openssh-server: cargo xtask debian");
        return;
    }
    let site = Site::with_sockets();
    let pam = format!("{CULVER} pam-exec --config {}", site.path("culver.toml"));
    let pam = block("services.md", "pam_exec.so").replace("/usr/bin/culver pam-exec", &pam);
    fs::write(site.at("pam"), pam + "\n").unwrap();
    let home = site.path("home/anna");
    let user = block("services.md", "anna@example.org:x:").replace("/srv/anna", &home);
    let user = user.replace("4001", &OWNER.to_string()).replace("/bin/false", "/bin/sh");
    fs::write(site.at("passwd"), fs::read_to_string("/etc/passwd").unwrap() + &user + "\n").unwrap();
    assert!(
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &site.path("host")], b"").status.success()
    );
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let more = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nPidFile none\nLogLevel VERBOSE\n",
        site.path("host")
    );
    fs::write(site.at("sshd_config"), block("services.md", "UsePAM") + "\n" + &more).unwrap();
    // `mount --bind` needs a file to be mounted on, which Debian's package has.
    let script = "mkdir -p /run/sshd && mount --make-rprivate / && mount --bind $1/pam /etc/pam.d/sshd && \
                  mount --bind $1/passwd /etc/passwd && exec /usr/sbin/sshd -D -f $1/sshd_config -E $1/ssh.log";
    let mut sshd = Command::new("unshare");
    sshd.args(["-m", "sh", "-c", script, "sh"]).arg(site.at("")).stdin(Stdio::null());
    let mut sshd = Ended(sshd.spawn().unwrap());
    let ssh_log = || fs::read_to_string(site.at("ssh.log")).unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "sshd did not start: {}", ssh_log());
        assert!(sshd.0.try_wait().unwrap().is_none(), "sshd ended: {}", ssh_log());
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::write(site.at("askpass"), "#!/bin/sh\necho \"$PASSWORD\"\n").unwrap();
    fs::set_permissions(site.at("askpass"), fs::Permissions::from_mode(0o755)).unwrap();
    let ssh = |user: &str, password: &str| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-p", &port.to_string(), "-l", user, "-o", "StrictHostKeyChecking=no"]);
        ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "PubkeyAuthentication=no"]);
        ssh.args(["-o", "NumberOfPasswordPrompts=1", "127.0.0.1", "id -u; pwd"]);
        ssh.env("SSH_ASKPASS", site.at("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
        let out = ssh.env("PASSWORD", password).stdin(Stdio::null()).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let good = (Some(0), format!("{OWNER}\n{home}\n"));
    assert_eq!(ssh("anna@example.org", "secret"), good, "{}\n{}", ssh_log(), site.log());
    // ssh(1): 255 when there was no login.
    let bad = (Some(255), String::new());
    assert_eq!(ssh("anna@example.org", "guess"), bad, "{}", ssh_log());
    // An account, but nobody in NSS: not even asked about.
    assert_eq!(ssh("bert@example.com", "secret"), bad, "{}", ssh_log());
    site.culver(&["user", "disable", "anna@example.org", "--reason", "unpaid"], b"");
    assert_eq!(ssh("anna@example.org", "secret"), bad, "{}", ssh_log());
    site.culver(&["user", "enable", "anna@example.org"], b"");
    assert_eq!(ssh("anna@example.org", "secret"), good, "{}", ssh_log());
    let log = site.log();
    let told = |text: &str| log.lines().any(|l| l.contains(text) && l.contains(" from=127.0.0.1:0 "));
    assert!(told("login of anna@example.org by PLAIN"), "{log}");
    assert!(told("login failed for <anna@example.org> by PLAIN: password mismatch"), "{log}");
}

/// A process that ends with the test, also when it fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Descriptor 3 is a pipe of the shell's.
fn checkpassword(site: &Site, input: &str, program: &str) -> (Option<i32>, String) {
    let line = format!(
        "printf '{input}' | {CULVER} checkpassword --config {} {program} 3<&0",
        site.path("culver.toml")
    );
    let out = run("sh", &["-c", &line], b"");
    (out.status.code(), String::from_utf8(out.stdout).unwrap())
}

#[test]
fn checkpassword_runs_programs_as_the_account() {
    if !is_root() {
        println!("not run: checkpassword: only root can become somebody else");
        return;
    }
    let mut site = Site::with_sockets();
    let (code, said) = checkpassword(
        &site,
        "Anna#example.net\\0secret\\0x\\0",
        "sh -c 'id -u; id -g; id -G; pwd; echo $USER $HOME $SHELL'",
    );
    let home = site.path("home/anna");
    let expected = format!("{OWNER}\n{OWNER}\n{OWNER}\n{home}\nanna@example.org {home} /bin/sh\n");
    assert_eq!((code, said), (Some(0), expected));
    assert_eq!(checkpassword(&site, "anna@example.org\\0guess\\0x\\0", "true").0, Some(1));
    assert_eq!(checkpassword(&site, "anna@example.org", "true").0, Some(2));
    assert_eq!(run(CULVER, &["checkpassword", "true"], b"").status.code(), Some(2));
    assert_eq!(checkpassword(&site, "bert@example.com\\0secret\\0x\\0", "true").0, Some(111));
    site.stop();
    assert_eq!(checkpassword(&site, "anna@example.org\\0secret\\0x\\0", "true").0, Some(111));
}

#[test]
fn administrators_try_logins_with_and_without_a_server() {
    let mut site = Site::with_sockets();
    let config = site.path("culver.toml");
    let auth = |args: &[&str], password: &str| {
        let out = run(CULVER, &[&["auth", "--config", &config], args].concat(), password.as_bytes());
        (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let anna = "passdb: Anna#example.net auth succeeded\nextra fields:\n  user=anna@example.org\n  original_user=Anna#example.net\n";
    let user = format!(
        "userdb: anna@example.org\n  uid       : {OWNER}\n  gid       : {OWNER}\n  home      : {home}\n  \
         mail      : maildir:{home}/Mail\n",
        home = site.path("home/anna")
    );
    for round in ["running", "stopped"] {
        assert_eq!(auth(&["lookup", "bert@example.com"], "").0, Some(75));
        assert_eq!(auth(&["test", "bert@example.com", "secret"], "").0, Some(75));
        site.restore();
        assert_eq!(auth(&["test", "bert@example.com", "secret"], "").0, Some(0));
        let (code, said, error) = auth(&["test", "Anna#example.net"], "secret\n");
        assert_eq!((code, said.as_str()), (Some(0), anna), "{round}: {error}");
        assert_eq!(error.contains("asked directly"), round == "stopped");
        assert_eq!(auth(&["test", "anna@example.org", "guess"], "").0, Some(77));
        let (code, said, _) =
            auth(&["test", "-x", "service=smtp", "--json", "mute@example.org", "secret"], "");
        assert_eq!(code, Some(77));
        assert!(said.contains("\"code\":\"user_disabled\"") && said.contains("too much spam"), "{said}");
        assert_eq!(auth(&["test", "mute@example.org", "secret"], "").0, Some(0));
        let far = ["test", "-x", "rip=192.0.2.1", "anna@example.org", "secret"];
        assert!(auth(&far, "").1.contains("reason=Logging in needs TLS here"));
        let far = ["test", "-x", "rip=192.0.2.1", "-x", "secured", "anna@example.org", "secret"];
        assert_eq!(auth(&far, "").0, Some(0));
        let (code, said, _) = auth(&["lookup", "anna@example.net"], "");
        assert_eq!((code, said.as_str()), (Some(0), user.as_str()), "{round}");
        assert!(auth(&["lookup", "--json", "anna@example.net"], "").1.contains("\"uid\":\"4001\""));
        assert_eq!(auth(&["lookup", "nobody@example.org"], "").0, Some(67));
        site.stop();
        fs::remove_file(site.at("users")).unwrap();
        fs::create_dir(site.at("users")).unwrap();
    }
}

/// Client sockets also listen by TCP; a socket that is there already and dead is replaced.
#[test]
fn a_client_socket_by_tcp_and_one_that_was_left() {
    let mut site = Site::new("auth_socket.listen = [\"127.0.0.1:0\"]");
    let socket = format!("[[auth_socket.client]]\npath = \"{}\"\nmode = \"0640\"", site.path("auth"));
    site.sockets(&socket);
    drop(std::os::unix::net::UnixListener::bind(site.at("auth")).unwrap());
    site.start();
    assert_eq!(fs::metadata(site.at("auth")).unwrap().permissions().mode() & 0o777, 0o640);
    let log = site.log();
    let ready = log.lines().find(|l| l.contains(" is ready on ")).unwrap();
    let tcp =
        ready.split([' ', ',']).find(|w| w.starts_with("127.0.0.1:") && ready.contains(&format!("auth {w}")));
    let mut stream = TcpStream::connect(tcp.unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"DONE\n") {
        let mut bytes = [0; 512];
        let n = stream.read(&mut bytes).unwrap();
        assert!(n > 0);
        seen.extend_from_slice(&bytes[..n]);
    }
    assert!(seen.starts_with(b"VERSION\t1\t2\nMECH\t"));
}
