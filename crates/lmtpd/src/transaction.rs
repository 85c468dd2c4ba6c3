//! A mail transaction: the sender, the recipients that were taken, and the message as far as it has come.

use crate::service::LmtpService;
use culver_deliver::{Incoming, Recipient};
use culver_lmtp::{Body, Mail, Reply};

/// From MAIL to the end of the message, or RSET.
pub struct Transaction {
    /// MAIL FROM.
    pub mail: Mail,
    /// Whoever was answered with 250, in order.
    pub recipients: Vec<Recipient>,
    /// Chunks of BDAT have come: DATA is not possible any more.
    pub chunks: Option<Incoming>,
    /// A chunk was refused; those behind it are too.
    pub broken: bool,
}

impl Transaction {
    /// Begins one.
    ///
    /// # Errors
    /// With the reply, when the message would be too large (RFC 1870 §6.1).
    pub fn begin(mail: Mail, service: &LmtpService) -> Result<Self, Reply> {
        match (mail.size, service.settings.message_limit) {
            (Some(size), Some(limit)) if size > limit => Err(culver_deliver::answer::too_big(limit)),
            _ => Ok(Self { mail, recipients: Vec::new(), chunks: None, broken: false }),
        }
    }

    /// May DATA come?
    ///
    /// # Errors
    /// With the reply.
    pub fn may_send(&self) -> Result<(), Reply> {
        if self.chunks.is_some() || self.broken {
            // RFC 3030 §2
            return Err(Reply::new(503, 5, 1, "After BDAT the message goes on with BDAT"));
        }
        if self.mail.body == Body::BinaryMime {
            // RFC 3030 §3
            return Err(Reply::new(503, 5, 1, "A BINARYMIME message is sent with BDAT"));
        }
        if self.recipients.is_empty() {
            // RFC 2033 §4.2
            return Err(Reply::new(503, 5, 1, "There is no recipient that is to be had: begin with RCPT TO"));
        }
        Ok(())
    }
}

/// A message that begins to arrive.
pub fn incoming(service: &LmtpService) -> Incoming {
    let settings = &service.settings;
    Incoming::new(service.deliver.io.clone(), settings.spool.clone(), settings.inline, settings.message_limit)
}
