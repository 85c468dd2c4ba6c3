//! The client's end of SCRAM, for tests and for programs that log in elsewhere.

use super::message::{escape, malformed};
use super::{Hash, prepare};
use crate::Malformed;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A client that has not yet spoken.
pub struct Client {
    hash: Hash,
    password: Vec<u8>,
    header: String,
    bare: String,
    nonce: String,
    channel: Vec<u8>,
}

impl Client {
    /// Without channel binding. The nonce must be random, see [`super::nonce`].
    pub fn new(hash: Hash, user: &str, password: &[u8], nonce: &str) -> Self {
        Self {
            hash,
            password: password.to_vec(),
            header: "n,,".to_owned(),
            bare: format!("n={},r={nonce}", escape(user)),
            nonce: nonce.to_owned(),
            channel: Vec::new(),
        }
    }

    /// Bound to a channel: the type's name and its data.
    #[must_use]
    pub fn bound(self, name: &str, channel: &[u8]) -> Self {
        Self { header: format!("p={name},,"), channel: channel.to_vec(), ..self }
    }

    /// `client-first-message`.
    pub fn first(&self) -> String {
        format!("{}{}", self.header, self.bare)
    }

    /// The client's final message and the server's, which must come back exactly so.
    ///
    /// # Errors
    /// When the server's first message is not an answer to ours.
    pub fn last(&self, server_first: &str) -> Result<(String, String), Malformed> {
        let mut fields = server_first.split(',');
        let mut field = |name| fields.next().and_then(|f| f.strip_prefix(name)).ok_or(malformed("r=,s=,i="));
        let (nonce, salt, iterations) = (field("r=")?, field("s=")?, field("i=")?);
        let salt = STANDARD.decode(salt).map_err(|_| malformed("base64 in s="))?;
        let iterations: u32 = iterations.parse().map_err(|_| malformed("a number in i="))?;
        if !nonce.starts_with(&self.nonce) || !(1..=super::MOST_ITERATIONS).contains(&iterations) {
            return Err(malformed("our nonce, and a number of iterations that can be borne"));
        }
        let hash = self.hash;
        let salted = hash.salted_password(&prepare(&self.password), &salt, iterations);
        let key = hash.hmac(&salted, b"Client Key");
        let binding = STANDARD.encode([self.header.as_bytes(), &self.channel].concat());
        let without_proof = format!("c={binding},r={nonce}");
        let text = format!("{},{server_first},{without_proof}", self.bare);
        let signature = hash.hmac(&hash.digest(&key), text.as_bytes());
        let proof: Vec<u8> = key.iter().zip(&signature).map(|(k, s)| k ^ s).collect();
        let server = hash.hmac(&hash.hmac(&salted, b"Server Key"), text.as_bytes());
        Ok((
            format!("{without_proof},p={}", STANDARD.encode(proof)),
            format!("v={}", STANDARD.encode(server)),
        ))
    }
}
