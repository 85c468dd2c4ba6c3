//! Connections to directory servers: one that searches, shared by all questions at once, and a few on which users bind, so that
//! who binds never changes who searches.
//!
//! A connection that broke while nobody looked is made anew once; a server that is away is passed over for the next one.

use super::Server;
use crate::pool::Pool;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchEntry, SearchOptions,
};
use rustls::ClientConfig;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection that nobody used for so long may have been cut on its way.
const IDLE: Duration = Duration::from_secs(60);

/// Connections to the first server that answers.
pub struct Connections {
    server: Server,
    tls: Arc<ClientConfig>,
    searcher: tokio::sync::Mutex<Searcher>,
    binders: Pool<Connection>,
}

/// One connection.
pub struct Connection {
    ldap: Ldap,
    asked: Instant,
}

/// The connection that searches.
#[derive(Default)]
struct Searcher {
    connection: Option<Connection>,
    /// When there was none to be had, and why: those who waited meanwhile need not try again, one after the other.
    failed: Option<(Instant, String)>,
}

impl Connection {
    fn is_alive(&mut self) -> bool {
        !self.ldap.is_closed() && self.asked.elapsed() < IDLE
    }
}

/// A search.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where it begins.
    pub base: String,
    /// How far it goes.
    pub scope: Scope,
    /// What entries must be like.
    pub filter: String,
    /// The attributes that are asked for.
    pub attributes: Vec<String>,
    /// How many entries are wanted.
    pub entries: Entries,
}

/// How many entries are wanted.
#[derive(Clone, Copy, Debug)]
pub enum Entries {
    /// So many at most.
    Most(i32),
    /// All, in pages of so many: servers have limits for what they tell at once (RFC 2696).
    Pages(i32),
}

/// What was found, and what the server said at its end.
pub type Found = (Vec<SearchEntry>, LdapResult);

impl Question {
    fn ask(self, mut ldap: Ldap) -> BoxFuture<'static, Result<Found, LdapError>> {
        Box::pin(async move {
            let mut adapters: Vec<Box<dyn Adapter<'_, String, Vec<String>>>> =
                vec![Box::new(EntriesOnly::new())];
            match self.entries {
                Entries::Most(most) => {
                    ldap.with_search_options(SearchOptions::new().sizelimit(most));
                }
                Entries::Pages(size) => adapters.push(Box::new(PagedResults::new(size))),
            }
            let Self { base, scope, filter, attributes, .. } = self;
            let mut stream = ldap.streaming_search_with(adapters, &base, scope, &filter, attributes).await?;
            let mut entries = Vec::new();
            while let Some(entry) = stream.next().await? {
                entries.push(SearchEntry::construct(entry));
            }
            Ok((entries, stream.finish().await))
        })
    }
}

/// Why there is no answer.
pub enum Failed {
    /// The connection broke.
    Broken(String),
    /// The server is silent.
    Late(String),
    /// The question cannot be asked so.
    Asked(String),
}

impl Failed {
    fn text(self) -> String {
        match self {
            Self::Broken(why) | Self::Late(why) | Self::Asked(why) => why,
        }
    }
}

impl Connections {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn new(server: Server) -> Result<Self, String> {
        let wants_tls = server.starttls || server.uris.iter().any(|uri| uri.starts_with("ldaps:"));
        let tls = if wants_tls { crate::tls::client(&server.authorities)? } else { crate::tls::nobody()? };
        let binders = Pool::new(server.connections);
        Ok(Self { server, tls, searcher: tokio::sync::Mutex::default(), binders })
    }

    /// Asks as the one who searches.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn search(&self, question: &Question) -> Result<Found, String> {
        let mut again = true;
        loop {
            let (ldap, used) = self.searcher().await?;
            match self.in_time(question.clone().ask(ldap)).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => {
                    if !matches!(failed, Failed::Asked(_)) {
                        self.searcher.lock().await.connection = None;
                    }
                    // It was cut, or the server was restarted, since it was last used.
                    if matches!(failed, Failed::Broken(_)) && used && again {
                        again = false;
                        continue;
                    }
                    return Err(failed.text());
                }
            }
        }
    }

    /// The connection that searches, and whether it was used before.
    async fn searcher(&self) -> Result<(Ldap, bool), String> {
        let began = Instant::now();
        let mut searcher = self.searcher.lock().await;
        if let Some(connection) = &mut searcher.connection
            && connection.is_alive()
        {
            connection.asked = Instant::now();
            return Ok((connection.ldap.clone(), true));
        }
        if let Some((at, why)) = &searcher.failed
            && *at > began
        {
            return Err(why.clone());
        }
        match self.connect(&self.server.bind_dn, &self.server.bind_password).await {
            Ok(connection) => Ok((searcher.connection.insert(connection).ldap.clone(), false)),
            Err(why) => {
                searcher.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    /// What the server says to a bind with this name and password. The password is not empty.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn bind(&self, name: &str, password: &str) -> Result<LdapResult, String> {
        let mut again = true;
        loop {
            let limit = self.server.query_timeout;
            let connect = async || self.connect("", "").await;
            let mut lent = self.binders.get(limit, Connection::is_alive, connect).await?;
            let mut ldap = lent.ldap.clone();
            match self.in_time(async { ldap.simple_bind(name, password).await }).await {
                Ok(answer) => {
                    lent.asked = Instant::now();
                    self.binders.give_back(lent);
                    return Ok(answer);
                }
                Err(failed) => {
                    let cut = matches!(failed, Failed::Broken(_)) && lent.used && again;
                    self.binders.clear();
                    if !cut {
                        return Err(failed.text());
                    }
                    again = false;
                }
            }
        }
    }

    /// To the first server that answers, and there as whom is asked for.
    async fn connect(&self, name: &str, password: &str) -> Result<Connection, String> {
        let mut failed = Vec::new();
        for uri in &self.server.uris {
            let tried =
                tokio::time::timeout(self.server.connect_timeout, self.connect_to(uri, name, password)).await;
            match tried {
                Ok(Ok(ldap)) => return Ok(Connection { ldap, asked: Instant::now() }),
                Ok(Err(why)) => failed.push(format!("{uri}: {why}")),
                Err(_) => failed.push(format!("{uri}: no connection within connect_timeout")),
            }
        }
        Err(format!(
            "no LDAP server can be reached ({}): is one running, and are uris, tls, ca_file, bind_dn and bind_password right?",
            failed.join("; ")
        ))
    }

    async fn connect_to(&self, uri: &str, name: &str, password: &str) -> Result<Ldap, String> {
        let starttls = self.server.starttls && uri.starts_with("ldap:");
        let settings = LdapConnSettings::new().set_config(self.tls.clone()).set_starttls(starttls);
        let connecting = unharmed(LdapConnAsync::with_settings(settings, uri)).await;
        let (connection, mut ldap) = connecting.map_err(|why| match why {
            Some(why) if starttls || uri.starts_with("ldaps:") => tls_told(&why),
            Some(why) => told(&why),
            None => GARBAGE.to_owned(),
        })?;
        drive(connection);
        if !name.is_empty() {
            let bound = unharmed(ldap.simple_bind(name, password)).await;
            let bound = bound.map_err(|why| why.map_or(GARBAGE.to_owned(), |why| told(&why)))?;
            if bound.rc != 0 {
                return Err(format!("bind_dn {name} is not let in: {}", said(&bound)));
            }
        }
        Ok(ldap)
    }

    async fn in_time<T>(&self, asked: impl Future<Output = Result<T, LdapError>>) -> Result<T, Failed> {
        let limit = self.server.query_timeout;
        let answer = tokio::time::timeout(limit, unharmed(asked)).await;
        let late = || {
            format!(
                "no answer within query_timeout ({limit:?}): is the server overloaded, or is an attribute not indexed?"
            )
        };
        match answer.map_err(|_| Failed::Late(late()))? {
            Ok(answer) => Ok(answer),
            Err(None) => Err(Failed::Broken(GARBAGE.to_owned())),
            Err(Some(LdapError::FilterParsing)) => {
                Err(Failed::Asked("it is no filter, see RFC 4515".to_owned()))
            }
            Err(Some(why)) => Err(Failed::Broken(format!("the LDAP server hung up: {}", told(&why)))),
        }
    }
}

const GARBAGE: &str = "the LDAP server's answer cannot be understood";

/// The library panics at answers that break the protocol; that is an outage and no more. `None` is such an answer.
async fn unharmed<T>(asked: impl Future<Output = Result<T, LdapError>>) -> Result<T, Option<LdapError>> {
    match AssertUnwindSafe(asked).catch_unwind().await {
        Ok(answer) => answer.map_err(Some),
        Err(_) => Err(None),
    }
}

#[allow(clippy::disallowed_methods, reason = "it ends with the last handle of its connection")]
fn drive(connection: LdapConnAsync) {
    // How it ended hears whoever asks next.
    tokio::spawn(async move { drop(connection.drive().await) });
}

/// An error in words that help.
fn told(why: &LdapError) -> String {
    match why {
        LdapError::Io { source } => source.to_string(),
        LdapError::LdapResult { result } => said(result),
        LdapError::EndOfStream | LdapError::ResultRecv { .. } | LdapError::OpSend { .. } => {
            "the connection ended".to_owned()
        }
        other => other.to_string(),
    }
}

fn tls_told(why: &LdapError) -> String {
    match why {
        LdapError::LdapResult { result } => format!("StartTLS is refused: {}", said(result)),
        LdapError::Io { source } if source.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            format!(
                "TLS: {source}: does ca_file have the authority of its certificate, and is that for this name?"
            )
        }
        other => told(other),
    }
}

/// The server's words.
pub fn said(result: &LdapResult) -> String {
    // `rc=49 (invalidCredentials), dn: "", text: ""`
    let whole = result.to_string();
    let code = whole.split_once(", dn:").map_or(&whole[..], |(code, _)| code);
    let code = code.strip_prefix("rc=").unwrap_or(code);
    if result.text.is_empty() { code.to_owned() } else { format!("{code}: {}", result.text) }
}
