//! Keys that the provider publishes (RFC 7517 §5, `jwks_uri` of OpenID Connect Discovery 1.0).
//!
//! They are fetched when the first token comes, when a token names a key that is unknown, and when they are an hour old; never more than
//! once in a minute. While the provider cannot be asked, keys fetched earlier go on to count; a token that none of them fits cannot be
//! judged then, which is an outage.

use super::keys::{Key, Token, candidates, jwk_set, open_with};
use crate::http::Endpoint;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So old keys are fetched again, for those that the provider has withdrawn.
const OLD: Duration = Duration::from_secs(3600);

/// The keys.
pub struct Published {
    endpoint: Endpoint,
    pace: Duration,
    known: Mutex<Known>,
    /// Held by who fetches.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: Arc<Vec<Key>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    /// Why it could not be fetched the last time.
    failed: Option<String>,
}

impl Published {
    /// Those at this address, fetched once in this time at most.
    pub fn new(endpoint: Endpoint, pace: Duration) -> Self {
        Self { endpoint, pace, known: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The claims of a token that one of the keys has signed; `Ok(Err(..))` when it is no such token.
    ///
    /// # Errors
    /// When that cannot be known, since the provider does not answer.
    pub async fn open(&self, token: &str) -> Result<Result<Map<String, Value>, String>, String> {
        let parsed = match Token::parse(token) {
            Ok(parsed) => parsed,
            Err(why) => return Ok(Err(why)),
        };
        let fits = |keys: &[Key]| candidates(keys.iter(), &parsed).next().is_some();
        if self.is_old()
            && let Ok(_alone) = self.fetching.try_lock()
        {
            self.fetch().await;
        }
        if !fits(&self.keys()) {
            let _alone = self.fetching.lock().await;
            // Somebody else may have fetched it meanwhile.
            if !fits(&self.keys()) {
                self.fetch().await;
            }
        }
        let keys = self.keys();
        if !fits(&keys)
            && let Some(why) = self.known.lock().failed.clone()
        {
            return Err(why);
        }
        let token = token.to_owned();
        // Signatures cost a while.
        tokio::task::spawn_blocking(move || open_with(|| keys.iter(), &token, "at jwks_uri"))
            .await
            .map_err(|why| why.to_string())
    }

    fn keys(&self) -> Arc<Vec<Key>> {
        self.known.lock().keys.clone()
    }

    fn is_old(&self) -> bool {
        self.known.lock().fetched.is_some_and(|at| at.elapsed() >= OLD)
    }

    /// Fetches them, unless that was tried a moment ago.
    async fn fetch(&self) {
        {
            let mut known = self.known.lock();
            if known.tried.is_some_and(|at| at.elapsed() < self.pace) {
                return;
            }
            known.tried = Some(Instant::now());
        }
        let fetched = self.ask().await;
        let mut known = self.known.lock();
        match fetched {
            Ok(keys) => {
                (known.keys, known.fetched, known.failed) = (Arc::new(keys), Some(Instant::now()), None);
            }
            Err(why) => {
                let why = format!("jwks_uri: {why}");
                if !known.keys.is_empty() {
                    tracing::warn!("oauth2: {why}. Keys fetched earlier go on to count");
                }
                known.failed = Some(why);
            }
        }
    }

    async fn ask(&self) -> Result<Vec<Key>, String> {
        let request = self.endpoint.request("GET", "").body(Vec::new().into());
        let (status, body) = self.endpoint.ask(request.map_err(|why| why.to_string())?).await?;
        if !status.is_success() {
            return Err(format!("it answers {status}"));
        }
        let keys = jwk_set(&body)?;
        if keys.is_empty() { Err("it has no key that signs tokens".to_owned()) } else { Ok(keys) }
    }
}
