//! Settings of POP3 become what its daemon asks for. What they cannot be was told when the configuration was read; here the
//! default counts then.

use super::Lasting;
use culver_auth::Auth;
use culver_base::{Keyword, UidlFormat};
use culver_config::Settings;
use culver_config::settings::{Pop3Delete, Pop3Language, UidlDuplicates};
use culver_pop3::Language;
use culver_pop3::capability::Expire;
use culver_pop3::content::Nuls;
use culver_pop3d::{DeleteType, Duplicates, Pop3Service, Pop3Settings};
use culver_store::Sizes;
use std::sync::Arc;

/// The service.
pub fn service(settings: &Settings, lasting: &Lasting, auth: Arc<Auth>) -> Arc<Pop3Service> {
    let pop3 = &settings.pop3;
    let works_around = |name: &str| pop3.client_workarounds.iter().any(|w| w == name);
    let deleted_flag = Keyword::new(&pop3.deleted_flag);
    let flag = deleted_flag.clone().map_or(DeleteType::Expunge, DeleteType::Flag);
    let settings = Pop3Settings {
        idle_timeout: pop3.idle_timeout,
        login_timeout: pop3.login_timeout,
        tls_required: settings.auth.require_tls,
        hostname: super::hostname(settings),
        masked: pop3.hide_capabilities.iter().map(|c| c.to_ascii_uppercase()).collect(),
        failed_logins: settings.auth.max_failures,
        sessions: pop3.max_sessions,
        language: match pop3.language {
            Pop3Language::English => Language::English,
            Pop3Language::German => Language::German,
            Pop3Language::French => Language::French,
        },
        login_delay: pop3.login_delay,
        expire: Expire::parse(&pop3.expire).unwrap_or_default(),
        uidl_format: UidlFormat::parse(&pop3.uidl_format).unwrap_or_default(),
        duplicates: match pop3.uidl_duplicates {
            UidlDuplicates::Allow => Duplicates::Allow,
            UidlDuplicates::Rename => Duplicates::Rename,
        },
        save_uidl: pop3.save_uidl,
        reuse_xuidl: pop3.reuse_xuidl,
        no_flag_updates: pop3.no_flag_updates,
        sizes: if pop3.fast_size_lookups { Sizes::AtHand } else { Sizes::Exact },
        lock_session: pop3.lock_session,
        enable_last: pop3.enable_last,
        deleted_flag,
        delete_type: match pop3.delete_type {
            Pop3Delete::Expunge => DeleteType::Expunge,
            Pop3Delete::Default | Pop3Delete::Flag => flag,
        },
        nuls: if works_around("outlook-no-nuls") { Nuls::Replaced } else { Nuls::Kept },
        end_of_header: works_around("oe-ns-eoh"),
    };
    Arc::new(Pop3Service {
        auth,
        store: lasting.store.clone(),
        keeper: lasting.keeper.clone(),
        tls: lasting.tls.clone(),
        events: lasting.events.clone(),
        settings,
        last_logins: lasting.last_logins.clone(),
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test plays other programs on the file system")]
mod tests {
    use super::super::Parts;
    use crate::system::Helpers;
    use culver_events::{Event, Events, Recorded};
    use culver_net::{Encryption, Front, Listener, Stopper, Tasks, accept};
    use std::io::Write as _;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpStream;
    use tokio::time::{advance, pause, resume};

    struct Client(BufReader<TcpStream>);

    impl Client {
        async fn say(&mut self, command: &str) -> String {
            self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            line
        }

        async fn log_in(at: std::net::SocketAddr) -> (Self, String) {
            let mut client = Self(BufReader::new(TcpStream::connect(at).await.unwrap()));
            client.0.read_line(&mut String::new()).await.unwrap();
            assert!(client.say("USER anna@example.org").await.starts_with("+OK"));
            let answer = client.say("PASS pass").await;
            (client, answer)
        }
    }

    /// A server with one account and these messages.
    struct Running {
        parts: Parts,
        address: std::net::SocketAddr,
        heard: Recorded,
        _stopper: Stopper,
        _temp: tempfile::TempDir,
    }

    impl Running {
        fn new(messages: &[(&str, u64)]) -> Self {
            let temp = tempfile::tempdir().unwrap();
            let at = temp.path().display();
            let maildir = temp.path().join("mail/Maildir");
            for folder in ["new", "cur", "tmp"] {
                std::fs::create_dir_all(maildir.join(folder)).unwrap();
            }
            for (name, size) in messages {
                let mut file = std::fs::File::create(maildir.join("new").join(name)).unwrap();
                file.write_all(b"Subject: x\n\nx\n").unwrap();
                file.set_len(*size).unwrap();
            }
            let users = "anna@example.org:{PLAIN}pass::::::userdb_mail=maildir:~/Maildir\n";
            std::fs::write(temp.path().join("users"), users).unwrap();
            let text = format!(
                "state_dir = \"{at}/state\"\nmail.roots = [\"{at}\"]\npop3.lock_session = true\n[[directory]]\n\
                 source = \"passwd-file\"\npath = \"{at}/users\"\nhome = \"{at}/mail\"\n"
            );
            let parsed = culver_config::parse(&text);
            assert!(!parsed.has_errors(), "{:?}", parsed.problems);
            let (events, heard) = Events::recorder();
            let parts = Parts::build(&parsed.settings, Helpers::default(), None, events.clone()).unwrap();
            let stopper = Stopper::new();
            let front = Front {
                tls: None,
                tasks: Tasks::new(events.clone()),
                events,
                shutdown: stopper.shutdown(),
                room: Arc::new(tokio::sync::Semaphore::new(10)),
            };
            let listener =
                Listener::bind("pop3", Encryption::OnRequest, "127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.tcp_address().unwrap();
            front.tasks.spawn("pop3", accept(listener, parts.service("pop3").unwrap(), front.clone()));
            Self { parts, address, heard, _stopper: stopper, _temp: temp }
        }

        /// Why the first maildrop was closed, and how many messages were deleted.
        fn closed(&self) -> Option<(String, u64)> {
            self.heard.take().into_iter().find_map(|event| match event {
                Event::MaildropClosed { why, counts, .. } => Some((why, counts.deleted as u64)),
                _ => None,
            })
        }

        /// Is the account's maildrop free, with so many messages in it?
        async fn is_free_with(&self, messages: &str) {
            let mut again = Client::log_in(self.address).await;
            assert!(again.1.starts_with("+OK"), "{}", again.1);
            let stat = again.0.say("STAT").await;
            assert!(stat.starts_with(&format!("+OK {messages} ")), "{stat}");
            assert!(again.0.say("QUIT").await.starts_with("+OK"));
        }

        async fn is_in_use(&self) {
            let (mut other, answer) = Client::log_in(self.address).await;
            assert!(answer.starts_with("-ERR [IN-USE]"), "{answer}");
            assert!(other.say("QUIT").await.starts_with("+OK"));
        }
    }

    /// The clock is moved while nothing is under way, and runs while something is.
    async fn pass(seconds: u64) {
        pause();
        advance(Duration::from_secs(seconds)).await;
        resume();
    }

    /// RFC 1939 §3: at least 10 minutes, and then no UPDATE state and no word to the client.
    #[tokio::test]
    async fn a_session_without_commands_ends_without_update() {
        let running = Running::new(&[("1.a", 14), ("2.a", 14)]);
        let (mut client, answer) = Client::log_in(running.address).await;
        assert!(answer.starts_with("+OK"), "{answer}");
        assert!(client.say("DELE 1").await.starts_with("+OK"));
        running.is_in_use().await;
        // A command begins the ten minutes anew.
        for _ in 0..2 {
            pass(9 * 60 + 50).await;
            assert!(client.say("NOOP").await.starts_with("+OK"));
        }
        pass(10 * 60 + 1).await;
        let mut rest = Vec::new();
        client.0.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "nothing is said");
        // The lock is free once the session has gone, and both messages are there.
        running.is_free_with("2").await;
        assert_eq!(running.closed(), Some(("Inactivity".to_owned(), 0)));
        running.parts.close().await;
    }

    /// Who asks for a message and does not read it holds the maildrop for five minutes, not for ever.
    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let size = 64 << 20;
        let running = Running::new(&[("1.a", size), ("2.a", 14)]);
        let (mut client, answer) = Client::log_in(running.address).await;
        assert!(answer.starts_with("+OK"), "{answer}");
        assert!(client.say("DELE 2").await.starts_with("+OK"));
        assert!(client.say("RETR 1").await.starts_with("+OK"));
        // Reading some of it is enough to be waited for.
        let mut some = vec![0; 16 << 20];
        for _ in 0..2 {
            pass(4 * 60).await;
            client.0.read_exact(&mut some).await.unwrap();
        }
        running.is_in_use().await;
        // How far the server has got by now nobody can see: once it waits, this ends it.
        let patience = std::time::Instant::now() + Duration::from_secs(60);
        let closed = loop {
            pass(5 * 60 + 1).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            if let Some(closed) = running.closed() {
                break closed;
            }
            assert!(std::time::Instant::now() < patience);
        };
        assert!(closed.0.contains("took no octet of an answer for 5 minutes"), "{}", closed.0);
        assert_eq!(closed.1, 0);
        let mut rest = Vec::new();
        let _ = client.0.read_to_end(&mut rest).await;
        assert!(rest.len() + 2 * some.len() < usize::try_from(size).unwrap());
        running.is_free_with("2").await;
        running.parts.close().await;
    }
}
