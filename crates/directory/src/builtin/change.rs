//! Changes of what an account has, and new names for accounts and domains.
//!
//! A new name moves no mail: home and mail location, where they came from defaults or held variables, are written down as
//! what they were. Everything in the file that belongs to the name follows it, routes that lead to it among them.

use super::verbs::{self, Failed};
use super::{Builtin, Inner, Problem, User, routes};
use crate::{Login, Names, expand};
use rusqlite::{Connection, params};

/// What is to be changed; `None` stays as it is, an inner `None` goes back to the default or to no limit.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    /// The home directory.
    pub home: Option<Option<String>>,
    /// The mail location.
    pub mail: Option<Option<String>>,
    /// The owner of its files.
    pub uid: Option<Option<u32>>,
    /// Their group.
    pub gid: Option<Option<u32>>,
    /// How many octets it may keep.
    pub storage: Option<Option<u64>>,
    /// How many messages it may keep.
    pub messages: Option<Option<u64>>,
}

impl Builtin {
    /// Changes what is named. Gives the canonical name.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn change_user(&self, name: &str, changes: &Changes) -> Result<String, Problem> {
        let login = Login::parse(name.as_bytes())?;
        self.inner.write(|t| {
            let user = verbs::select(t, &login)?.ok_or_else(|| Problem::NoUser(login.to_string()))?;
            let limit = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
            let home = changes.home.clone().unwrap_or(user.home);
            let mail = changes.mail.clone().unwrap_or(user.mail);
            let uid = changes.uid.unwrap_or(user.uid);
            let gid = changes.gid.unwrap_or(user.gid);
            let storage = limit(changes.storage.unwrap_or(user.quota.storage));
            let messages = limit(changes.messages.unwrap_or(user.quota.messages));
            t.execute(
                "UPDATE account SET home = ?2, mail = ?3, uid = ?4, gid = ?5, quota_storage = ?6, quota_messages = ?7
                 WHERE local || '@' || domain = ?1",
                params![user.name, home, mail, uid, gid, storage, messages],
            )?;
            Ok(user.name)
        })
    }

    /// Gives an account another name, in the same domain or another one. Gives both canonical names.
    ///
    /// # Errors
    /// When there is no such account, or the new name is taken, by a route too, or its domain does not exist.
    pub fn rename_user(&self, name: &str, to: &str) -> Result<(String, String), Problem> {
        let (old, new) = (Login::parse(name.as_bytes())?, Login::parse(to.as_bytes())?);
        self.inner.write(|t| {
            let user = verbs::select(t, &old)?.ok_or_else(|| Problem::NoUser(old.to_string()))?;
            let domain =
                verbs::primary(t, new.domain())?.ok_or_else(|| Problem::NoDomain(new.domain().to_owned()))?;
            let new = Name { local: new.local().to_owned(), domain };
            let name = new.to_string();
            if verbs::select(t, &Login::parse(name.as_bytes()).map_err(Problem::from)?)?.is_some() {
                return Err(Problem::UserExists(name).into());
            }
            if routes::select(t, &new.local, &new.domain)?.is_some() {
                return Err(Problem::RouteExists(name).into());
            }
            self.inner.keep_places(t, &user)?;
            let (local, domain) = user.name.rsplit_once('@').unwrap_or((&user.name, ""));
            let old = Name { local: local.to_owned(), domain: domain.to_owned() };
            t.pragma_update(None, "defer_foreign_keys", true)?;
            t.execute(
                "UPDATE account SET local = ?3, domain = ?4 WHERE local = ?1 AND domain = ?2",
                [&old.local, &old.domain, &new.local, &new.domain],
            )?;
            follow(t, &old, &new)?;
            t.execute(
                "UPDATE route SET local = ?3, domain = ?4 WHERE local = ?1 AND domain = ?2",
                [&old.local, &old.domain, &new.local, &new.domain],
            )?;
            routes::retarget(t, &user.name, &name)?;
            Ok((user.name.clone(), name))
        })
    }

    /// Makes a secondary domain the primary one of its accounts; the one that was primary becomes secondary. Every address
    /// and login stays, the canonical names of accounts change. Gives the domain that was primary.
    ///
    /// # Errors
    /// When it is no secondary domain.
    pub fn promote_domain(&self, alias: &str) -> Result<String, Problem> {
        let new = verbs::domain(alias)?;
        self.inner.write(|t| {
            let old = match verbs::primary(t, &new)? {
                None => return Err(Problem::NoDomain(new).into()),
                Some(primary) if primary == new => return Err(Problem::IsPrimary(new).into()),
                Some(primary) => primary,
            };
            t.pragma_update(None, "defer_foreign_keys", true)?;
            let users = verbs::users_in(t, &old)?;
            for user in &users {
                self.inner.keep_places(t, user)?;
            }
            // Routes follow by themselves.
            t.execute("UPDATE domain SET name = ?2 WHERE name = ?1", [&old, &new])?;
            t.execute("UPDATE account SET domain = ?2 WHERE domain = ?1", [&old, &new])?;
            t.execute("DELETE FROM domain_alias WHERE name = ?1", [&new])?;
            t.execute("UPDATE domain_alias SET domain = ?2 WHERE domain = ?1", [&old, &new])?;
            t.execute("INSERT INTO domain_alias (name, domain) VALUES (?1, ?2)", [&old, &new])?;
            for user in &users {
                let local = user.name.rsplit_once('@').map_or("", |(local, _)| local).to_owned();
                let name = |domain: &str| Name { local: local.clone(), domain: domain.to_owned() };
                follow(t, &name(&old), &name(&new))?;
            }
            rename_in(t, &old, &new)?;
            Ok(old)
        })
    }
}

impl Inner {
    /// Writes down where home and mail are, as far as that depends on the name.
    fn keep_places(&self, t: &Connection, user: &User) -> Result<(), Failed> {
        let bad = |why: crate::NotALocation| Failed::from(Problem::Place(user.name.clone(), why));
        let literal = |text: String| text.replace('%', "%%");
        let names = Names { user: &user.name, home: None };
        let home = user.home.as_deref().or(self.defaults.home.as_deref());
        let home = home.map(|h| expand(h, &names)).transpose().map_err(bad)?;
        let mail = user.mail.as_deref().unwrap_or(&self.defaults.mail);
        let mail = mail
            .contains('%')
            .then(|| expand(mail, &Names { home: home.as_deref(), ..names }).map(literal))
            .transpose()
            .map_err(bad)?;
        let mail = mail.or_else(|| user.mail.clone());
        t.execute(
            "UPDATE account SET home = ?2, mail = ?3 WHERE local || '@' || domain = ?1",
            params![user.name, home.map(literal), mail],
        )?;
        Ok(())
    }
}

struct Name {
    local: String,
    domain: String,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// What belongs to an account gets its new name: rows of tables that refer to it, and of those that are kept by name.
fn follow(t: &Connection, old: &Name, new: &Name) -> rusqlite::Result<()> {
    let sql = "SELECT m.name, f.\"from\", f.\"to\" FROM sqlite_master m, pragma_foreign_key_list(m.name) f
               WHERE m.type = 'table' AND f.\"table\" = 'account' ORDER BY m.name, f.\"to\"";
    let mut columns = t.prepare(sql)?;
    let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let columns = columns.collect::<Result<Vec<(String, String, String)>, _>>()?;
    // A key has two columns, `domain` before `local`.
    for pair in columns.chunks(2) {
        let [(table, domain, _), (_, local, _)] = pair else { continue };
        let sql = format!(
            "UPDATE \"{table}\" SET \"{local}\" = ?3, \"{domain}\" = ?4 WHERE \"{local}\" = ?1 AND \"{domain}\" = ?2"
        );
        t.execute(&sql, [&old.local, &old.domain, &new.local, &new.domain])?;
    }
    rename_in(t, &old.to_string(), &new.to_string())
}

/// Tables that know accounts or domains by one name.
fn rename_in(t: &Connection, old: &str, new: &str) -> rusqlite::Result<()> {
    for table in ["quota_limit", "quota_state"] {
        let there = t.prepare("SELECT 1 FROM sqlite_master WHERE name = ?1")?.exists([table])?;
        if there {
            t.execute(&format!("UPDATE OR REPLACE {table} SET name = ?2 WHERE name = ?1"), [old, new])?;
        }
    }
    Ok(())
}
