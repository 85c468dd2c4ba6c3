//! Where mail for an address goes: "Mailbox Routes".
//!
//! For each address, in this order: its own route, the account of this name, the same two for the address without its
//! `+detail`, the catch-all of its domain. Targets of a route are addresses, which are looked up in the same way until
//! only accounts and addresses of other domains are left; what is named twice gets the message once. A route that leads
//! to its own address means the account there: that is how a forward keeps a copy.
//!
//! A chain is at most [`DEPTH`] routes long; at most [`TARGETS`] steps are made for one address. A target that leads nowhere falls out
//! while others are left, with a line in the log. A source that cannot answer before the question is settled makes an
//! [`Outage`] of the whole: mail waits at the sender's, it never takes another way.

use crate::{Account, Directory, Login, Outage, Switch};
use std::collections::HashSet;
use std::sync::Arc;

/// So many routes may follow one another.
pub const DEPTH: usize = 10;

/// So many routes are followed and so many targets reached for one address.
pub const TARGETS: usize = 1000;

/// A route as a source has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Its address in the primary domain, lower case; `*@domain` for a catch-all.
    pub address: String,
    /// What it does.
    pub action: Action,
    /// Is it in use? Off, mail is refused with the reason.
    pub enabled: Switch,
}

/// What a route does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Gives mail to these addresses: accounts, addresses that have routes, addresses elsewhere.
    Deliver(Vec<String>),
    /// Refuses it for ever, with a text for the sender.
    Reject(String),
}

/// What becomes of mail for an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolved {
    /// It goes to all of these.
    Targets(Vec<Target>),
    /// It is refused.
    Reject {
        /// Why, as the sender reads it.
        text: String,
    },
    /// It is refused since somebody has switched the account or the route off.
    Disabled {
        /// Why, as the sender may read it; may be empty.
        reason: String,
        /// Since when, in seconds of Unix time, where known.
        since: Option<i64>,
    },
    /// Nobody has this address.
    Unknown,
}

/// One place that gets the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// An account of ours, which may receive.
    Mailbox {
        /// Whose.
        account: Arc<Account>,
        /// What stood behind the `+`, in the case in which it was written.
        detail: Option<String>,
    },
    /// An address elsewhere, for the MTA.
    Forward {
        /// As the route has it.
        address: String,
    },
}

/// The answer with the way to it, for whoever asks why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// What becomes of the mail.
    pub resolved: Resolved,
    /// The addresses of the routes that were followed, each once, in order.
    pub routes: Vec<String>,
    /// Targets in our domains that nobody has.
    pub missing: Vec<String>,
    /// Targets that lead back to a route which was followed already, where no account is.
    pub circles: Vec<String>,
    /// Accounts that get nothing since receiving is off, and routes that are off or refuse.
    pub refusing: Vec<String>,
}

/// An address that is to be looked up.
struct Stop {
    /// As it was written.
    written: String,
    /// The detail of the address that led here, for mailboxes.
    detail: Option<String>,
    /// The routes above, the nearest last.
    above: Vec<String>,
}

enum Found {
    Route(Route, Option<String>),
    Account(Arc<Account>, Option<String>),
    /// Nobody; is the domain ours, and would it have been a route above?
    Nobody {
        ours: bool,
        circle: bool,
    },
}

impl Directory {
    /// Where mail for this address goes. What is no address is unknown.
    ///
    /// # Errors
    /// When a source could not be asked that may know better, or the routes branch without end.
    pub async fn resolve(&self, address: &str) -> Result<Resolved, Outage> {
        Ok(self.way(address).await?.resolved)
    }

    /// The same, with the way to the answer.
    ///
    /// # Errors
    /// As [`Directory::resolve`].
    pub async fn way(&self, address: &str) -> Result<Way, Outage> {
        let mut walk = Walk::new(address);
        while let Some(stop) = walk.open.pop() {
            if walk.ends.contains(&(stop.written.clone(), stop.detail.clone())) {
                continue;
            }
            walk.looked += 1;
            if walk.looked > TARGETS {
                let why = format!("{address} has more than {TARGETS} targets: make fewer of its routes");
                return Err(Outage::new("routes", why));
            }
            let (found, settled) = self.look(&stop).await?;
            if settled {
                walk.ends.insert((stop.written.clone(), stop.detail.clone()));
            }
            walk.take(stop, found);
        }
        Ok(walk.end())
    }

    /// What an address is, and whether it is an end that would be the same behind other routes.
    async fn look(&self, stop: &Stop) -> Result<(Found, bool), Outage> {
        let (mut circle, mut ours, mut settled) = (false, false, true);
        let Some((whole, typed)) = parse(&stop.written) else {
            return Ok((Found::Nobody { ours, circle }, true));
        };
        let whole = self.sources().find_map(|source| source.primary(&whole)).unwrap_or(whole);
        let mut candidates = vec![(whole.clone(), None)];
        candidates.extend(self.without_detail(&whole, typed));
        for (login, detail) in candidates {
            if let Some(route) = self.route(&login).await? {
                if !stop.above.contains(&route.address) {
                    return Ok((Found::Route(route, detail), false));
                }
                (circle, ours) = (true, true);
            }
            if let Some(account) = self.find(&login).await? {
                return Ok((Found::Account(account, detail), !circle));
            }
        }
        if let Some(route) = self.catch_all(whole.domain()).await? {
            if !stop.above.contains(&route.address) {
                return Ok((Found::Route(route, None), false));
            }
            // Here nothing leads back: the catch-all names an address that nobody else has.
            (ours, settled) = (true, false);
        }
        let ours = ours || !stop.above.is_empty() && self.has_domain(whole.domain()).await?;
        Ok((Found::Nobody { ours, circle }, settled && !circle))
    }

    /// The address without its detail, and the detail in the case in which it was typed.
    fn without_detail(&self, login: &Login, typed: &str) -> Option<(Login, Option<String>)> {
        let at = login.local().find(|c| self.delimiters().contains(c)).filter(|at| *at > 0)?;
        let base = Login::parse(format!("{}@{}", &login.local()[..at], login.domain()).as_bytes()).ok()?;
        let at = typed.find(|c| self.delimiters().contains(c))?;
        let detail = typed[at..].chars().skip(1).collect::<String>();
        Some((base, Some(detail).filter(|detail| !detail.is_empty())))
    }

    /// The route of exactly this address. The first source that has one counts; one that cannot be asked before that
    /// settles it.
    ///
    /// # Errors
    /// When a source could not be asked.
    pub async fn route(&self, address: &Login) -> Result<Option<Route>, Outage> {
        for source in self.sources() {
            if let Some(route) = source.route(address).await? {
                return Ok(Some(route));
            }
        }
        Ok(None)
    }

    /// The route of a domain for addresses that nobody has.
    ///
    /// # Errors
    /// When a source could not be asked.
    pub async fn catch_all(&self, domain: &str) -> Result<Option<Route>, Outage> {
        for source in self.sources() {
            if let Some(route) = source.catch_all(domain).await? {
                return Ok(Some(route));
            }
        }
        Ok(None)
    }

    /// Is this a primary or secondary domain of ours? In lower case, as [`Login::domain`] has it.
    ///
    /// # Errors
    /// When no source says yes and at least one could not be asked.
    pub async fn has_domain(&self, domain: &str) -> Result<bool, Outage> {
        let mut outage = None;
        for link in self.accounts() {
            // What the configuration says needs no question.
            if !link.domains.is_empty() {
                if link.domains.iter().any(|own| own == domain) {
                    return Ok(true);
                }
                continue;
            }
            match link.source.has_domain(domain).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(why) => outage = outage.or(Some(why)),
            }
        }
        outage.map_or(Ok(false), Err)
    }
}

/// What is known while an address is resolved.
struct Walk {
    open: Vec<Stop>,
    looked: usize,
    /// Addresses that led to no route, with the detail that they were given: they need not be looked at again.
    ends: HashSet<(String, Option<String>)>,
    got: HashSet<(String, Option<String>)>,
    targets: Vec<Target>,
    /// The first refusal: it is told when nobody gets the message.
    refusal: Option<Resolved>,
    way: Way,
}

impl Walk {
    fn new(address: &str) -> Self {
        let first = Stop { written: address.to_owned(), detail: None, above: Vec::new() };
        let way = Way {
            resolved: Resolved::Unknown,
            routes: Vec::new(),
            missing: Vec::new(),
            circles: Vec::new(),
            refusing: Vec::new(),
        };
        Self {
            open: vec![first],
            looked: 0,
            ends: HashSet::new(),
            got: HashSet::new(),
            targets: Vec::new(),
            refusal: None,
            way,
        }
    }

    fn take(&mut self, stop: Stop, found: Found) {
        match found {
            Found::Route(route, detail) => self.follow(stop, route, detail),
            Found::Account(account, detail) => {
                let detail = detail.or(stop.detail);
                if let Switch::Off { reason, since } = &account.receive {
                    self.refuse(&account.name, Resolved::Disabled { reason: reason.clone(), since: *since });
                } else if self.got.insert((account.name.clone(), detail.clone())) {
                    self.targets.push(Target::Mailbox { account, detail });
                }
            }
            Found::Nobody { circle: true, .. } => {
                tracing::warn!("route {} leads back to {}: change it", name(&stop), stop.written);
                push(&mut self.way.circles, &stop.written);
            }
            // The address that was asked for.
            Found::Nobody { .. } if stop.above.is_empty() => {}
            Found::Nobody { ours: true, .. } => {
                tracing::warn!("route {}: there is no {}: change it or add that", name(&stop), stop.written);
                push(&mut self.way.missing, &stop.written);
            }
            Found::Nobody { ours: false, .. } => {
                let key =
                    parse(&stop.written).map_or_else(|| stop.written.clone(), |(login, _)| login.to_string());
                if self.got.insert((key, None)) {
                    self.targets.push(Target::Forward { address: stop.written });
                }
            }
        }
    }

    fn follow(&mut self, stop: Stop, route: Route, detail: Option<String>) {
        let detail = detail.or(stop.detail);
        push(&mut self.way.routes, &route.address);
        if let Switch::Off { reason, since } = route.enabled {
            return self.refuse(&route.address, Resolved::Disabled { reason, since });
        }
        let targets = match route.action {
            Action::Reject(text) => return self.refuse(&route.address, Resolved::Reject { text }),
            Action::Deliver(targets) => targets,
        };
        let mut above = stop.above;
        if above.len() >= DEPTH {
            tracing::warn!("route {}: more than {DEPTH} routes in a row: shorten the chain", route.address);
            push(&mut self.way.circles, &stop.written);
            return;
        }
        above.push(route.address);
        // The last is taken first.
        let next = |written| Stop { written, detail: detail.clone(), above: above.clone() };
        self.open.extend(targets.into_iter().rev().map(next));
    }

    fn refuse(&mut self, who: &str, refusal: Resolved) {
        push(&mut self.way.refusing, who);
        self.refusal.get_or_insert(refusal);
    }

    fn end(self) -> Way {
        let resolved = match self.targets {
            targets if targets.is_empty() => self.refusal.unwrap_or(Resolved::Unknown),
            targets => Resolved::Targets(targets),
        };
        Way { resolved, ..self.way }
    }
}

/// Each is told once.
fn push(list: &mut Vec<String>, what: &str) {
    if !list.iter().any(|known| known == what) {
        list.push(what.to_owned());
    }
}

fn name(stop: &Stop) -> &str {
    stop.above.last().map_or("", String::as_str)
}

/// An address of mail: as a login, but `#` is no `@` in it. With its local part as it was written.
fn parse(address: &str) -> Option<(Login, &str)> {
    let (local, _) = address.trim().rsplit_once('@')?;
    Some((Login::parse(address.as_bytes()).ok()?, local))
}
