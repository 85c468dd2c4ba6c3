//! The server's end of SCRAM.

use super::Stored;
use super::message::{ClientFinal, ClientFirst};
use crate::Malformed;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

/// An exchange of which the first message was answered.
pub struct Server {
    first: ClientFirst,
    stored: Stored,
    server_first: String,
    nonce: String,
    channel: Vec<u8>,
}

/// The client has not proven who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Its message breaks the grammar.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The nonce or the channel is another: a replay, or somebody between us.
    #[error("the channel binding or the nonce does not match")]
    Mismatch,
    /// It does not know the password.
    #[error("the proof is wrong")]
    Proof,
}

impl Server {
    /// Answers the first message. `channel` is the data of the binding that the client chose; empty when it chose none.
    pub fn new(first: ClientFirst, stored: Stored, server_nonce: &str, channel: Vec<u8>) -> Self {
        let nonce = format!("{}{server_nonce}", first.nonce);
        let server_first = format!("r={nonce},s={},i={}", STANDARD.encode(&stored.salt), stored.iterations);
        Self { first, stored, server_first, nonce, channel }
    }

    /// `server-first-message`.
    pub fn challenge(&self) -> &str {
        &self.server_first
    }

    /// Looks at the client's final message; gives `server-final-message`.
    ///
    /// # Errors
    /// When the client has not proven that it knows the password on this channel.
    pub fn finish(&self, message: &[u8]) -> Result<String, Refused> {
        let last = ClientFinal::parse(message)?;
        let proof = STANDARD.decode(last.proof).map_err(|_| super::message::malformed("base64 in p="))?;
        let expected = STANDARD.encode([self.first.header.as_bytes(), &self.channel].concat());
        if last.nonce != self.nonce || last.binding != expected {
            return Err(Refused::Mismatch);
        }
        let (hash, stored) = (self.stored.hash, &self.stored);
        let text = format!("{},{},{}", self.first.bare, self.server_first, last.without_proof);
        let signature = hash.hmac(&stored.stored_key, text.as_bytes());
        if proof.len() != signature.len() {
            return Err(Refused::Proof);
        }
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(p, s)| p ^ s).collect();
        if !bool::from(hash.digest(&client_key).ct_eq(&stored.stored_key)) {
            return Err(Refused::Proof);
        }
        Ok(format!("v={}", STANDARD.encode(hash.hmac(&stored.server_key, text.as_bytes()))))
    }
}
