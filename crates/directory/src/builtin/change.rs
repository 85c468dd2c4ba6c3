//! Changes of what an account has, and new names for accounts and domains.
//!
//! A new name moves no mail: home and mail location, where they came from defaults or held variables, are written down as
//! what they were. Everything that belongs to the name follows it, routes that lead to it among them.

use super::statement::{Db, Error, Failed, values};
use super::verbs::{self, halves};
use super::{Builtin, Inner, Problem, User, routes};
use crate::{Login, Names, expand};

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
            let home = changes.home.clone().unwrap_or(user.home);
            let mail = changes.mail.clone().unwrap_or(user.mail);
            let uid = changes.uid.unwrap_or(user.uid);
            let gid = changes.gid.unwrap_or(user.gid);
            let storage = changes.storage.unwrap_or(user.quota.storage);
            let messages = changes.messages.unwrap_or(user.quota.messages);
            let (local, domain) = halves(&user.name);
            t.execute(
                "UPDATE account SET home = ?3, mail = ?4, uid = ?5, gid = ?6, quota_storage = ?7, quota_messages = ?8
                 WHERE local = ?1 AND domain = ?2",
                values![local, domain, home, mail, uid, gid, storage, messages],
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
            let name = format!("{}@{domain}", new.local());
            if verbs::select(t, &new)?.is_some() {
                return Err(Problem::UserExists(name).into());
            }
            if routes::select(t, new.local(), &domain)?.is_some() {
                return Err(Problem::RouteExists(name).into());
            }
            self.inner.keep_places(t, &user)?;
            let (old_local, old_domain) = halves(&user.name);
            let names = values![old_local, old_domain, new.local(), &domain];
            // What refers to the account follows by itself.
            t.execute("UPDATE account SET local = ?3, domain = ?4 WHERE local = ?1 AND domain = ?2", names)?;
            t.execute("UPDATE route SET local = ?3, domain = ?4 WHERE local = ?1 AND domain = ?2", names)?;
            rename_quota(t, &user.name, &name)?;
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
            let users = verbs::users_in(t, &old)?;
            for user in &users {
                self.inner.keep_places(t, user)?;
            }
            t.execute("DELETE FROM domain_alias WHERE name = ?1", values![&new])?;
            // Accounts, routes and secondary domains follow by themselves.
            t.execute("UPDATE domain SET name = ?2 WHERE name = ?1", values![&old, &new])?;
            t.execute("INSERT INTO domain_alias (name, domain) VALUES (?1, ?2)", values![&old, &new])?;
            for user in &users {
                let (local, _) = halves(&user.name);
                rename_quota(t, &user.name, &format!("{local}@{new}"))?;
            }
            rename_quota(t, &old, &new)?;
            Ok(old)
        })
    }
}

impl Inner {
    /// Writes down where home and mail are, as far as that depends on the name.
    fn keep_places(&self, t: &Db<'_>, user: &User) -> Result<(), Failed> {
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
        let (local, domain) = halves(&user.name);
        t.execute(
            "UPDATE account SET home = ?3, mail = ?4 WHERE local = ?1 AND domain = ?2",
            values![local, domain, home.map(literal), mail],
        )?;
        Ok(())
    }
}

/// What is kept of quota under one name, of accounts and domains, is kept under the other.
fn rename_quota(t: &Db<'_>, old: &str, new: &str) -> Result<(), Error> {
    for table in ["quota_limit", "quota_state"] {
        t.execute(
            &format!(
                "DELETE FROM {table} WHERE name = ?2 AND EXISTS (SELECT 1 FROM {table} WHERE name = ?1)"
            ),
            values![old, new],
        )?;
        t.execute(&format!("UPDATE {table} SET name = ?2 WHERE name = ?1"), values![old, new])?;
    }
    Ok(())
}
