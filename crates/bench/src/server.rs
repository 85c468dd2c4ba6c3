//! A server under load: where it is, who logs in, what it can do, and the mailboxes that are kept ready in it.
//!
//! Mailboxes of the benchmark begin with `Bench`. Those that are only read are made once and stay: the next run finds them.
//! The clients of LMTP and POP3 are beside their workloads.

use crate::driver::Driver;
use crate::mail;
use crate::maildir::Maildir;
use crate::meter::Meter;
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

/// Who logs in, and where his mail lies.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user name. `{n}` in it stands for the number of the account in four digits; the first one is 0001.
    pub user: String,
    /// The same for all.
    pub password: String,
}

/// One server.
#[derive(Debug)]
pub struct Server {
    /// What the tables call it.
    pub name: String,
    /// Where it speaks IMAP in plain text.
    pub imap: SocketAddr,
    /// Where it speaks IMAP by TLS, if it does.
    pub imaps: Option<SocketAddr>,
    /// Where it speaks LMTP, if it does.
    pub lmtp: Option<SocketAddr>,
    /// Where it speaks POP3, if it is known.
    pub pop3: Option<SocketAddr>,
    login: Login,
    /// What it costs, when its process is known.
    pub meter: Option<Meter>,
    /// The first account's Maildir, when it is on this machine.
    pub maildir: Option<Maildir>,
    /// What it says after login, in capitals.
    pub capabilities: Vec<String>,
    ready: RefCell<BTreeSet<String>>,
}

impl Server {
    /// Logs in once to see what the server can do.
    ///
    /// # Errors
    /// When it cannot be reached or refuses the login.
    pub fn new(
        name: String,
        imap: SocketAddr,
        login: Login,
        meter: Option<Meter>,
        maildir: Option<&Path>,
    ) -> Result<Server> {
        let maildir = maildir.map(Maildir::at).transpose()?;
        let mut server = Server {
            name,
            imap,
            imaps: None,
            lmtp: None,
            pop3: None,
            login,
            meter,
            maildir,
            capabilities: Vec::new(),
            ready: RefCell::default(),
        };
        server.capabilities = server.log_in().with_context(|| server.name.clone())?.capabilities;
        Ok(server)
    }

    /// Whether it has this capability; all have the empty one.
    pub fn can(&self, capability: &str) -> bool {
        capability.is_empty() || self.capabilities.iter().any(|c| c == capability)
    }

    /// The largest message that APPEND takes (RFC 7889), if there is a limit.
    pub fn append_limit(&self) -> Option<u64> {
        self.capabilities.iter().find_map(|c| c.strip_prefix("APPENDLIMIT=")?.parse().ok())
    }

    /// Address, user and password of the account with this number, from 1.
    pub fn account(&self, number: u32) -> (String, String) {
        (self.login.user.replace("{n}", &format!("{number:04}")), self.login.password.clone())
    }

    /// Logs in as the account with this number, and nothing more.
    ///
    /// # Errors
    /// As [`Driver::log_in`].
    pub fn log_in_as(&self, number: u32) -> Result<Driver> {
        let (user, password) = self.account(number);
        Driver::connect(self.imap)?.log_in(&user, &password)
    }

    /// The same by TLS.
    ///
    /// # Errors
    /// As [`Driver::log_in`], or when it has none.
    pub fn log_in_by_tls(&self, number: u32) -> Result<Driver> {
        let (user, password) = self.account(number);
        Driver::connect_by_tls(self.imaps.context("no TLS")?)?.log_in(&user, &password)
    }

    /// A connection of the first account; its capabilities are known.
    ///
    /// # Errors
    /// As [`Driver::log_in`].
    pub fn log_in(&self) -> Result<Driver> {
        let mut driver = self.log_in_as(1)?;
        driver.learn()?;
        Ok(driver)
    }

    /// A connection that has selected this mailbox.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn selected(&self, mailbox: &str) -> Result<Driver> {
        let mut driver = self.log_in()?;
        driver.run(&format!("SELECT {mailbox}"))?;
        Ok(driver)
    }

    /// The Maildir, for work that needs one.
    ///
    /// # Errors
    /// When none is known.
    pub fn maildir(&self) -> Result<&Maildir> {
        self.maildir.as_ref().context("the Maildir of this server is not known")
    }

    /// A mailbox that is made once by `make`, which is given the server, and holds `count` messages then.
    ///
    /// # Errors
    /// From `make`, or when another number of messages is seen afterwards.
    pub fn keep(&self, mailbox: &str, count: u32, make: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.ready.borrow().contains(mailbox) {
            return Ok(());
        }
        let mut driver = self.log_in()?;
        match messages(&mut driver, mailbox) {
            Ok(n) if n == count => {}
            seen => {
                if seen.is_ok() {
                    driver.run(&format!("DELETE {mailbox}"))?;
                }
                make().with_context(|| format!("making {mailbox}"))?;
                let n = messages(&mut driver, mailbox)?;
                if n != count {
                    bail!("{mailbox} was filled with {count} messages, and {n} are seen");
                }
            }
        }
        self.ready.borrow_mut().insert(mailbox.to_owned());
        Ok(())
    }

    /// Keeps a mailbox of `count` messages whose bodies are as large as `size` says.
    ///
    /// # Errors
    /// As [`Server::keep`].
    pub fn keep_filled(&self, mailbox: &str, count: u32, size: impl Fn(u64) -> usize) -> Result<()> {
        self.keep(mailbox, count, || match &self.maildir {
            Some(maildir) => maildir.fill(mailbox, count, size),
            None => {
                let mut driver = self.log_in()?;
                driver.run(&format!("CREATE {mailbox}"))?;
                for i in 0..u64::from(count) {
                    driver.append(mailbox, &mail::on_wire(&mail::message(i, size(i))))?;
                }
                Ok(())
            }
        })
    }

    /// Keeps an INBOX of `count` messages for the account with this number.
    ///
    /// # Errors
    /// When its Maildir is not on this machine, or another number of messages is seen afterwards.
    pub fn keep_inbox(&self, number: u32, count: u32, size: impl Fn(u64) -> usize) -> Result<()> {
        let name = format!("INBOX of {number}");
        if self.ready.borrow().contains(&name) {
            return Ok(());
        }
        let mut driver = self.log_in_as(number)?;
        driver.run("SELECT INBOX")?;
        if messages(&mut driver, "INBOX")? != count {
            let _ = driver.run("STORE 1:* +FLAGS.SILENT (\\Deleted)");
            driver.run("EXPUNGE")?;
            drop(driver);
            let first = self.maildir()?.folder("INBOX").display().to_string();
            Maildir::at(Path::new(&first.replace("0001", &format!("{number:04}"))))?
                .fill("INBOX", count, size)?;
            driver = self.log_in_as(number)?;
            driver.run("SELECT INBOX")?;
            let seen = messages(&mut driver, "INBOX")?;
            if seen != count {
                bail!("{name} was filled with {count} messages, and {seen} are seen");
            }
        }
        self.ready.borrow_mut().insert(name);
        Ok(())
    }

    /// Makes a mailbox for one run, empty.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn fresh(&self, mailbox: &str) -> Result<()> {
        let mut driver = self.log_in()?;
        // What an aborted run left behind; mostly there is nothing.
        let _ = driver.run(&format!("DELETE {mailbox}"));
        driver.run(&format!("CREATE {mailbox}"))?;
        Ok(())
    }

    /// Takes a mailbox away.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn discard(&self, mailbox: &str) -> Result<()> {
        self.log_in()?.run(&format!("DELETE {mailbox}")).map(drop)
    }
}

fn messages(driver: &mut Driver, mailbox: &str) -> Result<u32> {
    let answer = driver.ask(&format!("STATUS {mailbox} (MESSAGES)"))?;
    let answer = String::from_utf8_lossy(&answer);
    let rest = answer.split_once("MESSAGES ").context("MESSAGES in the answer to STATUS")?.1;
    Ok(rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse()?)
}
