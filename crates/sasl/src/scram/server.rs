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
    stored: Vec<Stored>,
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
        Self { first, stored: vec![stored], server_first, nonce, channel }
    }

    /// Takes other passwords for right as well. Only those of the same salt, iterations and hash can be: the client is told
    /// these before it says anything of its password.
    #[must_use]
    pub fn or(mut self, others: impl IntoIterator<Item = Stored>) -> Self {
        self.stored.extend(others);
        self
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
        self.finish_by(message).map(|(_, last)| last)
    }

    /// The same, telling which password it was: 0 for the first, then those of [`Server::or`].
    ///
    /// # Errors
    /// As [`Server::finish`].
    pub fn finish_by(&self, message: &[u8]) -> Result<(usize, String), Refused> {
        let last = ClientFinal::parse(message)?;
        let proof = STANDARD.decode(last.proof).map_err(|_| super::message::malformed("base64 in p="))?;
        let expected = STANDARD.encode([self.first.header.as_bytes(), &self.channel].concat());
        if last.nonce != self.nonce || last.binding != expected {
            return Err(Refused::Mismatch);
        }
        let text = format!("{},{},{}", self.first.bare, self.server_first, last.without_proof);
        let proves = |stored: &Stored| {
            let hash = stored.hash;
            let signature = hash.hmac(&stored.stored_key, text.as_bytes());
            let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(p, s)| p ^ s).collect();
            let same: bool = hash.digest(&client_key).ct_eq(&stored.stored_key).into();
            same && proof.len() == signature.len() && stored.like(&self.stored[0])
        };
        let index = self.stored.iter().position(proves).ok_or(Refused::Proof)?;
        let stored = &self.stored[index];
        let signature = stored.hash.hmac(&stored.server_key, text.as_bytes());
        Ok((index, format!("v={}", STANDARD.encode(signature))))
    }
}
