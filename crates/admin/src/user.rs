//! `culver user`: accounts of the built-in directory.

use crate::AdminError;
use crate::app_password::{self, AppPasswordCommand};
use crate::password::{AskPassword, Terminal, check, in_file};
use culver_auth::scheme::{Make, Stored, make};
use culver_directory::builtin::{Builtin, Changes, Master, NewUser, User, What};
use culver_directory::{Directory, Login, MailLocation, Names, QuotaLimits, Switch};
use culver_sasl::scram;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Accounts of the built-in directory.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum UserCommand {
    /// Adds an account. Asks for its password.
    #[command(visible_alias = "create")]
    Add {
        /// Its address, user@domain.
        name: String,
        /// Where its password comes from.
        #[command(flatten)]
        password: PasswordArgs,
        /// The home directory, when not the default; %d and %n stand for domain and user.
        #[arg(long)]
        home: Option<String>,
        /// The mail location, when not the default: maildir:~/Maildir.
        #[arg(long)]
        mail: Option<String>,
        /// The owner of its files, when not the default.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        uid: Option<u32>,
        /// The group of its files, when not the default.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        gid: Option<u32>,
        /// How many octets it may keep: 500M, 2G.
        #[arg(long, value_parser = octets)]
        quota: Option<u64>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists accounts.
    List {
        /// Only this domain.
        #[arg(long)]
        domain: Option<String>,
        /// Those of all sources, each with the source that has it.
        #[arg(long)]
        all: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one account.
    Show {
        /// Any of its addresses.
        name: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Changes where an account's files are, whose they are, and how much it may keep. What is not named stays.
    Change {
        /// Any of its addresses.
        name: String,
        /// What is to be changed.
        #[command(flatten)]
        changes: ChangeArgs,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Gives an account another address. Its mail stays where it is, and routes to it follow.
    Rename {
        /// Any of its addresses.
        name: String,
        /// The new one, in a domain that exists.
        to: String,
        /// Mail for the old address goes on to the account, by a route.
        #[arg(long)]
        keep_address: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sets a new password. Asks for it.
    Passwd {
        /// Any of its addresses.
        name: String,
        /// Where its password comes from.
        #[command(flatten)]
        password: PasswordArgs,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Takes something away from an account: by default, logging in.
    Disable {
        /// Any of its addresses.
        name: String,
        /// What it may not do any more.
        #[arg(long, value_enum, default_value_t)]
        what: Right,
        /// Why, as the user will read it.
        #[arg(long, default_value = "")]
        reason: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Gives back what was taken away with disable.
    Enable {
        /// Any of its addresses.
        name: String,
        /// What it may do again.
        #[arg(long, value_enum, default_value_t)]
        what: Right,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Passwords for single devices.
    #[command(subcommand)]
    AppPassword(AppPasswordCommand),
    /// Makes an account a master user, who may log in as any account with its own password.
    Master {
        /// Any of its addresses.
        name: String,
        /// Makes it an ordinary account again.
        #[arg(long)]
        off: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Removes an account. Its mail stays where it is.
    #[command(visible_alias = "delete")]
    Remove {
        /// Any of its addresses.
        name: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Where a password comes from, and how it is stored.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PasswordArgs {
    /// Reads the password from the first line of standard input.
    #[arg(long, conflicts_with_all = ["hash", "no_password", "password_file"])]
    pub stdin: bool,
    /// Reads the password from the first line of this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hash", "no_password"])]
    pub password_file: Option<PathBuf>,
    /// Takes a password that is hashed already: {SCHEME}data, any scheme of Dovecot.
    #[arg(long, conflicts_with = "no_password")]
    pub hash: Option<String>,
    /// No password: nobody can log in.
    #[arg(long)]
    pub no_password: bool,
    /// How the password is stored.
    #[arg(long, value_enum, default_value_t)]
    pub scheme: Scheme,
}

/// What is changed of an account.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(required = true, multiple = true)]
pub struct ChangeArgs {
    /// The home directory, or `default`; %d and %n stand for domain and user. Files are not moved.
    #[arg(long)]
    pub home: Option<String>,
    /// The mail location, such as maildir:~/Maildir, or `default`. Mail is not moved.
    #[arg(long)]
    pub mail: Option<String>,
    /// The owner of its files, or `default`. Files do not change hands.
    #[arg(long, value_parser = id)]
    pub uid: Option<Or<u32>>,
    /// The group of its files, or `default`.
    #[arg(long, value_parser = id)]
    pub gid: Option<Or<u32>>,
    /// How many octets it may keep, such as 2G, or `none` for no limit.
    #[arg(long, value_parser = limit)]
    pub quota: Option<Or<u64>>,
    /// How many messages it may keep, or `none` for no limit.
    #[arg(long, value_parser = messages)]
    pub messages: Option<Or<u64>>,
}

/// A value, or the word for none of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Or<T> {
    /// `default` or `none`.
    Nothing,
    /// The value.
    Value(T),
}

impl<T> Or<T> {
    fn value(self) -> Option<T> {
        match self {
            Self::Nothing => None,
            Self::Value(value) => Some(value),
        }
    }
}

fn id(text: &str) -> Result<Or<u32>, String> {
    if text == "default" {
        return Ok(Or::Nothing);
    }
    let id = text.parse().ok().filter(|id| *id > 0);
    id.map(Or::Value).ok_or_else(|| "write a number above 0, or default".to_owned())
}

fn limit(text: &str) -> Result<Or<u64>, String> {
    if text == "none" { Ok(Or::Nothing) } else { octets(text).map(Or::Value) }
}

fn messages(text: &str) -> Result<Or<u64>, String> {
    if text == "none" {
        return Ok(Or::Nothing);
    }
    let limit = text.parse().ok().filter(|limit| *limit > 0);
    limit.map(Or::Value).ok_or_else(|| "write a number above 0, or none".to_owned())
}

/// How new passwords are stored.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, clap::ValueEnum)]
pub enum Scheme {
    /// Serves PLAIN and SCRAM: clients need not send the password.
    #[default]
    ScramSha256,
    /// Hardest to guess for a thief; serves PLAIN only, and while one account has it, no account is offered SCRAM.
    Argon2id,
    /// Read by many other programs; serves PLAIN only, like argon2id.
    Sha512Crypt,
    /// bcrypt, at most 72 octets; serves PLAIN only, like argon2id.
    BlfCrypt,
    /// Not hashed at all: who reads the file knows the password.
    Plain,
}

/// What an account can do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, clap::ValueEnum)]
pub enum Right {
    /// Logging in.
    #[default]
    Login,
    /// Having mail delivered.
    Receive,
    /// Submitting mail.
    Send,
}

impl Right {
    fn what(self) -> What {
        match self {
            Self::Login => What::Login,
            Self::Receive => What::Receive,
            Self::Send => What::Send,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Login => "log in",
            Self::Receive => "receive mail",
            Self::Send => "send mail",
        }
    }
}

/// Does it; asks for passwords on the terminal or standard input. Gives what to print.
///
/// # Errors
/// When it cannot be done.
pub fn run_user(command: &UserCommand, builtin: &Builtin) -> Result<String, AdminError> {
    run_user_asking(command, builtin, &mut Terminal)
}

/// The accounts of all sources. Gives what to print, and what is to be said of sources that named none.
pub async fn list_all_users(
    domain: Option<&str>,
    as_json: bool,
    directory: &Directory,
) -> (String, Result<(), AdminError>) {
    let (mut users, mut silent) = (Vec::new(), Vec::new());
    for (source, names) in directory.listing().await {
        match names {
            Ok(mut names) => {
                names.sort_unstable();
                users.extend(names.into_iter().map(|name| (name, source.clone())));
            }
            Err(why) => silent.push(why.to_string()),
        }
    }
    if let Some(domain) = domain {
        let domain = domain.to_lowercase();
        users.retain(|(name, _)| name.rsplit('@').next() == Some(domain.as_str()));
    }
    let text = if as_json {
        let row = |(user, source): &(String, String)| json!({ "user": user, "source": source });
        Value::Array(users.iter().map(row).collect()).to_string()
    } else if users.is_empty() {
        "There are no accounts".to_owned()
    } else {
        let mut table = table(["User", "Source"]);
        for (user, source) in users {
            table.add_row([user, source]);
        }
        table.to_string()
    };
    let whole = if silent.is_empty() { Ok(()) } else { Err(AdminError::NotListed(silent.join("; "))) };
    (text, whole)
}

/// Does it, asking elsewhere for passwords.
///
/// # Errors
/// When it cannot be done.
pub fn run_user_asking(
    command: &UserCommand,
    builtin: &Builtin,
    ask: &mut dyn AskPassword,
) -> Result<String, AdminError> {
    let told = |as_json: &bool, name: &str, text: String| {
        if *as_json { json!({ "user": name }).to_string() } else { text }
    };
    match command {
        UserCommand::Add { name, password, home, mail, uid, gid, quota, json } => {
            let (home, mail, uid, gid) = (home.clone(), mail.clone(), *uid, *gid);
            // What is wrong is said before the password is asked for.
            vacant(builtin, name)?;
            places(name, home.as_deref(), mail.as_deref())?;
            let password = stored(password, name, None, ask)?;
            let name = {
                let quota = QuotaLimits { storage: *quota, messages: None };
                builtin.add_user(name, &NewUser { password, home, mail, uid, gid, quota })?
            };
            Ok(told(json, &name, format!("Added {name}")))
        }
        UserCommand::List { domain, json, all: _ } => {
            let mut users = builtin.users()?;
            if let Some(domain) = domain {
                let end = format!("@{}", builtin.primary_domain(domain)?);
                users.retain(|user| user.name.ends_with(&end));
            }
            if *json {
                return Ok(Value::Array(users.iter().map(as_json).collect()).to_string());
            }
            if users.is_empty() {
                return Ok("There are no accounts yet: culver user add user@example.com".to_owned());
            }
            let mut table = table(["User", "Password", "Login"]);
            for user in users {
                let scheme = scheme(&user);
                table.add_row([user.name, scheme, yes_or_why(&user.login)]);
            }
            Ok(table.to_string())
        }
        UserCommand::Show { name, json } => {
            let user = builtin.user(name)?;
            Ok(if *json { as_json(&user).to_string() } else { shown(&user) })
        }
        UserCommand::Change { name, changes, json } => {
            let user = builtin.user(name)?;
            let own =
                |text: &Option<String>| text.clone().map(|text| Some(text).filter(|text| text != "default"));
            let changes = Changes {
                home: own(&changes.home),
                mail: own(&changes.mail),
                uid: changes.uid.map(Or::value),
                gid: changes.gid.map(Or::value),
                storage: changes.quota.map(Or::value),
                messages: changes.messages.map(Or::value),
            };
            places(
                &user.name,
                changes.home.clone().flatten().as_deref(),
                changes.mail.clone().flatten().as_deref(),
            )?;
            let name = builtin.change_user(&user.name, &changes)?;
            Ok(told(json, &name, format!("Changed {name}; sessions that are open keep what they began with")))
        }
        UserCommand::Rename { name, to, keep_address, json } => {
            let (old, new) = builtin.rename_user(name, to)?;
            if *keep_address {
                builtin.add_route(&old, &culver_directory::Action::Deliver(vec![new.clone()]))?;
            }
            let user = builtin.user(&new)?;
            if *json {
                return Ok(json!({ "user": new, "was": old, "keeps_address": keep_address }).to_string());
            }
            let mut text = format!(
                "{old} is {new} now; its mail stays where it is, and open sessions keep the old name"
            );
            if *keep_address {
                text.push_str(&format!("\nMail for {old} goes to {new}"));
            }
            if user.password.is_some_and(|p| p.to_ascii_uppercase().starts_with("{DIGEST-MD5}")) {
                text.push_str(&format!(
                    "\nIts password held the old name and opens nothing any more: culver user passwd {new}"
                ));
            }
            Ok(text)
        }
        UserCommand::Passwd { name, password, json } => {
            let name = builtin.user(name)?.name;
            // App passwords can be proven by SCRAM as long as they share the salt.
            let like = app_password::app_form(builtin, &name)?;
            let password = stored(password, &name, like.as_ref(), ask)?;
            builtin.set_password(&name, password.as_deref())?;
            Ok(told(json, &name, format!("Changed the password of {name}")))
        }
        UserCommand::Disable { name, what, reason, json } => {
            let name = builtin.set_switch(name, what.what(), Some(reason.trim()))?;
            let text =
                format!("{name} may not {} from now on; sessions that are open stay open", what.words());
            Ok(told(json, &name, text))
        }
        UserCommand::Enable { name, what, json } => {
            let name = builtin.set_switch(name, what.what(), None)?;
            Ok(told(json, &name, format!("{name} may {}", what.words())))
        }
        UserCommand::AppPassword(command) => app_password::run(command, builtin),
        UserCommand::Master { name, off, json } => {
            let (master, text) = match off {
                false => (Master::Yes, "may log in as any account from now on, with its own password"),
                true => (Master::No, "is no master user any more"),
            };
            let name = builtin.set_master(name, master)?;
            Ok(told(json, &name, format!("{name} {text}")))
        }
        UserCommand::Remove { name, json } => {
            let name = builtin.remove_user(name)?.name;
            Ok(told(json, &name, format!("Removed {name}; its mail stays where it is")))
        }
    }
}

fn vacant(builtin: &Builtin, name: &str) -> Result<(), AdminError> {
    use culver_directory::builtin::Problem;
    let login = Login::parse(name.as_bytes()).map_err(Problem::from)?;
    match builtin.user(name) {
        Ok(user) => return Err(Problem::UserExists(user.name).into()),
        Err(Problem::NoUser(_)) => {}
        Err(other) => return Err(other.into()),
    }
    let known = |d: &culver_directory::builtin::Domain| {
        d.name == login.domain() || d.aliases.iter().any(|alias| alias == login.domain())
    };
    if builtin.domains()?.iter().any(known) {
        Ok(())
    } else {
        Err(Problem::NoDomain(login.domain().to_owned()).into())
    }
}

/// Can the places be used?
fn places(name: &str, home: Option<&str>, mail: Option<&str>) -> Result<(), AdminError> {
    let names = Names { user: name, home: None };
    if let Some(home) = home {
        MailLocation::parse(&format!("maildir:{home}"), &names)?;
    }
    if let Some(mail) = mail {
        // The home may be the default one, which is not known here.
        MailLocation::parse(mail, &Names { home: Some("/home"), ..names })?;
    }
    Ok(())
}

/// The password as it will be stored.
fn stored(
    args: &PasswordArgs,
    name: &str,
    like: Option<&scram::Stored>,
    ask: &mut dyn AskPassword,
) -> Result<Option<String>, AdminError> {
    if args.no_password {
        return Ok(None);
    }
    if let Some(hash) = &args.hash {
        Stored::parse(hash)?;
        return Ok(Some(hash.clone()));
    }
    let password = match &args.password_file {
        Some(file) => in_file(file)?,
        None if args.stdin => ask.on_stdin()?,
        None => ask.on_terminal(name)?,
    };
    let password = check(password)?;
    let how = match args.scheme {
        Scheme::ScramSha256 if like.is_some() => {
            return Ok(like.map(|like| {
                format!("{{SCRAM-SHA-256}}{}", like.derive_like(password.as_bytes()).to_text())
            }));
        }
        Scheme::ScramSha256 => Make::ScramSha256,
        Scheme::Argon2id => Make::Argon2id,
        Scheme::Sha512Crypt => Make::Sha512Crypt,
        Scheme::BlfCrypt if password.len() > 72 => {
            let text = "blf-crypt takes at most 72 octets: choose a shorter password or another --scheme";
            return Err(AdminError::Password(text.to_owned()));
        }
        Scheme::BlfCrypt => Make::BlfCrypt,
        Scheme::Plain => Make::Plain,
    };
    make(how, &password).map(Some).ok_or(AdminError::Internal("making random numbers"))
}

pub(crate) fn octets(text: &str) -> Result<u64, String> {
    let mut limits = QuotaLimits::default();
    // A colon would begin another limit.
    let rule = Some(text).filter(|text| !text.contains(':')).map(|text| format!("*:bytes={text}"));
    let limit = rule.and_then(|rule| limits.add_rule(&rule)).and(limits.storage);
    limit.ok_or_else(|| "write a size above 0, such as 500M or 2G".to_owned())
}

/// The name of the scheme; never the hash itself.
fn scheme(user: &User) -> String {
    let stored = user.password.as_deref().map(Stored::parse);
    match stored {
        None => "none".to_owned(),
        Some(Ok(stored)) if stored.is_weak() => format!("{} (weak)", stored.scheme()),
        Some(Ok(stored)) => stored.scheme().to_owned(),
        Some(Err(_)) => "cannot be read".to_owned(),
    }
}

fn as_json(user: &User) -> Value {
    let switch = |switch: &Switch| match switch {
        Switch::On => json!({ "enabled": true }),
        Switch::Off { reason, since } => json!({ "enabled": false, "reason": reason, "since": since }),
    };
    json!({
        "user": user.name,
        "scheme": user.password.as_ref().map(|_| scheme(user)),
        "home": user.home,
        "mail": user.mail,
        "uid": user.uid,
        "gid": user.gid,
        "login": switch(&user.login),
        "receive": switch(&user.receive),
        "send": switch(&user.send),
        "quota": { "storage": user.quota.storage, "messages": user.quota.messages },
    })
}

/// `yes`, or `no` with the reason and the day.
pub(crate) fn yes_or_why(switch: &Switch) -> String {
    let Switch::Off { reason, since } = switch else { return "yes".to_owned() };
    let mut text = "no".to_owned();
    if let Some(seconds) = since.and_then(|since| u64::try_from(since).ok()) {
        let at = culver_events::clock::rfc3339(Duration::from_secs(seconds));
        text.push_str(&format!(" since {}", at.split('T').next().unwrap_or(&at)));
    }
    if !reason.is_empty() {
        text.push_str(&format!(": {reason}"));
    }
    text
}

fn shown(user: &User) -> String {
    let or_default = |value: Option<String>| value.unwrap_or_else(|| "default".to_owned());
    let limit =
        |value: Option<u64>, unit: &str| value.map_or("no limit".to_owned(), |n| format!("{n} {unit}"));
    let mut table = table(["Account", &user.name]);
    for (name, value) in [
        ("Password", scheme(user)),
        ("Login", yes_or_why(&user.login)),
        ("Receive", yes_or_why(&user.receive)),
        ("Send", yes_or_why(&user.send)),
        ("Home", or_default(user.home.clone())),
        ("Mail", or_default(user.mail.clone())),
        ("Owner", or_default(user.uid.map(|id| id.to_string()))),
        ("Group", or_default(user.gid.map(|id| id.to_string()))),
        ("Quota", limit(user.quota.storage, "octets")),
        ("Messages", limit(user.quota.messages, "messages")),
    ] {
        table.add_row([name.to_owned(), value]);
    }
    table.to_string()
}

/// A table without lines around it.
pub fn table<const N: usize>(head: [&str; N]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(head);
    table
}
