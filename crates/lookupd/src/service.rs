//! The two services.

use crate::maps::{Map, Maps, OUTAGE, Recipients, Verdict};
use crate::policy::Step;
use crate::socketmap::Netstring;
use crate::wire::Wire;
use crate::{Answer, line, policy, socketmap, tcp_table};
use culver_directory::{Directory, Login};
use culver_net::{BoxFuture, Connection, Serve, Shutdown};
use std::sync::Arc;

/// Answers look-ups.
pub struct Lookup {
    /// The maps.
    pub maps: Arc<Maps>,
    /// The map of tcp_table, whose requests name none; without one, such requests are refused.
    pub tcp_map: Option<Map>,
}

/// Answers Postfix's `check_policy_service`.
pub struct Policy {
    /// Who is who.
    pub directory: Arc<Directory>,
    /// Whether mail is taken.
    pub recipients: Arc<dyn Recipients>,
}

impl Serve for Lookup {
    fn service(&self) -> &'static str {
        "lookup"
    }

    fn serve(self: Arc<Self>, connection: Connection, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut wire = Wire::new(connection.stream, shutdown);
            self.run(&mut wire).await;
            wire.close().await;
        })
    }
}

impl Lookup {
    /// `None` when the connection is over.
    async fn run(&self, wire: &mut Wire) -> Option<()> {
        loop {
            while wire.input().is_empty() {
                wire.fill().await?;
            }
            // A map's name never begins with a digit, and none is called `get`.
            if wire.input()[0].is_ascii_digit() {
                self.socketmap(wire).await?;
            } else {
                self.line(wire).await?;
            }
        }
    }

    async fn socketmap(&self, wire: &mut Wire) -> Option<()> {
        let mut out = Vec::new();
        loop {
            let (answer, used) = match socketmap::netstring(wire.input()) {
                Netstring::More => {
                    wire.fill().await?;
                    continue;
                }
                Netstring::Malformed => {
                    let limit = socketmap::LONGEST;
                    let why = format!("that is no netstring, or longer than {limit} octets");
                    socketmap::reply(&Answer::Wrong(why), &mut out);
                    wire.send(&out).await?;
                    return None;
                }
                Netstring::Whole(content, used) => {
                    let answer = match socketmap::request(content) {
                        Some((map, key)) => self.maps.ask(map, key).await,
                        None => Answer::Wrong("write a map's name, a space and the key".to_owned()),
                    };
                    (answer, used)
                }
            };
            wire.consume(used);
            socketmap::reply(&answer, &mut out);
            return wire.send(&out).await;
        }
    }

    async fn line(&self, wire: &mut Wire) -> Option<()> {
        let mut out = Vec::new();
        let end = loop {
            let end = memchr::memchr(b'\n', wire.input());
            if let Some(end) = end.filter(|end| *end < tcp_table::LONGEST) {
                break end;
            }
            if end.is_some() || wire.input().len() >= tcp_table::LONGEST {
                let why = format!("a line has {} octets at most", tcp_table::LONGEST);
                line::reply(&Answer::Wrong(why), &mut out);
                wire.send(&out).await?;
                return None;
            }
            wire.fill().await?;
        };
        let input = &wire.input()[..end];
        let table = input.starts_with(b"get ");
        if table {
            let answer = match (tcp_table::request(input), self.tcp_map) {
                (Some(key), Some(map)) => self.maps.look(map, &key).await,
                (Some(_), None) => {
                    Answer::Wrong("this listener has no map for tcp_table: use one of its own".to_owned())
                }
                (None, _) => Answer::Wrong("that is no request of tcp_table".to_owned()),
            };
            tcp_table::reply(&answer, &mut out);
        } else {
            let answer = match line::request(input) {
                Some((map, key)) if input.len() <= line::LONGEST => self.maps.ask(map, key).await,
                _ => Answer::Wrong("write a map's name, a space and the key".to_owned()),
            };
            line::reply(&answer, &mut out);
        }
        wire.consume(end + 1);
        wire.send(&out).await?;
        // Exim reads to the end.
        table.then_some(())
    }
}

impl Serve for Policy {
    fn service(&self) -> &'static str {
        "policy"
    }

    fn serve(self: Arc<Self>, connection: Connection, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut wire = Wire::new(connection.stream, shutdown);
            self.run(&mut wire).await;
            wire.close().await;
        })
    }
}

impl Policy {
    /// `None` when the connection is over.
    async fn run(&self, wire: &mut Wire) -> Option<()> {
        loop {
            let mut out = Vec::new();
            match policy::request(wire.input()) {
                Step::Whole(request, used) => {
                    wire.consume(used);
                    policy::reply(&self.action(&request).await, &mut out);
                    wire.send(&out).await?;
                }
                Step::More if wire.input().len() < policy::LONGEST => wire.fill().await?,
                Step::More | Step::Malformed => {
                    // Postfix asks again after a connection that broke, so it is told.
                    let why = format!(
                        "451 4.3.5 that is no policy request, or longer than {} octets",
                        policy::LONGEST
                    );
                    policy::reply(&why, &mut out);
                    wire.send(&out).await?;
                    return None;
                }
            }
        }
    }

    async fn action(&self, request: &policy::Request) -> String {
        let dunno = || "DUNNO".to_owned();
        if request.request != "smtpd_access_policy" {
            return dunno();
        }
        if let Some(refusal) = self.sender(&request.sasl_username).await {
            return refusal;
        }
        if request.recipient.is_empty() {
            return dunno();
        }
        match self.recipients.verdict(&request.recipient, request.size).await {
            // Who is not known may be known to others; Postfix has maps for that.
            Verdict::Taken | Verdict::Unknown => dunno(),
            Verdict::Refused(reply) | Verdict::Outage(reply) => reply,
        }
    }

    /// Why whoever has logged in may send nothing, if so.
    async fn sender(&self, name: &str) -> Option<String> {
        let login = Login::parse(name.as_bytes()).ok()?;
        match self.directory.find(&login).await {
            Ok(account) => {
                let reason = account?.send.off()?.to_owned();
                let reason = if reason.is_empty() { "ask your administrator".to_owned() } else { reason };
                Some(format!("554 5.7.1 This account may not send mail: {reason}"))
            }
            Err(outage) => {
                tracing::error!("look-up of {login}: {outage}");
                Some(OUTAGE.to_owned())
            }
        }
    }
}
