//! Routes. A route belongs to a primary domain and counts in every secondary one.
//!
//! Whether targets lead anywhere is not looked at here: they may belong to other sources.

use super::statement::{Db, Error, Failed, Row, values};
use super::store::now;
use super::verbs;
use super::{Builtin, Inner, LONGEST_TEXT, MOST_TARGETS, Problem};
use crate::login::domain_name;
use crate::{Action, Login, Route, Switch};

/// A target in each row; a route without any is a row as well. In one statement, so that nobody sees half of a change.
const SELECT: &str = "SELECT r.local, r.domain, reject, off_reason, off_since, address
    FROM route r LEFT JOIN route_target t ON t.domain = r.domain AND t.local = r.local";

const ORDER: &str = "ORDER BY r.domain, r.local, position";

/// The route of a local part (empty: the catch-all) in a primary or secondary domain.
pub(super) fn find(inner: &Inner, local: &str, domain: &str) -> Result<Option<Route>, Problem> {
    inner.read(|db| select(db, local, domain))
}

pub(super) fn select(db: &Db<'_>, local: &str, domain: &str) -> Result<Option<Route>, Error> {
    Ok(gathered(&db.rows(&found_by(), values![local, domain])?)?.pop())
}

/// How the route of a local part and a domain is found.
pub(super) fn found_by() -> String {
    format!(
        "{SELECT} WHERE r.local = ?1 AND r.domain = coalesce((SELECT domain FROM domain_alias WHERE name = ?2), ?2)
         {ORDER}"
    )
}

/// Rows of one route follow each other.
fn gathered(rows: &[Row]) -> Result<Vec<Route>, Error> {
    let mut routes: Vec<Route> = Vec::new();
    for row in rows {
        let address = shown(&row.get::<String>(0)?, &row.get::<String>(1)?);
        let target: Option<String> = row.get(5)?;
        if let Some(Route { action: Action::Deliver(targets), .. }) =
            routes.last_mut().filter(|last| last.address == address)
        {
            targets.extend(target);
            continue;
        }
        let action = match row.get::<Option<String>>(2)? {
            Some(text) => Action::Reject(text),
            None => Action::Deliver(target.into_iter().collect()),
        };
        let since = row.get(4)?;
        let off: Option<String> = row.get(3)?;
        let enabled = off.map_or(Switch::On, |reason| Switch::Off { reason, since });
        routes.push(Route { address, action, enabled });
    }
    Ok(routes)
}

fn shown(local: &str, domain: &str) -> String {
    format!("{}@{domain}", if local.is_empty() { "*" } else { local })
}

/// The local part (empty: the catch-all) and the domain of an address that can have a route.
fn key(address: &str) -> Result<(String, String), Problem> {
    let address = address.trim();
    let wrong = || Problem::NotARoute(address.to_owned());
    let (local, domain) = address.rsplit_once('@').ok_or_else(wrong)?;
    if matches!(local, "" | "*") {
        return Ok((String::new(), domain_name(domain).ok_or_else(wrong)?));
    }
    let login = Login::parse(address.as_bytes()).map_err(|_| wrong())?;
    Ok((login.local().to_owned(), login.domain().to_owned()))
}

/// A target as it is stored: the local part as written, since it may be somebody else's, the domain canonical.
fn target(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    let wrong = || Problem::NotATarget(text.to_owned());
    let (local, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
    let domain = domain_name(domain).ok_or_else(wrong)?;
    // RFC 5322 §3.2.3: what a local part without quotes is made of; with SMTPUTF8 also what is not ASCII.
    let atom = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let dots = local.split('.').all(|part| !part.is_empty() && part.chars().all(atom));
    let short = local.len() <= 64 && local.len() + 1 + domain.len() <= Login::MAX;
    let target = format!("{local}@{domain}");
    (dots && short && local != "*").then_some(target).ok_or_else(wrong)
}

fn checked(action: &Action) -> Result<Action, Problem> {
    match action {
        Action::Reject(text) => {
            let text = text.trim();
            let printable = text.bytes().all(|b| matches!(b, b' '..=b'~'));
            if text.is_empty() {
                return Err(Problem::NoTargets);
            }
            (printable && text.len() <= LONGEST_TEXT)
                .then(|| Action::Reject(text.to_owned()))
                .ok_or(Problem::NotAText)
        }
        Action::Deliver(targets) => {
            let mut stored: Vec<String> = Vec::new();
            for text in targets {
                let target = target(text)?;
                if !stored.iter().any(|other| other.eq_ignore_ascii_case(&target)) {
                    stored.push(target);
                }
            }
            match stored.len() {
                0 => Err(Problem::NoTargets),
                1..=MOST_TARGETS => Ok(Action::Deliver(stored)),
                _ => Err(Problem::TooManyTargets),
            }
        }
    }
}

fn store_action(t: &Db<'_>, local: &str, domain: &str, action: &Action) -> Result<(), Error> {
    t.execute("DELETE FROM route_target WHERE local = ?1 AND domain = ?2", values![local, domain])?;
    let (reject, targets) = match action {
        Action::Reject(text) => (Some(text), &[][..]),
        Action::Deliver(targets) => (None, &targets[..]),
    };
    t.execute(
        "UPDATE route SET reject = ?3 WHERE local = ?1 AND domain = ?2",
        values![local, domain, reject],
    )?;
    for (position, address) in targets.iter().enumerate() {
        t.execute(
            "INSERT INTO route_target (local, domain, position, address) VALUES (?1, ?2, ?3, ?4)",
            values![local, domain, position as u64, address],
        )?;
    }
    Ok(())
}

/// The routes with a target that is this account, in any of its domains.
pub(super) fn leading_to(t: &Db<'_>, name: &str) -> Result<Vec<String>, Error> {
    let mut routes = Vec::new();
    for row in t.rows("SELECT local, domain, address FROM route_target ORDER BY domain, local", &[])? {
        if canonical(t, &row.get::<String>(2)?)?.as_deref() == Some(name) {
            routes.push(shown(&row.get::<String>(0)?, &row.get::<String>(1)?));
        }
    }
    routes.dedup();
    Ok(routes)
}

/// Targets that are this account are the other name from now on.
pub(super) fn retarget(t: &Db<'_>, old: &str, new: &str) -> Result<(), Error> {
    for row in t.rows("SELECT DISTINCT address FROM route_target", &[])? {
        let address: String = row.get(0)?;
        if canonical(t, &address)?.as_deref() == Some(old) {
            t.execute("UPDATE route_target SET address = ?2 WHERE address = ?1", values![address, new])?;
        }
    }
    Ok(())
}

/// The address in its primary domain, if it is one of ours.
fn canonical(t: &Db<'_>, address: &str) -> Result<Option<String>, Error> {
    let Ok(login) = Login::parse(address.as_bytes()) else { return Ok(None) };
    Ok(verbs::primary(t, login.domain())?.map(|domain| format!("{}@{domain}", login.local())))
}

impl Builtin {
    /// Adds a route to a domain that exists. Gives its address in the primary domain.
    ///
    /// # Errors
    /// When it exists, its domain does not, or address or action cannot be those of a route.
    pub fn add_route(&self, address: &str, action: &Action) -> Result<String, Problem> {
        let ((local, domain), action) = (key(address)?, checked(action)?);
        self.inner.write(|t| {
            let domain = verbs::primary(t, &domain)?.ok_or(Problem::NoDomain(domain))?;
            let name = shown(&local, &domain);
            if select(t, &local, &domain)?.is_some() {
                return Err(Problem::RouteExists(name).into());
            }
            t.execute("INSERT INTO route (local, domain) VALUES (?1, ?2)", values![&local, &domain])?;
            store_action(t, &local, &domain, &action)?;
            Ok(name)
        })
    }

    /// Gives a route another action. Gives its address in the primary domain.
    ///
    /// # Errors
    /// When there is none, or the action cannot be that of a route.
    pub fn change_route(&self, address: &str, action: &Action) -> Result<String, Problem> {
        let action = checked(action)?;
        self.edit_route(address, |t, local, domain| Ok(store_action(t, local, domain, &action)?))
    }

    /// Turns a route off, with a reason and from now on, or on again. Gives its address in the primary domain.
    ///
    /// # Errors
    /// When there is none, or the reason is not one line.
    pub fn set_route_switch(&self, address: &str, off: Option<&str>) -> Result<String, Problem> {
        if off.is_some_and(|reason| {
            reason.len() > LONGEST_TEXT || !reason.bytes().all(|b| matches!(b, b' '..=b'~'))
        }) {
            return Err(Problem::NotAText);
        }
        self.edit_route(address, |t, local, domain| {
            let sql = "UPDATE route SET off_reason = ?3, off_since = ?4 WHERE local = ?1 AND domain = ?2";
            t.execute(sql, values![local, domain, off, off.map(|_| now())])?;
            Ok(())
        })
    }

    /// Removes a route. Gives what it was.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove_route(&self, address: &str) -> Result<Route, Problem> {
        let route = self.route_at(address)?;
        self.edit_route(address, |t, local, domain| {
            t.execute("DELETE FROM route WHERE local = ?1 AND domain = ?2", values![local, domain])?;
            Ok(())
        })?;
        Ok(route)
    }

    /// One route, by its address in any of its domains.
    ///
    /// # Errors
    /// When there is none.
    pub fn route_at(&self, address: &str) -> Result<Route, Problem> {
        let (local, domain) = key(address)?;
        find(&self.inner, &local, &domain)?.ok_or_else(|| Problem::NoRoute(shown(&local, &domain)))
    }

    /// All routes, sorted by domain and name, a catch-all first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn routes(&self) -> Result<Vec<Route>, Problem> {
        self.inner.read(|db| gathered(&db.rows(&format!("{SELECT} {ORDER}"), &[])?))
    }

    fn edit_route(
        &self,
        address: &str,
        work: impl FnOnce(&Db<'_>, &str, &str) -> Result<(), Failed>,
    ) -> Result<String, Problem> {
        let (local, domain) = key(address)?;
        self.inner.write(|t| {
            let domain = verbs::primary(t, &domain)?.ok_or(Problem::NoDomain(domain))?;
            let name = shown(&local, &domain);
            if select(t, &local, &domain)?.is_none() {
                return Err(Problem::NoRoute(name).into());
            }
            work(t, &local, &domain)?;
            Ok(name)
        })
    }
}
