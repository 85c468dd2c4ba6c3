//! The maps: what each says of a key.

use crate::Answer;
use async_trait::async_trait;
use culver_directory::{Directory, Login, Outage, Resolved, Target};
use std::sync::Arc;

/// A map. The key is an address, but for [`Map::Domain`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Map {
    /// Is this domain, primary or secondary, ours? The value is the domain.
    Domain,
    /// Does somebody have this address, by whatever route? The value is the address. What would be refused for another
    /// reason than that nobody has it is found: the reason is told by `access`, the policy service or LMTP.
    Mailbox,
    /// Addresses whose mail goes to other domains alone: the targets, with commas between. What has a mailbox among its
    /// targets is not found, since delivery sends the rest on by itself.
    Virtual,
    /// All targets of a route, accounts by their canonical names, with commas between. For MTAs that do not deliver by
    /// Culver: together with its delivery, everything would be forwarded twice.
    Alias,
    /// The SMTP reply with which mail for this address is refused now; not found when it is taken, or unknown.
    Access,
    /// Which accounts may send as this address, with commas between: those that get its mail and may send.
    Sender,
}

impl Map {
    /// All of them, by the names that MTAs use.
    pub const ALL: [(&'static str, Map); 6] = [
        ("domain", Map::Domain),
        ("mailbox", Map::Mailbox),
        ("virtual", Map::Virtual),
        ("alias", Map::Alias),
        ("access", Map::Access),
        ("sender", Map::Sender),
    ];

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, map)| *map)
    }
}

/// What would become of a message for a recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is taken.
    Taken,
    /// Nobody has the address.
    Unknown,
    /// It is refused with this reply, such as `550 5.2.1 ...`.
    Refused(String),
    /// Nobody can tell now; the reply for the client.
    Outage(String),
}

/// Who knows whether mail is taken. The delivery does, so that an MTA hears before what LMTP would say later.
#[async_trait]
pub trait Recipients: Send + Sync + 'static {
    /// What would become of a message of so many octets (0: not known) for this address.
    async fn verdict(&self, address: &str, octets: u64) -> Verdict;
}

/// By routes and switches alone, without quotas.
pub struct ByDirectory(pub Arc<Directory>);

#[async_trait]
impl Recipients for ByDirectory {
    async fn verdict(&self, address: &str, _: u64) -> Verdict {
        let or = |text: &str, otherwise: &str| {
            if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
        };
        match self.0.resolve(address).await {
            Ok(Resolved::Targets(_)) => Verdict::Taken,
            Ok(Resolved::Unknown) => Verdict::Unknown,
            Ok(Resolved::Reject { text }) => {
                Verdict::Refused(format!("550 5.7.1 {}", or(&text, "This address takes no mail")))
            }
            Ok(Resolved::Disabled { reason, .. }) => {
                Verdict::Refused(format!("550 5.2.1 {}", or(&reason, "This mailbox takes no mail")))
            }
            Err(outage) => {
                tracing::error!("look-up of {address}: {outage}");
                Verdict::Outage(OUTAGE.to_owned())
            }
        }
    }
}

/// What clients hear when the directory does not answer.
pub(crate) const OUTAGE: &str = "451 4.4.3 The directory of accounts does not answer; try again later";

/// Answers from one table.
pub struct Maps {
    /// Who is who.
    pub directory: Arc<Directory>,
    /// Whether mail is taken.
    pub recipients: Arc<dyn Recipients>,
}

impl Maps {
    /// What the map of this name says of a key.
    pub async fn ask(&self, name: &str, key: &str) -> Answer {
        let Some(map) = Map::named(name) else {
            let names: Vec<_> = Map::ALL.iter().map(|(name, _)| *name).collect();
            return Answer::Wrong(format!("there is no such map; maps are {}", names.join(", ")));
        };
        self.look(map, key).await
    }

    /// What a map says of a key.
    pub async fn look(&self, map: Map, key: &str) -> Answer {
        let key = key.trim();
        if map != Map::Domain && !key.contains('@') {
            // Postfix asks for `anna` and `@example.com` as well.
            return Answer::NotFound;
        }
        let found = match map {
            Map::Domain => self.domain(key).await,
            Map::Mailbox | Map::Access => return self.verdict(map, key).await,
            Map::Virtual => self.elsewhere(key).await,
            Map::Alias => self.targets(key).await,
            Map::Sender => self.senders(key).await,
        };
        match found {
            Ok(Some(value)) => Answer::Found(value),
            Ok(None) => Answer::NotFound,
            Err(outage) => {
                tracing::error!("look-up of {key}: {outage}");
                Answer::Temporary("the directory of accounts does not answer".to_owned())
            }
        }
    }

    async fn verdict(&self, map: Map, key: &str) -> Answer {
        match (self.recipients.verdict(key, 0).await, map) {
            (Verdict::Outage(_), _) => {
                Answer::Temporary("the directory of accounts does not answer".to_owned())
            }
            (Verdict::Unknown, _) | (Verdict::Taken, Map::Access) => Answer::NotFound,
            (Verdict::Refused(reply), Map::Access) => Answer::Found(reply),
            (Verdict::Taken | Verdict::Refused(_), _) => Answer::Found(key.to_owned()),
        }
    }

    async fn domain(&self, key: &str) -> Result<Option<String>, Outage> {
        // The login rule knows what a domain can be.
        let Ok(any) = Login::parse(format!("x@{key}").as_bytes()) else { return Ok(None) };
        let ours = self.directory.has_domain(any.domain()).await?;
        Ok(ours.then(|| any.domain().to_owned()))
    }

    async fn elsewhere(&self, key: &str) -> Result<Option<String>, Outage> {
        let Resolved::Targets(targets) = self.directory.resolve(key).await? else { return Ok(None) };
        let outside = |target| match target {
            Target::Forward { address } => Some(address),
            Target::Mailbox { .. } => None,
        };
        let all: Option<Vec<String>> = targets.into_iter().map(outside).collect();
        Ok(all.map(|all| all.join(",")))
    }

    async fn targets(&self, key: &str) -> Result<Option<String>, Outage> {
        let way = self.directory.way(key).await?;
        let Resolved::Targets(targets) = way.resolved else { return Ok(None) };
        // An account without a route is not an alias of itself.
        if way.routes.is_empty() {
            return Ok(None);
        }
        let address = |target| match target {
            Target::Forward { address } => address,
            Target::Mailbox { account, .. } => account.name.clone(),
        };
        Ok(Some(targets.into_iter().map(address).collect::<Vec<_>>().join(",")))
    }

    async fn senders(&self, key: &str) -> Result<Option<String>, Outage> {
        // Catch-alls are for receiving: nobody may send as all addresses of a domain.
        let way = self.directory.way(key).await?;
        let Resolved::Targets(targets) = way.resolved else { return Ok(None) };
        if way.routes.iter().any(|route| route.starts_with("*@")) {
            return Ok(None);
        }
        let may = |target| match target {
            Target::Mailbox { account, .. } if account.send.off().is_none() => Some(account.name.clone()),
            _ => None,
        };
        let names: Vec<String> = targets.into_iter().filter_map(may).collect();
        Ok((!names.is_empty()).then(|| names.join(",")))
    }
}
