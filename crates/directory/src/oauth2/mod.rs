//! Providers of tokens (OAuth 2.0, OpenID Connect): is this token good, and whose is it?
//!
//! A provider's tokens are checked here by its keys (from files, [`Keys`], or as it publishes them, [`Published`]), or it is asked ([`Introspection`]). What a token claims is then
//! held against the configuration: who issued it, for whom, for what, and when. A provider that cannot be asked is an outage; a
//! token is never refused for that. Answers of providers are remembered for a moment, but not beyond the token's end.

mod introspection;
mod keys;
mod published;

pub use crate::http::Endpoint;
pub use introspection::{Introspection, Mode};
pub use keys::Keys;
pub use published::Published;

use crate::token::NotGood;
use crate::{CacheSettings, Login, Outage, TokenClaims, TokenVerifier};
use async_trait::async_trait;
use keys::shown;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::time::Instant;

/// Clocks may differ by so much, in seconds.
const LEEWAY: i64 = 60;

/// How tokens are checked.
pub enum How {
    /// By their signatures.
    Keys(Keys),
    /// The same, with keys from the provider.
    Published(Box<Published>),
    /// By asking.
    Introspection(Box<Introspection>),
}

/// What a token must say.
#[derive(Clone, Default, Debug)]
pub struct Rules {
    /// Who may have issued it; empty for anybody.
    pub issuers: Vec<String>,
    /// For whom it must be meant; empty: that is not looked at.
    pub audience: String,
    /// What it must be good for; words with blanks between.
    pub scope: String,
    /// The claim that has the user's address.
    pub username_claim: String,
    /// The domain of users who are named without one; empty: they are nobody.
    pub domain: String,
    /// Domains that this provider speaks for; empty for all.
    pub domains: Vec<String>,
    /// The provider's description of itself.
    pub openid_configuration: String,
}

/// A provider.
pub struct OAuth2 {
    name: String,
    how: How,
    rules: Rules,
    cache: CacheSettings,
    /// What was said of tokens, by a keyed hash of them.
    said: Mutex<HashMap<[u8; 32], Said>>,
    key: [u8; 32],
}

struct Said {
    at: Instant,
    judged: Result<TokenClaims, NotGood>,
}

impl OAuth2 {
    /// A provider under this name.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(name: &str, how: How, rules: Rules, cache: CacheSettings) -> Result<Self, String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|why| format!("no random numbers: {why}"))?;
        Ok(Self { name: name.to_owned(), how, rules, cache, said: Mutex::default(), key })
    }

    async fn judge(&self, token: &str) -> Result<Result<TokenClaims, NotGood>, Outage> {
        let endpoint = match &self.how {
            How::Keys(keys) => {
                let opened = keys.open(token).await;
                let judged = opened.and_then(|claims| self.rules.judge(&claims, now(), Needs::End));
                return Ok(judged.map_err(NotGood));
            }
            How::Published(keys) => {
                let opened = keys.open(token).await.map_err(|why| Outage::new(&self.name, why))?;
                let judged = opened.and_then(|claims| self.rules.judge(&claims, now(), Needs::End));
                return Ok(judged.map_err(NotGood));
            }
            How::Introspection(endpoint) => endpoint,
        };
        let hash = *blake3::keyed_hash(&self.key, token.as_bytes()).as_bytes();
        if let Some(judged) = self.remembered(&hash) {
            return Ok(judged);
        }
        let answer = endpoint.ask(token).await.map_err(|why| Outage::new(&self.name, why))?;
        let judged =
            answer.and_then(|claims| self.rules.judge(&claims, now(), Needs::Nothing)).map_err(NotGood);
        self.remember(hash, &judged);
        Ok(judged)
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Result<TokenClaims, NotGood>> {
        let said = self.said.lock();
        let said = said.get(hash)?;
        let ttl = if said.judged.is_ok() { self.cache.ttl } else { self.cache.negative_ttl };
        let ended = said.judged.as_ref().is_ok_and(|claims| claims.expires.is_some_and(|end| end <= now()));
        (said.at.elapsed() < ttl && !ended).then(|| said.judged.clone())
    }

    fn remember(&self, hash: [u8; 32], judged: &Result<TokenClaims, NotGood>) {
        if self.cache.entries == 0 {
            return;
        }
        let mut said = self.said.lock();
        if said.len() >= self.cache.entries {
            let ttl = self.cache.ttl;
            said.retain(|_, said| said.judged.is_ok() && said.at.elapsed() < ttl);
            if said.len() >= self.cache.entries {
                said.clear();
            }
        }
        said.insert(hash, Said { at: Instant::now(), judged: judged.clone() });
    }
}

fn now() -> i64 {
    culver_events::clock::now().as_secs().try_into().unwrap_or(i64::MAX)
}

/// What a token must have whatever the configuration says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// An end: nobody can revoke it.
    End,
    /// Nothing: whoever said that it is good knows best.
    Nothing,
}

impl Rules {
    /// Holds claims against the rules (RFC 7519 §4.1; RFC 7662 §2.2 has the same names).
    fn judge(&self, claims: &Map<String, Value>, now: i64, needs: Needs) -> Result<TokenClaims, String> {
        let expires = time(claims, "exp")?;
        match expires {
            Some(end) if now.saturating_sub(LEEWAY) >= end => {
                return Err(format!("it ended {} s ago", now - end));
            }
            None if needs == Needs::End => return Err("it has no end (exp)".to_owned()),
            _ => {}
        }
        if let Some(start) = time(claims, "nbf")?
            && start > now.saturating_add(LEEWAY)
        {
            return Err(format!("it counts in {} s only", start - now));
        }
        let issuer = claims.get("iss").and_then(Value::as_str);
        // A provider that was asked need not say who it is.
        let unsaid = issuer.is_none() && needs == Needs::Nothing;
        if !self.issuers.is_empty() && !unsaid && !self.issuers.iter().any(|known| Some(&known[..]) == issuer)
        {
            return Err(format!("its issuer is {}", issuer.map_or("not said".to_owned(), shown)));
        }
        if !self.audience.is_empty() && !words(claims.get("aud"), false).contains(&self.audience) {
            return Err(format!("it is meant for {}", shown(&words(claims.get("aud"), false).join(" "))));
        }
        let scope = words(claims.get("scope").or(claims.get("scp")), true);
        if let Some(missing) = self.scope.split_whitespace().find(|word| !scope.iter().any(|own| own == word))
        {
            return Err(format!("its scope is {}, without {missing}", shown(&scope.join(" "))));
        }
        Ok(TokenClaims { user: self.user(claims)?, expires, scope })
    }

    /// Whose it is.
    fn user(&self, claims: &Map<String, Value>) -> Result<String, String> {
        let claim = &self.username_claim;
        let user = claims.get(claim).and_then(Value::as_str).filter(|user| !user.is_empty());
        let user =
            user.ok_or_else(|| format!("it has no {claim}, by which users are known (username_claim)"))?;
        // OpenID Connect Core 1.0 §5.1: an address that the provider has not seen to be theirs is what users say of themselves.
        if claim == "email" && claims.get("email_verified") == Some(&Value::Bool(false)) {
            return Err(format!("the provider has not verified the address {}", shown(user)));
        }
        let user = match (user.contains('@'), &self.domain[..]) {
            (true, _) => user.to_owned(),
            (false, "") => return Err(format!("{claim} is {}, which is no address", shown(user))),
            (false, domain) => format!("{user}@{domain}"),
        };
        let login = Login::parse(user.as_bytes())
            .map_err(|_| format!("{claim} is {}, which is no address", shown(&user)))?;
        if !self.domains.is_empty() && !self.domains.iter().any(|domain| domain == login.domain()) {
            return Err(format!("it is of {}, for whose domain this provider does not speak", shown(&user)));
        }
        Ok(login.to_string())
    }
}

/// A time (RFC 7519 §2, NumericDate), which may have a fraction.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, String> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole =
        value.as_i64().or_else(|| value.as_f64().filter(|f| f.abs() < 1e15).map(|f| f.floor() as i64));
    whole.map(Some).ok_or_else(|| format!("{name} is no time"))
}

/// A text or a list of texts; `split`: texts are words with blanks between (RFC 6749 §3.3).
fn words(value: Option<&Value>, split: bool) -> Vec<String> {
    let words = |text: &str| -> Vec<String> {
        if split { text.split_whitespace().map(str::to_owned).collect() } else { vec![text.to_owned()] }
    };
    match value {
        Some(Value::String(text)) => words(text),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).flat_map(words).collect(),
        _ => Vec::new(),
    }
}

/// All providers. A token is good when one of them says so.
pub struct Providers(Vec<OAuth2>);

impl Providers {
    /// These; `None` when there is none.
    pub fn new(all: Vec<OAuth2>) -> Option<Self> {
        (!all.is_empty()).then_some(Self(all))
    }
}

#[async_trait]
impl TokenVerifier for Providers {
    async fn verify(&self, token: &str) -> Result<Result<TokenClaims, NotGood>, Outage> {
        let (mut outage, mut why) = (None, Vec::new());
        for provider in &self.0 {
            match provider.judge(token).await {
                Ok(Ok(claims)) => return Ok(Ok(claims)),
                Ok(Err(NotGood(no))) => why.push(format!("{}: {no}", provider.name)),
                Err(failed) => outage = outage.or(Some(failed)),
            }
        }
        outage.map_or_else(|| Ok(Err(NotGood(why.join("; ")))), Err)
    }

    fn scope(&self) -> Option<&str> {
        self.0.iter().map(|provider| &provider.rules.scope[..]).find(|scope| !scope.is_empty())
    }

    fn configuration(&self) -> Option<&str> {
        self.0.iter().map(|provider| &provider.rules.openid_configuration[..]).find(|at| !at.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_700_000_000;

    fn rules() -> Rules {
        Rules {
            issuers: vec!["https://id.example.org/".to_owned()],
            audience: "mail".to_owned(),
            scope: "openid email".to_owned(),
            username_claim: "email".to_owned(),
            domains: vec!["example.org".to_owned()],
            ..Rules::default()
        }
    }

    fn good() -> Value {
        json!({"iss": "https://id.example.org/", "aud": ["web", "mail"], "scope": "profile email openid",
            "exp": NOW + 300, "nbf": NOW, "email": "Anna@example.org", "email_verified": true})
    }

    fn judge(rules: &Rules, claims: &Value, needs: Needs) -> Result<TokenClaims, String> {
        rules.judge(claims.as_object().unwrap(), NOW, needs)
    }

    #[test]
    fn good_claims() {
        let scope = ["profile", "email", "openid"].map(str::to_owned).to_vec();
        let user = "anna@example.org".to_owned();
        let expected = TokenClaims { user, expires: Some(NOW + 300), scope };
        assert_eq!(judge(&rules(), &good(), Needs::End), Ok(expected));
        for (name, value) in [
            ("aud", json!("mail")),
            ("exp", json!(NOW - 59)),
            ("exp", json!(NOW as f64 + 0.5)),
            ("nbf", json!(NOW + 60)),
            ("nbf", Value::Null),
            ("scope", json!(["openid", "email"])),
        ] {
            let mut claims = good();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value;
            }
            assert!(judge(&rules(), &claims, Needs::End).is_ok(), "{claims}");
        }
        // Microsoft's name for it.
        let mut claims = good();
        let scope = claims.as_object_mut().unwrap().remove("scope").unwrap();
        claims["scp"] = scope;
        assert!(judge(&rules(), &claims, Needs::End).is_ok());
        let bare = Rules {
            username_claim: "preferred_username".to_owned(),
            domain: "example.org".to_owned(),
            ..rules()
        };
        claims["preferred_username"] = json!("anna");
        assert_eq!(judge(&bare, &claims, Needs::End).unwrap().user, "anna@example.org");
    }

    #[test]
    fn bad_claims() {
        for (name, value, why) in [
            ("exp", json!(NOW - 60), "it ended 60 s ago"),
            ("exp", json!(NOW - 3600), "it ended 3600 s ago"),
            ("exp", Value::Null, "no end"),
            ("exp", json!("soon"), "exp is no time"),
            ("exp", json!(1e300), "exp is no time"),
            ("nbf", json!(NOW + 61), "in 61 s only"),
            ("iss", json!("https://evil.example/"), "its issuer is \"https://evil.example/\""),
            ("iss", Value::Null, "not said"),
            ("aud", json!("other"), "meant for \"other\""),
            ("aud", json!(["mail server"]), "meant for"),
            ("aud", Value::Null, "meant for"),
            ("scope", json!("email"), "without openid"),
            ("scope", json!("emails openid"), "without email"),
            ("email", Value::Null, "has no email"),
            ("email", json!(""), "has no email"),
            ("email", json!(7), "has no email"),
            ("email", json!("anna"), "no address"),
            ("email", json!("a@b@example.org"), "no address"),
            ("email", json!("anna@example.com"), "does not speak"),
            ("email_verified", json!(false), "has not verified"),
        ] {
            let mut claims = good();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value;
            }
            let said = judge(&rules(), &claims, Needs::End).unwrap_err();
            assert!(said.contains(why), "{claims}: {said}");
        }
        // Who was asked knows whether it has ended, and who they are.
        let mut asked = good();
        for name in ["exp", "iss"] {
            asked.as_object_mut().unwrap().remove(name);
        }
        assert!(judge(&rules(), &asked, Needs::Nothing).is_ok());
        asked["exp"] = json!(NOW - 100);
        assert!(judge(&rules(), &asked, Needs::Nothing).is_err());
    }
}
