//! `culver user`: accounts of the built-in directory.

use crate::AdminError;
use crate::password::{AskPassword, Terminal, check};
use culver_auth::scheme::{Make, Stored, make};
use culver_directory::builtin::{Builtin, NewUser, User};
use culver_directory::{Login, MailLocation, Names};
use serde_json::{Value, json};

/// Accounts of the built-in directory.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum UserCommand {
    /// Adds an account. Asks for its password.
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
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists accounts.
    List {
        /// Only this domain.
        #[arg(long)]
        domain: Option<String>,
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
    /// Removes an account. Its mail stays where it is.
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
    #[arg(long, conflicts_with_all = ["hash", "no_password"])]
    pub stdin: bool,
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

/// How new passwords are stored.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, clap::ValueEnum)]
pub enum Scheme {
    /// Serves PLAIN and SCRAM: clients need not send the password.
    #[default]
    ScramSha256,
    /// Hardest to guess for a thief; serves PLAIN only.
    Argon2id,
}

/// Does it; asks for passwords on the terminal or standard input. Gives what to print.
///
/// # Errors
/// When it cannot be done.
pub fn run_user(command: &UserCommand, builtin: &Builtin) -> Result<String, AdminError> {
    run_user_asking(command, builtin, &mut Terminal)
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
        UserCommand::Add { name, password, home, mail, uid, gid, json } => {
            let (home, mail, uid, gid) = (home.clone(), mail.clone(), *uid, *gid);
            // What is wrong is said before the password is asked for.
            vacant(builtin, name)?;
            places(name, home.as_deref(), mail.as_deref())?;
            let password = stored(password, name, ask)?;
            let name = builtin.add_user(name, &NewUser { password, home, mail, uid, gid })?;
            Ok(told(json, &name, format!("Added {name}")))
        }
        UserCommand::List { domain, json } => {
            let mut users = builtin.users()?;
            if let Some(domain) = domain {
                let end = format!("@{}", domain.to_lowercase());
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
                table.add_row([
                    user.name,
                    scheme,
                    user.disabled.map_or("yes".to_owned(), |why| format!("no: {why}")),
                ]);
            }
            Ok(table.to_string())
        }
        UserCommand::Show { name, json } => {
            let user = builtin.user(name)?;
            Ok(if *json { as_json(&user).to_string() } else { shown(&user) })
        }
        UserCommand::Passwd { name, password, json } => {
            let name = builtin.user(name)?.name;
            let password = stored(password, &name, ask)?;
            builtin.set_password(&name, password.as_deref())?;
            Ok(told(json, &name, format!("Changed the password of {name}")))
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
fn stored(args: &PasswordArgs, name: &str, ask: &mut dyn AskPassword) -> Result<Option<String>, AdminError> {
    if args.no_password {
        return Ok(None);
    }
    if let Some(hash) = &args.hash {
        Stored::parse(hash)?;
        return Ok(Some(hash.clone()));
    }
    let password = if args.stdin { ask.on_stdin()? } else { ask.on_terminal(name)? };
    let how = match args.scheme {
        Scheme::ScramSha256 => Make::ScramSha256,
        Scheme::Argon2id => Make::Argon2id,
    };
    make(how, &check(password)?).map(Some).ok_or(AdminError::Internal("making random numbers"))
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
    json!({
        "user": user.name,
        "scheme": user.password.as_ref().map(|_| scheme(user)),
        "home": user.home,
        "mail": user.mail,
        "uid": user.uid,
        "gid": user.gid,
        "disabled": user.disabled,
    })
}

fn shown(user: &User) -> String {
    let or_default = |value: Option<String>| value.unwrap_or_else(|| "default".to_owned());
    let mut table = table(["Account", &user.name]);
    table.add_row(["Password".to_owned(), scheme(user)]);
    table.add_row([
        "Login".to_owned(),
        user.disabled.clone().map_or("yes".to_owned(), |why| format!("no: {why}")),
    ]);
    table.add_row(["Home".to_owned(), or_default(user.home.clone())]);
    table.add_row(["Mail".to_owned(), or_default(user.mail.clone())]);
    table.add_row(["Owner".to_owned(), or_default(user.uid.map(|id| id.to_string()))]);
    table.add_row(["Group".to_owned(), or_default(user.gid.map(|id| id.to_string()))]);
    table.to_string()
}

/// A table without lines around it.
pub fn table<const N: usize>(head: [&str; N]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(head);
    table
}
