//! Tokens that the provider is asked about: introspection (RFC 7662), or an endpoint that answers to the token's bearer.

use crate::http::Endpoint;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::AUTHORIZATION;
use serde_json::{Map, Value};

/// How the provider is asked; Dovecot's `introspection_mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The token in a form, as RFC 7662 has it.
    Post,
    /// As the token's bearer (`Authorization: Bearer`), such as OpenID's userinfo.
    Auth,
    /// The token behind the address.
    Get,
}

/// An endpoint.
pub struct Introspection {
    /// Where.
    pub endpoint: Endpoint,
    /// How.
    pub mode: Mode,
    /// As whom; empty for nobody.
    pub client_id: String,
    /// With which secret.
    pub client_secret: String,
}

impl Introspection {
    /// What the provider says of the token; `Ok(Err(..))` when it is not good.
    ///
    /// # Errors
    /// When there is no answer, or none that can be understood.
    pub async fn ask(&self, token: &str) -> Result<Result<Map<String, Value>, String>, String> {
        let mut body = String::new();
        let mut request = match self.mode {
            Mode::Post => {
                body = format!("token={}&token_type_hint=access_token", form(token));
                let request = self.endpoint.request("POST", "");
                request.header("Content-Type", "application/x-www-form-urlencoded")
            }
            Mode::Auth => self.endpoint.request("GET", "").header(AUTHORIZATION, format!("Bearer {token}")),
            Mode::Get => self.endpoint.request("GET", &form(token)),
        };
        if !self.client_id.is_empty() && self.mode != Mode::Auth {
            // RFC 6749 §2.3.1: both are encoded first.
            let pair = format!("{}:{}", form(&self.client_id), form(&self.client_secret));
            request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
        }
        let request = request.body(body.into_bytes().into()).map_err(|why| why.to_string())?;
        let (status, body) = self.endpoint.ask(request).await?;
        match (status.as_u16(), self.mode) {
            (200, _) => {}
            (400 | 401 | 403, Mode::Auth | Mode::Get) => {
                return Ok(Err("the provider refuses it".to_owned()));
            }
            (401 | 403, Mode::Post) => {
                return Err(format!("it answers {status}: are client_id and client_secret right?"));
            }
            _ => return Err(format!("it answers {status}")),
        }
        let answer: Map<String, Value> =
            serde_json::from_slice(&body).map_err(|why| format!("its answer is no JSON object: {why}"))?;
        match (answer.get("active"), self.mode) {
            (Some(Value::Bool(true)), _) => Ok(Ok(answer)),
            (Some(Value::Bool(false)), _) => Ok(Err("the provider says that it is not active".to_owned())),
            // RFC 7662 is not what userinfo and its like answer by.
            (None, Mode::Auth | Mode::Get) => Ok(Ok(answer)),
            _ => Err("its answer does not say whether the token is active: is it an introspection endpoint?"
                .to_owned()),
        }
    }
}

/// As in forms: what is not a letter, digit or one of `-._~` is escaped.
fn form(text: &str) -> String {
    let mut out = String::new();
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
    out
}
