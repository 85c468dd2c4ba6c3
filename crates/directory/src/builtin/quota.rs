//! What is kept of quota: limits that are set here, whatever the source of an account is, and how far each account
//! has come in its life cycle. The words of the states are `culver_quota`'s; here they are texts and numbers.

use super::statement::{Db, Error, Failed, Row, values};
use super::store::Concerns;
use super::verbs::{halves, primary};
use super::{Builtin, Problem};
use crate::{Login, QuotaLimits};

/// The limits that are set for an account or a domain; `None` leaves them to the next.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SetLimits {
    /// Octets.
    pub storage: Option<u64>,
    /// Messages.
    pub messages: Option<u64>,
    /// Octets of one message.
    pub message_size: Option<u64>,
    /// Mailboxes.
    pub mailboxes: Option<u64>,
    /// The language in which the account is told.
    pub language: Option<String>,
}

/// How far an account has come.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Kept {
    /// The state's name.
    pub state: String,
    /// Its threshold.
    pub percent: u8,
    /// Since when.
    pub since: i64,
    /// Did we turn the account's switch off?
    pub switched: bool,
    /// Steps of which the user and the administrator have still to be told, in the keeper's words.
    pub pending: String,
    /// Until when one of the servers is telling them; 0 for none of them.
    pub telling: i64,
    /// Octets, when it was last looked at.
    pub storage: u64,
    /// Messages.
    pub messages: u64,
    /// When that was; 0 for never.
    pub seen: i64,
    /// When every file was last counted.
    pub checked: i64,
}

/// An account with what is kept of it.
pub type KeptAccount = (String, Kept);

const SELECT: &str = "SELECT name, state, percent, since, switched, pending, storage, messages, seen, checked, telling FROM quota_state";

fn kept(row: &Row) -> Result<KeptAccount, Error> {
    let count = |column| Ok::<u64, Error>(u64::try_from(row.get::<i64>(column)?).unwrap_or(0));
    Ok((
        row.get(0)?,
        Kept {
            state: row.get(1)?,
            percent: row.get(2)?,
            since: row.get(3)?,
            switched: row.get(4)?,
            pending: row.get(5)?,
            storage: count(6)?,
            messages: count(7)?,
            seen: row.get(8)?,
            checked: row.get(9)?,
            telling: row.get(10)?,
        },
    ))
}

fn one(db: &Db<'_>, name: &str) -> Result<Option<Kept>, Error> {
    let row = db.row(&format!("{SELECT} WHERE name = ?1"), values![name])?;
    Ok(row.as_ref().map(kept).transpose()?.map(|(_, kept)| kept))
}

/// What [`Builtin::quota`] tells, as one statement: a delivery asks three times, and each statement is a transaction of its
/// own. No state is called as limits are here.
pub(super) const QUOTA: &str = "SELECT name, state, percent, since, switched, pending, storage, messages, seen, checked, telling
    FROM quota_state WHERE name = ?1
    UNION ALL SELECT name, 'of account', storage, messages, message_size, language, mailboxes, NULL, NULL, NULL, NULL
    FROM quota_limit WHERE name = ?1
    UNION ALL SELECT name, 'of domain', storage, messages, message_size, language, mailboxes, NULL, NULL, NULL, NULL
    FROM quota_limit WHERE name = ?2";
const OF_ACCOUNT: &str = "of account";
const OF_DOMAIN: &str = "of domain";

fn put(db: &Db<'_>, name: &str, kept: &Kept) -> Result<(), Error> {
    let sql = "INSERT INTO quota_state (name, state, percent, since, switched, pending, storage, messages, seen, checked,
        telling) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT (name) DO UPDATE SET state = excluded.state, percent = excluded.percent, since = excluded.since,
        switched = excluded.switched, pending = excluded.pending, storage = excluded.storage,
        messages = excluded.messages, seen = excluded.seen, checked = excluded.checked,
        telling = excluded.telling";
    let values = values![
        name,
        &kept.state,
        kept.percent,
        kept.since,
        kept.switched,
        &kept.pending,
        kept.storage,
        kept.messages,
        kept.seen,
        kept.checked,
        kept.telling,
    ];
    db.execute(sql, values)?;
    Ok(())
}

fn limits_of(db: &Db<'_>, name: &str) -> Result<SetLimits, Error> {
    let sql = "SELECT storage, messages, message_size, language, mailboxes FROM quota_limit WHERE name = ?1";
    Ok(db.row(sql, values![name])?.map(|row| limits(&row, 0)).transpose()?.unwrap_or_default())
}

/// From the columns of `quota_limit` but its name, the first of them being `first`.
fn limits(row: &Row, first: usize) -> Result<SetLimits, Error> {
    let limit = |column| -> Result<Option<u64>, Error> {
        Ok(row.get::<Option<i64>>(column)?.and_then(|n| u64::try_from(n).ok()))
    };
    Ok(SetLimits {
        storage: limit(first)?,
        messages: limit(first + 1)?,
        message_size: limit(first + 2)?,
        language: row.get(first + 3)?,
        mailboxes: limit(first + 4)?,
    })
}

impl Builtin {
    /// What is kept of an account (by its canonical name), the limits set for it, and those set for its domain.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn quota(&self, name: &str) -> Result<(Option<Kept>, SetLimits, SetLimits), Problem> {
        let (_, domain) = halves(name);
        self.inner.read(|db| {
            let (mut state, mut own, mut of_domain) = (None, SetLimits::default(), SetLimits::default());
            for row in db.rows(QUOTA, values![name, domain])? {
                match row.get::<String>(1)?.as_str() {
                    OF_ACCOUNT => own = limits(&row, 2)?,
                    OF_DOMAIN => of_domain = limits(&row, 2)?,
                    _ => state = Some(kept(&row)?.1),
                }
            }
            Ok((state, own, of_domain))
        })
    }

    /// Everything that is kept, sorted by name.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn quotas(&self) -> Result<Vec<KeptAccount>, Problem> {
        self.inner.read(|db| db.rows(&format!("{SELECT} ORDER BY name"), &[])?.iter().map(kept).collect())
    }

    /// Changes what is kept of an account in one transaction: `change` gets what is there and tells whether there is
    /// something to write. Turns the account's switch for receiving along with it, where `switch` says so and the
    /// account is one of this directory.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn change_quota<T>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Kept) -> (Changed, T),
    ) -> Result<T, Problem> {
        self.inner.change(Concerns::Notes, |t| {
            let mut kept = one(t, name)?.unwrap_or_default();
            let (changed, told) = change(&mut kept);
            match changed {
                Changed::Nothing => return Ok(told),
                Changed::Kept => {}
                Changed::ReceiveOff { reason, since } => {
                    kept.switched = turn_off(t, name, &reason, since)?;
                }
                Changed::ReceiveOn => {
                    if std::mem::take(&mut kept.switched) {
                        turn_on(t, name)?;
                    }
                }
            }
            put(t, name, &kept)?;
            Ok(told)
        })
    }

    /// Writes down what many accounts used when they were last looked at.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn keep_usages(&self, usages: &[(String, u64, u64, i64)]) -> Result<(), Problem> {
        if usages.is_empty() {
            return Ok(());
        }
        self.inner.change(Concerns::Notes, |t| {
            let sql =
                "INSERT INTO quota_state (name, storage, messages, seen, checked) VALUES (?1, ?2, ?3, ?4, ?5)
                ON CONFLICT (name) DO UPDATE SET storage = excluded.storage, messages = excluded.messages,
                seen = excluded.seen";
            for (name, storage, messages, seen) in usages {
                t.execute(sql, values![name, *storage, *messages, *seen, *seen])?;
            }
            Ok(())
        })
    }

    /// Sets limits: of an account of any source by its canonical name, or of a domain. For accounts of this directory
    /// storage and messages stand with the account. Gives the name under which they stand.
    ///
    /// # Errors
    /// When the name is none.
    pub fn set_limits(&self, name: &str, change: impl FnOnce(&mut SetLimits)) -> Result<String, Problem> {
        let name = if name.contains(['@', '#']) {
            Login::parse(name.as_bytes())?
        } else {
            return self.set_domain_limits(name, change);
        };
        self.inner.write(|t| {
            let user = super::verbs::select(t, &name)?;
            let canonical = match &user {
                Some(user) => user.name.clone(),
                None => match primary(t, name.domain())? {
                    Some(domain) => format!("{}@{domain}", name.local()),
                    None => name.to_string(),
                },
            };
            let mut limits = limits_of(t, &canonical)?;
            if let Some(user) = &user {
                let QuotaLimits { storage, messages } = user.quota;
                (limits.storage, limits.messages) = (storage, messages);
            }
            change(&mut limits);
            if user.is_some() {
                let (storage, messages) = (limits.storage.take(), limits.messages.take());
                let (local, domain) = halves(&canonical);
                let sql =
                    "UPDATE account SET quota_storage = ?1, quota_messages = ?2 WHERE local = ?3 AND domain = ?4";
                t.execute(sql, values![storage, messages, local, domain])?;
            }
            write_limits(t, &canonical, &limits)?;
            Ok(canonical)
        })
    }

    fn set_domain_limits(&self, name: &str, change: impl FnOnce(&mut SetLimits)) -> Result<String, Problem> {
        let name = super::verbs::domain(name)?;
        self.inner.write(|t| {
            let name = primary(t, &name)?.unwrap_or(name);
            let mut limits = limits_of(t, &name)?;
            change(&mut limits);
            write_limits(t, &name, &limits)?;
            Ok(name)
        })
    }
}

/// What a change to what is kept asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changed {
    /// Nothing was changed.
    Nothing,
    /// It is written.
    Kept,
    /// And the account receives nothing any more.
    ReceiveOff {
        /// Why, as the user may read it.
        reason: String,
        /// Since when.
        since: i64,
    },
    /// And the account receives again, if it was us who turned it off.
    ReceiveOn,
}

fn write_limits(t: &Db<'_>, name: &str, limits: &SetLimits) -> Result<(), Failed> {
    t.execute("DELETE FROM quota_limit WHERE name = ?1", values![name])?;
    if *limits != SetLimits::default() {
        let sql = "INSERT INTO quota_limit (name, storage, messages, message_size, mailboxes, language)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let SetLimits { storage, messages, message_size, mailboxes, language } = limits;
        t.execute(sql, values![name, *storage, *messages, *message_size, *mailboxes, language])?;
    }
    Ok(())
}

/// `true`: the account is one of this directory, and it was us who turned it off.
fn turn_off(t: &Db<'_>, name: &str, reason: &str, since: i64) -> Result<bool, Failed> {
    let (local, domain) = halves(name);
    let sql = "INSERT INTO switch (local, domain, what, reason, since)
        SELECT local, domain, 'receive', CAST(?3 AS TEXT), CAST(?4 AS BIGINT) FROM account
        WHERE local = ?1 AND domain = ?2 ON CONFLICT DO NOTHING";
    Ok(t.execute(sql, values![local, domain, reason, since])? > 0)
}

fn turn_on(t: &Db<'_>, name: &str) -> Result<(), Failed> {
    let (local, domain) = halves(name);
    let sql = "DELETE FROM switch WHERE local = ?1 AND domain = ?2 AND what = 'receive'";
    t.execute(sql, values![local, domain])?;
    Ok(())
}
