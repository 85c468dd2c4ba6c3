//! One SASL exchange, step by step. The caller does base64 and the framing of its protocol.

use crate::app_password;
use crate::auth::{Auth, Found};
use crate::claim::Claim;
use crate::denied::Denied;
use crate::no::No;
use crate::peer::{ChannelBinding, Delay, Peer};
use crate::scheme::Stored;
use culver_directory::{Account, AppPassword, Login};
use culver_sasl::oauth::{self, Bearer};
use culver_sasl::plain::{LOGIN_PASSWORD, LOGIN_USER, Plain};
use culver_sasl::scram::{self, Binding, ClientFirst, Hash, Refused, Server};
use culver_sasl::{Malformed, Mechanism, anonymous, cram_md5, digest_md5, external};
use std::sync::Arc;
use tokio::time::Instant;

/// An exchange in progress.
pub struct Exchange {
    auth: Arc<Auth>,
    mechanism: Mechanism,
    peer: Peer,
    channel: ChannelBinding,
    delay: Delay,
    /// When the last message came.
    begun: Instant,
    step: Step,
}

enum Step {
    Start,
    LoginUser,
    LoginPassword(Vec<u8>),
    Scram(Box<Scram>),
    /// The challenge was sent.
    Cram(String),
    /// The challenge with this nonce was sent.
    Digest(String),
    /// The error message was sent; the client answers something, and then this is told.
    Token(Vec<u8>, Box<No>),
    Over,
}

/// SCRAM between its two messages of the client.
struct Scram {
    server: Server,
    user: String,
    claim: Claim,
    /// The account, if it exists and can be proven by SCRAM; otherwise why not, for the log.
    found: Result<Found, &'static str>,
    /// Its app passwords, each form that can be proven.
    apps: Vec<AppPassword>,
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

/// Why not, with the name that was given.
type Failed = (Vec<u8>, No);

impl Exchange {
    pub(crate) fn new(auth: Arc<Auth>, mechanism: Mechanism, peer: Peer, channel: ChannelBinding) -> Self {
        let delay = Delay::default();
        Self { auth, mechanism, peer, channel, delay, begun: Instant::now(), step: Step::Start }
    }

    /// With another way to wait.
    #[must_use]
    pub fn delayed(mut self, delay: Delay) -> Self {
        self.delay = delay;
        self
    }

    /// Takes the client's next message. Where the server speaks first, the first message is empty; LOGIN also takes a
    /// user name there (RFC 4959).
    pub async fn step(&mut self, message: &[u8]) -> Progress {
        self.begun = Instant::now();
        let done = match std::mem::replace(&mut self.step, Step::Over) {
            Step::Start => match self.auth.admit(&self.peer, self.delay) {
                Ok(()) => self.start(message).await,
                Err(no) => Err((Vec::new(), no)),
            },
            Step::LoginUser => Ok(self.ask_password(message)),
            Step::LoginPassword(user) => Ok(self.password(&user, message, b"").await),
            Step::Scram(scram) => self.scram_last(*scram, message).await,
            Step::Cram(challenge) => self.cram(&challenge, message).await,
            Step::Digest(nonce) => self.digest(&nonce, message).await,
            Step::Token(user, no) => Err((user, *no)),
            Step::Over => Err((Vec::new(), No::syntax("The exchange is over: start again".to_owned()))),
        };
        match done {
            Ok(progress) => progress,
            Err((user, no)) => {
                let method = self.mechanism.name();
                let failed = self.auth.fail(method, &user, no, self.begun, &self.peer, self.delay);
                Progress::Denied(failed.await)
            }
        }
    }

    async fn start(&mut self, message: &[u8]) -> Result<Progress, Failed> {
        match self.mechanism {
            Mechanism::Plain => {
                let plain = Plain::parse(message).map_err(malformed)?;
                Ok(self.password(plain.user, plain.password, plain.authorize).await)
            }
            Mechanism::Login if message.is_empty() => {
                self.step = Step::LoginUser;
                Ok(Progress::Challenge(LOGIN_USER.to_vec()))
            }
            Mechanism::Login => Ok(self.ask_password(message)),
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
                self.scram_first(Hash::Sha256, message).await
            }
            Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => self.scram_first(Hash::Sha1, message).await,
            // RFC 4422 §3.3: where the server speaks first, an initial response is a mistake.
            Mechanism::CramMd5 | Mechanism::DigestMd5 if !message.is_empty() => {
                let text =
                    format!("{} begins with a challenge: send no initial response", self.mechanism.name());
                Err((Vec::new(), No::syntax(text)))
            }
            Mechanism::CramMd5 => {
                let now = culver_events::clock::now().as_secs();
                let challenge = cram_md5::challenge(&self.nonce().map_err(nameless)?, now, "culver");
                self.step = Step::Cram(challenge.clone());
                Ok(Progress::Challenge(challenge.into_bytes()))
            }
            Mechanism::DigestMd5 => {
                let nonce = self.nonce().map_err(nameless)?;
                let challenge = digest_md5::challenge(&nonce);
                self.step = Step::Digest(nonce);
                Ok(Progress::Challenge(challenge.into_bytes()))
            }
            Mechanism::External => self.external(message).await,
            Mechanism::OAuthBearer | Mechanism::XOAuth2 => self.token(message).await,
            Mechanism::Anonymous => self.anonymous(message).await,
        }
    }

    fn nonce(&self) -> Result<String, No> {
        scram::nonce().ok_or_else(|| self.auth.fault("", "the system gives no random numbers", &self.peer))
    }

    fn ask_password(&mut self, user: &[u8]) -> Progress {
        self.step = Step::LoginPassword(user.to_vec());
        Progress::Challenge(LOGIN_PASSWORD.to_vec())
    }

    async fn password(&self, user: &[u8], password: &[u8], authorize: &[u8]) -> Progress {
        let method = self.mechanism.name();
        match self.auth.verify_as(method, user, password, authorize, &self.peer, self.delay).await {
            Ok(account) => Progress::Done { account, final_message: None },
            Err(denied) => Progress::Denied(denied),
        }
    }

    /// Lets somebody in who has proven who they are.
    async fn let_in(
        &self,
        found: Found,
        claim: &Claim,
        final_message: Option<String>,
    ) -> Result<Progress, No> {
        let account = self.auth.let_in(found, claim, &self.peer).await?;
        Ok(Progress::Done { account, final_message: final_message.map(String::into_bytes) })
    }

    async fn scram_first(&mut self, hash: Hash, message: &[u8]) -> Result<Progress, Failed> {
        let first = ClientFirst::parse(message).map_err(malformed)?;
        let user = first.user.clone();
        match self.scram_challenge(hash, first).await {
            Ok(challenge) => Ok(Progress::Challenge(challenge)),
            Err(no) => Err((user.into_bytes(), no)),
        }
    }

    async fn scram_challenge(&mut self, hash: Hash, first: ClientFirst) -> Result<Vec<u8>, No> {
        let channel = self.channel_data(hash, &first.binding)?;
        let authorize = first.authorize.clone().unwrap_or_default();
        let mut claim = self.auth.claim(first.user.as_bytes(), authorize.as_bytes())?;
        self.auth.ask_policy(&mut claim, b"", &self.peer).await?;
        let mut forms = Vec::new();
        let (stored, found) = match self.auth.find_stored(&claim, &self.peer).await? {
            None => Err("unknown user"),
            Some(found) => {
                if hash == Hash::Sha256 {
                    forms = self.app_forms(&found.account).await?;
                }
                let like = forms.first().map(|(form, _)| form);
                self.scram_stored(hash, &found, &claim.login, like).await?.map(|stored| (stored, found))
            }
        }
        .map_or_else(
            // The names of accounts are not told: one that does not exist has a salt too.
            |why| (scram::Stored::impossible(hash, &self.auth.seed(claim.login.as_str())), Err(why)),
            |(stored, found)| (stored, Ok(found)),
        );
        let nonce = self.nonce()?;
        let user = first.user.clone();
        let (forms, apps): (Vec<_>, Vec<_>) = forms.into_iter().unzip();
        let server = Server::new(first, stored, &nonce, channel).or(forms);
        let challenge = server.challenge().as_bytes().to_vec();
        self.step = Step::Scram(Box::new(Scram { server, user, claim, found, apps }));
        Ok(challenge)
    }

    /// What SCRAM needs of app passwords.
    async fn app_forms(&self, account: &Account) -> Result<Vec<(scram::Stored, AppPassword)>, No> {
        let all = self.auth.app_passwords(account, &self.peer).await?;
        let forms = app_password::for_scram(&all).into_iter();
        Ok(forms.map(|(index, form)| (form, all[index].clone())).collect())
    }

    /// What SCRAM needs of an account, or why it cannot be had. `like` is a form of its app passwords.
    async fn scram_stored(
        &self,
        hash: Hash,
        found: &Found,
        login: &Login,
        like: Option<&scram::Stored>,
    ) -> Result<Result<scram::Stored, &'static str>, No> {
        let stored = self.auth.stored(&found.account, &self.peer)?;
        if let Some(scram) = stored.as_ref().and_then(|s| s.scram(hash)) {
            return Ok(Ok(scram));
        }
        let like = like.cloned();
        let Some(clear) = stored.as_ref().and_then(Stored::clear).map(<[u8]>::to_vec) else {
            // Its own password cannot be proven so, but its app passwords can.
            return Ok(like.ok_or("nothing is stored that serves this mechanism"));
        };
        let salt = self.auth.seed(login.as_str());
        let derive = move || match like {
            Some(like) => like.derive_like(&clear),
            None => scram::Stored::derive(hash, &clear, &salt[..16], scram::ITERATIONS),
        };
        Ok(self.auth.hash(derive).await.ok_or("the thread that hashes has ended"))
    }

    /// The data of the channel binding that the client chose (RFC 5802 §6).
    fn channel_data(&self, hash: Hash, binding: &Binding) -> Result<Vec<u8>, No> {
        let refuse = |text: &str| Err(No::syntax(text.to_owned()));
        match (binding, self.mechanism.binds_channel()) {
            (Binding::Unsupported, false) => Ok(Vec::new()),
            (Binding::NotOffered, false) if self.offers_binding(hash) => refuse(
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
            (_, true) => refuse("A mechanism that ends in -PLUS needs channel binding"),
            (Binding::Used(_), false) => refuse("Channel binding needs a mechanism that ends in -PLUS"),
        }
    }

    /// Was a -PLUS mechanism offered? Not where the channel's data cannot be had, as behind an MTA.
    fn offers_binding(&self, hash: Hash) -> bool {
        self.channel != ChannelBinding::default() && self.auth.offers_binding(hash, &self.peer)
    }

    async fn scram_last(&self, scram: Scram, message: &[u8]) -> Result<Progress, Failed> {
        let Scram { server, user, claim, found, apps } = scram;
        let done = match (server.finish_by(message), found) {
            (Err(Refused::Malformed(why)), _) => Err(No::syntax(why.to_string())),
            (Ok((index, last)), Ok(found)) => match index.checked_sub(1).and_then(|index| apps.get(index)) {
                None => self.let_in(found, &claim, Some(last)).await,
                Some(app) => {
                    let account = self.auth.let_in_by(app, found, &claim, &self.peer).await;
                    account.map(|account| Progress::Done { account, final_message: Some(last.into_bytes()) })
                }
            },
            (Err(why), Ok(found)) => Err(No::wrong(&why.to_string()).of(&found.account)),
            (_, Err(why)) => Err(No::wrong(why)),
        };
        done.map_err(|no| (user.into_bytes(), no))
    }

    async fn cram(&self, challenge: &str, message: &[u8]) -> Result<Progress, Failed> {
        let response = cram_md5::Response::parse(message).map_err(malformed)?;
        let done = async {
            let mut claim = self.auth.claim(response.user, b"")?;
            self.auth.ask_policy(&mut claim, b"", &self.peer).await?;
            let found =
                self.auth.find_stored(&claim, &self.peer).await?.ok_or_else(|| No::wrong("unknown user"))?;
            let stored = self.auth.stored(&found.account, &self.peer)?;
            let states = stored.as_ref().and_then(Stored::cram_md5);
            let states = states.ok_or_else(|| No::wrong(OTHER_SCHEME).of(&found.account))?;
            if !response.verify(states, challenge) {
                return Err(No::wrong(MISMATCH).of(&found.account));
            }
            self.let_in(found, &claim, None).await
        };
        done.await.map_err(|no| (response.user.to_vec(), no))
    }

    async fn digest(&self, nonce: &str, message: &[u8]) -> Result<Progress, Failed> {
        let response = digest_md5::Response::parse(message).map_err(malformed)?;
        let user = response.user();
        let done = async {
            let authorize = response.authorize.clone().unwrap_or_default();
            let mut claim = self.auth.claim(user.as_bytes(), authorize.as_bytes())?;
            self.auth.ask_policy(&mut claim, b"", &self.peer).await?;
            let found =
                self.auth.find_stored(&claim, &self.peer).await?.ok_or_else(|| No::wrong("unknown user"))?;
            let stored = self.auth.stored(&found.account, &self.peer)?;
            let (name, realm) = response.name_and_realm();
            let hashes = stored.and_then(|s| s.digest_md5(&found.account.name, name, realm));
            let hashes = hashes.ok_or_else(|| No::wrong(OTHER_SCHEME).of(&found.account))?;
            let last = response.verify(&hashes, nonce);
            let last = last.ok_or_else(|| No::wrong(MISMATCH).of(&found.account))?;
            self.let_in(found, &claim, Some(last)).await
        };
        done.await.map_err(|no| (user.into_bytes(), no))
    }

    /// EXTERNAL: the certificate says who it is (RFC 4422 appendix A).
    async fn external(&self, message: &[u8]) -> Result<Progress, Failed> {
        let authorize = external::parse(message).map_err(malformed)?;
        let Some(name) = &self.peer.certificate else {
            let text = "The client has shown no certificate that is trusted here: choose another mechanism";
            return Err((authorize.as_bytes().to_vec(), No::syntax(text.to_owned())));
        };
        let done = async {
            let mut claim = self.auth.claim(name.as_bytes(), authorize.as_bytes())?;
            self.auth.ask_policy(&mut claim, b"", &self.peer).await?;
            let found = self.auth.find(&claim, &self.peer).await?.ok_or_else(|| No::wrong("unknown user"))?;
            self.let_in(found, &claim, None).await
        };
        done.await.map_err(|no| (name.as_bytes().to_vec(), no))
    }

    /// OAUTHBEARER and XOAUTH2. A token that is not good is answered by an error message first (RFC 7628 §3.2.2), to which
    /// the client must answer before it hears the end.
    async fn token(&mut self, message: &[u8]) -> Result<Progress, Failed> {
        let bearer = match self.mechanism {
            Mechanism::XOAuth2 => Bearer::parse_xoauth2(message),
            _ => Bearer::parse(message),
        }
        .map_err(malformed)?;
        let user = bearer.user.clone().unwrap_or_default();
        match self.token_owner(&bearer).await {
            Ok((found, claim)) => {
                let done = self.let_in(found, &claim, None).await;
                done.map_err(|no| (claim.login.to_string().into_bytes(), no))
            }
            Err(no) if no.denied == Denied::Credentials => {
                let tokens = self.auth.backends.tokens.as_deref();
                let scope = tokens.and_then(|t| t.scope());
                let error = match self.mechanism {
                    Mechanism::XOAuth2 => oauth::error_xoauth2(scope),
                    _ => oauth::error(scope, tokens.and_then(|t| t.configuration())),
                };
                self.step = Step::Token(user.into_bytes(), Box::new(no));
                Ok(Progress::Challenge(error.into_bytes()))
            }
            Err(no) => Err((user.into_bytes(), no)),
        }
    }

    async fn token_owner(&self, bearer: &Bearer) -> Result<(Found, Claim), No> {
        let tokens = self.auth.backends.tokens.as_ref();
        let tokens = tokens.ok_or_else(|| No::wrong("no source of tokens is configured"))?;
        if bearer.token.is_empty() {
            return Err(No::wrong("no token was sent").guessed(0));
        }
        let claims = tokens.verify(&bearer.token).await.map_err(|why| self.auth.outage(&why, &self.peer))?;
        let guess = self.auth.fingerprint(bearer.token.as_bytes());
        let claims =
            claims.map_err(|why| No::wrong(&format!("the token is not good: {why}")).guessed(guess))?;
        let authorize = bearer.user.as_deref().unwrap_or_default();
        let claim = Claim::parse(claims.user.as_bytes(), authorize.as_bytes(), None);
        let mut claim =
            claim.map_err(|why| No::wrong(&format!("the token is of {:?}: {why}", claims.user)))?;
        self.auth.ask_policy(&mut claim, bearer.token.as_bytes(), &self.peer).await?;
        let found = self.auth.find(&claim, &self.peer).await?.ok_or_else(|| No::wrong("unknown user"))?;
        Ok((found, claim))
    }

    async fn anonymous(&self, message: &[u8]) -> Result<Progress, Failed> {
        let trace = anonymous::parse(message).map_err(malformed)?;
        let done = async {
            let Some(name) = &self.auth.settings.anonymous else {
                return Err(No::syntax("ANONYMOUS is not offered here".to_owned()));
            };
            let login = Login::parse(name.as_bytes());
            let login = login.map_err(|why| self.auth.fault(name, &why.to_string(), &self.peer))?;
            let claim = Claim::of(login);
            let found = self.auth.find(&claim, &self.peer).await?;
            let found =
                found.ok_or_else(|| self.auth.fault(name, "the anonymous account is missing", &self.peer))?;
            self.let_in(found, &claim, None).await
        };
        done.await.map_err(|no| (trace.as_bytes().to_vec(), no))
    }
}

const MISMATCH: &str = "password mismatch";
const OTHER_SCHEME: &str = "the password's scheme does not serve this mechanism";

fn nameless(no: No) -> Failed {
    (Vec::new(), no)
}

fn malformed(why: Malformed) -> Failed {
    (Vec::new(), No::syntax(why.to_string()))
}
