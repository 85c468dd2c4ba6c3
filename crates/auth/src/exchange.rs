//! One SASL exchange, step by step. The caller does base64 and the framing of its protocol.

use crate::auth::{Auth, ChannelBinding, No, Peer};
use crate::denied::Denied;
use crate::scheme::Stored;
use culver_directory::{Account, Login, Secret};
use culver_sasl::plain::{LOGIN_PASSWORD, LOGIN_USER, Plain};
use culver_sasl::scram::{self, Binding, ClientFirst, Hash, Refused, Server};
use culver_sasl::{Malformed, Mechanism};
use std::sync::Arc;
use tokio::time::Instant;

/// An exchange in progress.
pub struct Exchange {
    auth: Arc<Auth>,
    mechanism: Mechanism,
    peer: Peer,
    channel: ChannelBinding,
    /// When the last message came.
    begun: Instant,
    step: Step,
}

enum Step {
    Start,
    LoginUser,
    LoginPassword(Vec<u8>),
    Scram(Box<Scram>),
    Over,
}

/// SCRAM between its two messages of the client.
struct Scram {
    server: Server,
    user: String,
    authorize: String,
    /// The account, if it exists and can be proven by SCRAM; otherwise why not, for the log.
    account: Result<(Arc<Account>, Login), &'static str>,
}

/// What comes next.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Send this, and give the answer to the next step.
    Challenge(Vec<u8>),
    /// They are who they say.
    Done {
        /// Who.
        account: Arc<Account>,
        /// What the mechanism says beside success; the client waits for it.
        final_message: Option<Vec<u8>>,
    },
    /// They are not let in. The exchange is over.
    Denied(Denied),
}

impl Exchange {
    pub(crate) fn new(auth: Arc<Auth>, mechanism: Mechanism, peer: Peer, channel: ChannelBinding) -> Self {
        Self { auth, mechanism, peer, channel, begun: Instant::now(), step: Step::Start }
    }

    /// Takes the client's next message. Where the server speaks first, the first message is empty; LOGIN also takes a
    /// user name there (RFC 4959).
    pub async fn step(&mut self, message: &[u8]) -> Progress {
        self.begun = Instant::now();
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Start => self.start(message).await,
            Step::LoginUser => self.ask_password(message),
            Step::LoginPassword(user) => self.password(&user, message, b"").await,
            Step::Scram(scram) => self.scram_last(*scram, message).await,
            Step::Over => self.deny(b"", No::syntax("The exchange is over: start again".to_owned())).await,
        }
    }

    async fn start(&mut self, message: &[u8]) -> Progress {
        if let Err(no) = self.auth.admit(&self.peer) {
            return self.deny(b"", no).await;
        }
        match self.mechanism {
            Mechanism::Plain => match Plain::parse(message) {
                Ok(plain) => self.password(plain.user, plain.password, plain.authorize).await,
                Err(why) => self.malformed(why).await,
            },
            Mechanism::Login if message.is_empty() => {
                self.step = Step::LoginUser;
                Progress::Challenge(LOGIN_USER.to_vec())
            }
            Mechanism::Login => self.ask_password(message),
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => match ClientFirst::parse(message) {
                Ok(first) => match self.scram_first(first).await {
                    Ok(challenge) => Progress::Challenge(challenge),
                    Err((user, no)) => self.deny(user.as_bytes(), no).await,
                },
                Err(why) => self.malformed(why).await,
            },
        }
    }

    fn ask_password(&mut self, user: &[u8]) -> Progress {
        self.step = Step::LoginPassword(user.to_vec());
        Progress::Challenge(LOGIN_PASSWORD.to_vec())
    }

    async fn password(&self, user: &[u8], password: &[u8], authorize: &[u8]) -> Progress {
        match self.auth.verify_as(self.mechanism.name(), user, password, authorize, &self.peer).await {
            Ok(account) => Progress::Done { account, final_message: None },
            Err(denied) => Progress::Denied(denied),
        }
    }

    async fn scram_first(&mut self, first: ClientFirst) -> Result<Vec<u8>, (String, No)> {
        let user = first.user.clone();
        let channel = self.channel_data(&first.binding).map_err(|no| (user.clone(), no))?;
        let login =
            Login::parse(user.as_bytes()).map_err(|why| (user.clone(), No::syntax(why.to_string())))?;
        let found = self.auth.find(&login, &self.peer).await.map_err(|no| (user.clone(), no))?;
        let (stored, account) = match found {
            None => Err("unknown user"),
            Some(account) => match self.stored(&account, &login).await {
                Ok(stored) => Ok((stored, account)),
                Err(no) => Err(no),
            },
        }
        .map_or_else(
            // The names of accounts are not told: one that does not exist has a salt too.
            |why| (scram::Stored::impossible(Hash::Sha256, &self.auth.seed(login.as_str())), Err(why)),
            |(stored, account)| (stored, Ok((account, login.clone()))),
        );
        let nonce = scram::nonce().ok_or_else(|| {
            (user.clone(), self.auth.fault("", "the system gives no random numbers", &self.peer))
        })?;
        let authorize = first.authorize.clone().unwrap_or_default();
        let server = Server::new(first, stored, &nonce, channel);
        let challenge = server.challenge().as_bytes().to_vec();
        self.step = Step::Scram(Box::new(Scram { server, user, authorize, account }));
        Ok(challenge)
    }

    /// What SCRAM needs of an account, or why it cannot be had.
    async fn stored(&self, account: &Account, login: &Login) -> Result<scram::Stored, &'static str> {
        let Secret::Stored(text) = &account.secret else { return Err("no password that SCRAM could use") };
        let stored = Stored::parse(text).map_err(|_| "the stored password cannot be read")?;
        if let Some(scram) = stored.scram_sha_256() {
            return Ok(scram);
        }
        let clear = stored.clear().ok_or("the password's scheme serves PLAIN only, not SCRAM")?.to_vec();
        let salt = self.auth.seed(login.as_str());
        let derive = move || scram::Stored::derive(Hash::Sha256, &clear, &salt[..16], scram::ITERATIONS);
        self.auth.hash(derive).await.ok_or("the thread that hashes has ended")
    }

    /// The data of the channel binding that the client chose (RFC 5802 §6).
    fn channel_data(&self, binding: &Binding) -> Result<Vec<u8>, No> {
        let refuse = |text: &str| Err(No::syntax(text.to_owned()));
        match (binding, self.mechanism.binds_channel()) {
            (Binding::Unsupported, false) => Ok(Vec::new()),
            (Binding::NotOffered, false) if self.auth.offers_binding(&self.peer) => refuse(
                "Channel binding is offered here, but the client did not see it: somebody may be between us",
            ),
            (Binding::NotOffered, false) => Ok(Vec::new()),
            (Binding::Used(name), true) => {
                let data = match name.as_str() {
                    "tls-exporter" => self.channel.exporter.clone(),
                    "tls-server-end-point" => self.channel.end_point.clone(),
                    _ => None,
                };
                data.map_or_else(
                    || refuse("That type of channel binding is not possible on this connection"),
                    Ok,
                )
            }
            (_, true) => refuse("SCRAM-SHA-256-PLUS needs channel binding"),
            (Binding::Used(_), false) => refuse("Channel binding needs SCRAM-SHA-256-PLUS"),
        }
    }

    async fn scram_last(&self, scram: Scram, message: &[u8]) -> Progress {
        let user = scram.user.as_bytes();
        let no = match (scram.server.finish(message), scram.account) {
            (Err(Refused::Malformed(why)), _) => return self.malformed(why).await,
            (Ok(last), Ok((account, login))) => {
                match self.auth.let_in(account, &login, scram.authorize.as_bytes(), &self.peer) {
                    Ok(account) => {
                        self.auth.succeeded(&self.peer);
                        return Progress::Done { account, final_message: Some(last.into_bytes()) };
                    }
                    Err(no) => no,
                }
            }
            (Err(why), Ok(_)) => No { denied: Denied::Credentials, reason: why.to_string() },
            (_, Err(why)) => No { denied: Denied::Credentials, reason: why.to_owned() },
        };
        self.deny(user, no).await
    }

    async fn malformed(&self, why: Malformed) -> Progress {
        self.deny(b"", No::syntax(why.to_string())).await
    }

    async fn deny(&self, user: &[u8], no: No) -> Progress {
        Progress::Denied(self.auth.fail(self.mechanism.name(), user, no, self.begun, &self.peer).await)
    }
}
