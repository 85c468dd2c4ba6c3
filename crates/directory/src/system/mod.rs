//! Users of this machine: passwords by PAM, who they are by NSS, both through the helper process.
//!
//! PAM and NSS are C, may block, and want root; the server is none of these. So a small process that kept root's rights answers
//! questions on a socket (crate `culver-helper`), each in a process of its own, since modules may hang or crash. When it cannot
//! be asked, that is an outage.
//!
//! A login has a domain, a system user has none: the domains of a source say where its users are at home.

pub mod protocol;
mod started;

use crate::fields::{Fields, Side};
use crate::{Account, Credentials, Defaults, Login, Names, Outage, Secret, Source, Verdict, expand};
use async_trait::async_trait;
use parking_lot::Mutex;
use protocol::{Answer, LONGEST_ANSWER, Question};
use started::Started;
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Questions that wait for an answer at once.
const MOST: usize = 256;
/// The helper ends what takes too long; it gets this much longer to say so.
const GRACE: Duration = Duration::from_secs(5);

/// How to reach the helper.
pub enum Helper {
    /// The server started one, whose parent is at the other end.
    Started(StdStream),
    /// It is a service of its own, which listens here.
    At(PathBuf),
}

/// What the source is made of.
#[derive(Clone)]
pub struct SystemSettings {
    /// The PAM service, or the path of its file; `None`: PAM is not asked.
    pub service: Option<String>,
    /// The user's name for PAM and NSS, with variables.
    pub user: String,
    /// Is NSS asked who they are?
    pub users: bool,
    /// Users with a lower uid are none.
    pub first_valid_uid: u32,
    /// The domains of the users.
    pub domains: Vec<String>,
    /// What a question may take.
    pub timeout: Duration,
    /// Fields of every account.
    pub fields: Fields,
    /// What else accounts have.
    pub defaults: Defaults,
}

/// The source.
pub struct System {
    settings: SystemSettings,
    line: Line,
}

impl System {
    /// With a helper.
    pub fn new(settings: SystemSettings, helper: Helper) -> Self {
        let way = match helper {
            Helper::Started(stream) => Way::Started(Started::new(stream)),
            Helper::At(path) => Way::At(path),
        };
        let line = Line {
            way,
            open: tokio::sync::Mutex::default(),
            next: AtomicU64::new(1),
            room: Semaphore::new(MOST),
        };
        Self { settings, line }
    }

    async fn ask(&self, question: Question) -> Result<Answer, Outage> {
        match self.line.ask(question, self.settings.timeout + GRACE).await {
            Ok(Answer::Outage { why }) | Err(why) => Err(Outage::new("system", why)),
            Ok(answer) => Ok(answer),
        }
    }

    fn is_ours(&self, login: &Login) -> bool {
        self.settings.domains.iter().any(|domain| domain == login.domain())
    }

    fn user(&self, login: &Login) -> Result<String, Outage> {
        let names = Names { user: login.as_str(), home: None };
        expand(&self.settings.user, &names).map_err(|why| Outage::new("system", why))
    }

    /// The same account whichever of the domains was typed.
    fn account(&self, login: &Login, mut fields: Fields) -> Result<Arc<Account>, Outage> {
        fields.fill(&self.settings.fields);
        let first = self.settings.domains.first().map_or(login.domain(), String::as_str);
        let name = format!("{}@{first}", login.local());
        let account = fields.account(&name, &self.settings.defaults);
        let mut account = account.map_err(|why| Outage::new("system", format!("account {name}: {why}")))?;
        account.secret = if self.settings.service.is_some() { Secret::Ask } else { Secret::None };
        Ok(Arc::new(account))
    }
}

#[async_trait]
impl Source for System {
    fn name(&self) -> &str {
        "system"
    }

    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        if !self.is_ours(login) {
            return Ok(None);
        }
        match self.ask(Question::User { name: self.user(login)? }).await? {
            Answer::User { uid, gid, home } if uid >= self.settings.first_valid_uid.max(1) => {
                let mut fields = Fields::default();
                fields.add(Side::User, "uid", uid.to_string());
                fields.add(Side::User, "gid", gid.to_string());
                // A home is a text, not a pattern.
                fields.add(Side::User, "home", home.replace('%', "%%"));
                self.account(login, fields).map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn credentials(&self, login: &Login) -> Result<Option<Credentials>, Outage> {
        if self.settings.users {
            return Ok(self.find(login).await?.map(|account| Credentials { account, whole: true }));
        }
        // PAM alone knows whether there is such a user.
        if !self.is_ours(login) {
            return Ok(None);
        }
        Ok(Some(Credentials { account: self.account(login, Fields::default())?, whole: false }))
    }

    async fn check(&self, login: &Login, password: &[u8], remote: Option<IpAddr>) -> Result<Verdict, Outage> {
        let Some(service) = self.settings.service.clone() else { return Ok(Verdict::Wrong) };
        let (user, password) = (self.user(login)?, password.to_vec());
        let question = Question::Password { service, user, password, remote };
        match self.ask(question).await? {
            Answer::Right => Ok(Verdict::Right),
            Answer::Wrong => Ok(Verdict::Wrong),
            Answer::Expired => Ok(Verdict::Expired),
            Answer::Disabled { reason } => Ok(Verdict::Disabled { reason }),
            _ => {
                Err(Outage::new("system", "the helper answers something else: are both of the same version?"))
            }
        }
    }

    /// pam_access may let somebody in from here and not from there.
    fn minds_addresses(&self) -> bool {
        true
    }

    fn primary(&self, login: &Login) -> Option<Login> {
        let first = self.settings.domains.first().filter(|first| *first != login.domain())?;
        self.is_ours(login).then(|| Login::parse(format!("{}@{first}", login.local()).as_bytes()).ok())?
    }

    async fn has_domain(&self, domain: &str) -> Result<bool, Outage> {
        Ok(self.settings.domains.iter().any(|own| own == domain))
    }

    async fn names(&self) -> Result<Vec<String>, Outage> {
        let least = self.settings.first_valid_uid.max(1);
        let (Answer::Users(names), Some(domain)) =
            (self.ask(Question::Users { least }).await?, self.settings.domains.first())
        else {
            return Err(Outage::new("system", "the helper does not name the users"));
        };
        let names = names.into_iter().map(|name| format!("{name}@{domain}"));
        Ok(names.filter_map(|name| Some(Login::parse(name.as_bytes()).ok()?.to_string())).collect())
    }
}

/// The socket to the helper, opened when it is needed and again when it broke.
struct Line {
    way: Way,
    open: tokio::sync::Mutex<Option<Talk>>,
    next: AtomicU64,
    room: Semaphore,
}

/// Where sockets to the helper come from.
enum Way {
    Started(Started),
    At(PathBuf),
}

/// A conversation. Lines are written by a task of its own: who asks may lose interest in the middle of one.
struct Talk {
    writer: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Arc<Waiting>,
}

/// Who waits for which answer; `None` once the helper has hung up.
type Waiting = Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>;

impl Line {
    async fn ask(&self, question: Question, limit: Duration) -> Result<Answer, String> {
        let (tell, told) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let asked = async {
            let _room = self.room.acquire().await.map_err(|why| why.to_string())?;
            self.send(id, &question, tell).await?;
            told.await.map_err(|_| self.gone("it has hung up"))
        };
        tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| {
            Err("the helper process does not answer: is the machine overloaded, or directory.system.workers too low?".to_owned())
        })
    }

    async fn send(&self, id: u64, question: &Question, tell: oneshot::Sender<Answer>) -> Result<(), String> {
        let mut open = self.open.lock().await;
        if open.as_ref().is_none_or(|talk| talk.waiting.lock().is_none()) {
            *open = Some(self.connect().await?);
        }
        let Some(talk) = open.as_ref() else { return Err(self.gone("there is none")) };
        match &mut *talk.waiting.lock() {
            Some(waiting) => waiting.insert(id, tell),
            None => return Err(self.gone("it has hung up")),
        };
        talk.writer.send(question.encode(id)).map_err(|_| self.gone("it has hung up"))
    }

    #[allow(clippy::disallowed_methods, reason = "it ends with the conversation")]
    async fn connect(&self) -> Result<Talk, String> {
        let stream = match &self.way {
            Way::Started(started) => started.next().await.map_err(|why| self.gone(&why))?,
            Way::At(path) => UnixStream::connect(path)
                .await
                .map_err(|why| self.gone(&format!("{}: {why}", path.display())))?,
        };
        let (reader, half) = stream.into_split();
        let waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let (writer, lines) = mpsc::unbounded_channel();
        tokio::spawn(write(half, lines));
        tokio::spawn(listen(reader, waiting.clone()));
        Ok(Talk { writer, waiting })
    }

    /// With what an administrator may do.
    fn gone(&self, why: &str) -> String {
        match self.way {
            Way::At(_) => format!(
                "the helper process cannot be asked ({why}): is culver-pam-helper.service running, and is directory.system.helper its socket?"
            ),
            Way::Started(_) => format!("the helper process cannot be asked ({why})"),
        }
    }
}

async fn write(mut half: OwnedWriteHalf, mut lines: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await {
        // The reader sees that nobody is there, too, and tells those who wait.
        if half.write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn listen(reader: OwnedReadHalf, waiting: Arc<Waiting>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(LONGEST_ANSWER as u64).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(n) if n > 0) || line.pop() != Some(b'\n') {
            break;
        }
        let Some((id, answer)) = Answer::parse(&line) else { break };
        let asked = waiting.lock().as_mut().and_then(|waiting| waiting.remove(&id));
        // Nobody may be left who wants to know.
        let _ = asked.map(|asked| asked.send(answer));
    }
    *waiting.lock() = None;
}
