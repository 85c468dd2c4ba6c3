//! App passwords, master users, and passwords that are hashed anew: what logins read and write beside the account itself.

use super::statement::{Db, Error, Failed, Row, values};
use super::store::Concerns;
use super::verbs::{self, halves, select};
use super::{Builtin, Inner, Problem};
use crate::{AppPassword, Login};

/// App passwords of one account.
const MOST: usize = 100;

fn app_password(row: &Row) -> Result<AppPassword, Error> {
    let services: String = row.get(3)?;
    let scram: String = row.get(2)?;
    Ok(AppPassword {
        device: row.get(0)?,
        password: row.get(1)?,
        scram: scram.lines().map(str::to_owned).collect(),
        services: services.split_whitespace().map(str::to_owned).collect(),
        created: row.get(4)?,
        used: row.get::<Option<i64>>(5)?.zip(row.get::<Option<String>>(6)?),
    })
}

fn app_passwords(db: &Db<'_>, account: &str) -> Result<Vec<AppPassword>, Error> {
    let (local, domain) = halves(account);
    let sql = "SELECT device, password, scram, services, created, used, address FROM app_password
        WHERE local = ?1 AND domain = ?2 ORDER BY device";
    db.rows(sql, values![local, domain])?.iter().map(app_password).collect()
}

/// Are there app passwords that a mechanism cannot prove beside the account's own password? SCRAM tells the client one salt
/// before it knows which of them will come; other proofs than SCRAM-SHA-256 are not kept of app passwords.
pub(super) fn hinder_scram(db: &Db<'_>) -> Result<(bool, bool), Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM app_password),
        EXISTS (SELECT 1 FROM app_password p JOIN account a USING (domain, local)
            WHERE upper(a.password) LIKE '{SCRAM-SHA-256}%'
            AND substr(a.password, 16, length(p.salted) + 1) <> p.salted || ',')
        OR EXISTS (SELECT 1 FROM app_password GROUP BY domain, local HAVING count(DISTINCT salted) > 1)";
    let row = db.row(sql, &[])?;
    row.map_or(Ok((true, true)), |row| Ok((row.get(0)?, row.get(1)?)))
}

impl Inner {
    pub(super) fn app_passwords(&self, account: &str) -> Result<Vec<AppPassword>, Problem> {
        self.read(|db| app_passwords(db, account))
    }

    pub(super) fn app_password_used(
        &self,
        account: &str,
        device: &str,
        at: i64,
        address: &str,
    ) -> Result<(), Problem> {
        let (local, domain) = halves(account);
        // Nothing changes of how passwords are stored.
        self.change(Concerns::Notes, |t| {
            let sql = "UPDATE app_password SET used = ?1, address = ?2 WHERE local = ?3 AND domain = ?4 AND device = ?5";
            t.execute(sql, values![at, address, local, domain, device])?;
            Ok(())
        })
    }

    pub(super) fn replace_password(&self, account: &str, old: &str, new: &str) -> Result<bool, Problem> {
        let (local, domain) = halves(account);
        self.write(|t| {
            let sql = "UPDATE account SET password = ?1 WHERE local = ?2 AND domain = ?3 AND password = ?4";
            Ok(t.execute(sql, values![new, local, domain, old])? > 0)
        })
    }
}

impl Builtin {
    /// Adds an app password to an account, or takes the place of the device's old one. Gives the account's name.
    ///
    /// # Errors
    /// When there is no such account, the device's name cannot be one, or the account has a hundred.
    pub fn add_app_password(&self, name: &str, new: &AppPassword) -> Result<String, Problem> {
        let login = Login::parse(name.as_bytes())?;
        let device = new.device.trim();
        if device.is_empty() || device.chars().count() > 64 || device.chars().any(char::is_control) {
            return Err(Problem::Device(new.device.clone()));
        }
        self.inner.write(|t| {
            let user = select(t, &login)?.ok_or_else(|| Problem::NoUser(login.to_string()))?;
            let all = app_passwords(t, &user.name)?;
            if all.len() >= MOST && all.iter().all(|p| p.device != device) {
                return Err(Problem::TooManyDevices(user.name, MOST).into());
            }
            let (local, domain) = halves(&user.name);
            let salted = new.scram.first().and_then(|s| s.rsplitn(3, ',').nth(2)).unwrap_or_default();
            t.execute(
                "INSERT INTO app_password (local, domain, device, password, scram, salted, services, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (domain, local, device) DO UPDATE SET password = excluded.password, scram = excluded.scram,
                 salted = excluded.salted, services = excluded.services, created = excluded.created, used = NULL,
                 address = NULL",
                values![
                    local,
                    domain,
                    device,
                    &new.password,
                    new.scram.join("
"),
                    salted,
                    new.services.join(" "),
                    new.created,
                ],
            )?;
            Ok(user.name)
        })
    }

    /// The app passwords of an account, by device.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn list_app_passwords(&self, name: &str) -> Result<Vec<AppPassword>, Problem> {
        let user = self.user(name)?;
        self.inner.app_passwords(&user.name)
    }

    /// Removes one. Gives the account's name.
    ///
    /// # Errors
    /// When there is no such account, or it has none of that name.
    pub fn remove_app_password(&self, name: &str, device: &str) -> Result<String, Problem> {
        let user = self.user(name)?;
        self.inner.write(|t| {
            let (local, domain) = halves(&user.name);
            let sql = "DELETE FROM app_password WHERE local = ?1 AND domain = ?2 AND device = ?3";
            match t.execute(sql, values![local, domain, device])? {
                0 => Err(Failed::from(Problem::NoDevice(user.name.clone(), device.to_owned()))),
                _ => Ok(user.name.clone()),
            }
        })
    }

    /// Is this account a master user?
    ///
    /// # Errors
    /// When there is no such account.
    pub fn is_master(&self, name: &str) -> Result<bool, Problem> {
        let login = Login::parse(name.as_bytes())?;
        let found = verbs::find(&self.inner, &login)?;
        found.map(|found| found.master).ok_or_else(|| Problem::NoUser(login.to_string()))
    }

    /// Makes an account a master user, or an ordinary one again. Gives its name.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn set_master(&self, name: &str, master: Master) -> Result<String, Problem> {
        let user = self.user(name)?;
        self.inner.write(|t| {
            let (local, domain) = halves(&user.name);
            let sql = match master {
                Master::Yes => "INSERT INTO master (local, domain) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                Master::No => "DELETE FROM master WHERE local = ?1 AND domain = ?2",
            };
            t.execute(sql, values![local, domain])?;
            Ok(user.name.clone())
        })
    }
}

/// May it log in as anybody?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Master {
    /// It may.
    Yes,
    /// It may not.
    No,
}
