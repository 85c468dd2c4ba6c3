//! `culver user app-password`: a password for each device.

use crate::AdminError;
use crate::user::table;
use culver_auth::app_password::{generate, stored};
use culver_auth::scheme::Stored;
use culver_directory::AppPassword;
use culver_directory::builtin::Builtin;
use culver_sasl::scram::{self, Hash};
use serde_json::{Value, json};
use std::time::Duration;

/// App passwords of an account.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum AppPasswordCommand {
    /// Makes one and prints it, once: it is not kept in the clear. A second one for the same device takes the first one's place.
    Add {
        /// Any of the account's addresses.
        name: String,
        /// What the user calls the device.
        device: String,
        /// Only for these services: imap, pop3, smtp. All, when not given.
        #[arg(long, value_name = "SERVICE", value_delimiter = ',')]
        service: Vec<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists them, with their last use.
    List {
        /// Any of the account's addresses.
        name: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Removes one. Sessions that are open stay open.
    Remove {
        /// Any of the account's addresses.
        name: String,
        /// The device.
        device: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Does it. Gives what to print.
pub fn run(command: &AppPasswordCommand, builtin: &Builtin) -> Result<String, AdminError> {
    match command {
        AppPasswordCommand::Add { name, device, service, json } => {
            let shown = generate().ok_or(AdminError::Internal("making random numbers"))?;
            let own = salted_like(builtin, name)?;
            let now = i64::try_from(culver_events::clock::now().as_secs()).unwrap_or(i64::MAX);
            let services =
                service.iter().map(|s| s.trim().to_ascii_lowercase()).filter(|s| !s.is_empty()).collect();
            let new = stored(device.trim(), &shown, own.as_ref(), services, now);
            let new = new.ok_or(AdminError::Internal("making random numbers"))?;
            let name = builtin.add_app_password(name, &new)?;
            if *json {
                return Ok(json!({ "user": name, "device": new.device, "password": shown }).to_string());
            }
            Ok(format!("{shown}\nThis is the password of {name} for {}; it is not shown again", new.device))
        }
        AppPasswordCommand::List { name, json } => {
            let all = builtin.list_app_passwords(name)?;
            if *json {
                return Ok(Value::Array(all.iter().map(as_json).collect()).to_string());
            }
            if all.is_empty() {
                return Ok(format!("{name} has no app passwords"));
            }
            let mut table = table(["Device", "Services", "Made", "Last used", "From"]);
            for one in all {
                let services =
                    if one.services.is_empty() { "all".to_owned() } else { one.services.join(", ") };
                let (used, from) =
                    one.used.map_or(("never".to_owned(), String::new()), |(at, from)| (time(at), from));
                table.add_row([one.device, services, time(one.created), used, from]);
            }
            Ok(table.to_string())
        }
        AppPasswordCommand::Remove { name, device, json } => {
            let name = builtin.remove_app_password(name, device)?;
            if *json {
                return Ok(json!({ "user": name, "device": device }).to_string());
            }
            Ok(format!("Removed the app password of {name} for {device}"))
        }
    }
}

/// A form of SCRAM whose salt new passwords of the account must share: its own password's, or its app passwords'.
pub(crate) fn salted_like(builtin: &Builtin, name: &str) -> Result<Option<scram::Stored>, AdminError> {
    let own = builtin.user(name)?.password;
    let own = own.and_then(|text| Stored::parse(&text).ok()).and_then(|stored| stored.scram(Hash::Sha256));
    if own.is_some() {
        return Ok(own);
    }
    app_form(builtin, name)
}

/// A form of SCRAM of the account's app passwords.
pub(crate) fn app_form(builtin: &Builtin, name: &str) -> Result<Option<scram::Stored>, AdminError> {
    let apps = builtin.list_app_passwords(name)?;
    Ok(apps.first().and_then(|p| p.scram.first()).and_then(|text| scram::Stored::parse(Hash::Sha256, text)))
}

fn as_json(one: &AppPassword) -> Value {
    json!({
        "device": one.device,
        "services": one.services,
        "created": one.created,
        "used": one.used.as_ref().map(|(at, _)| at),
        "address": one.used.as_ref().map(|(_, from)| from),
    })
}

fn time(at: i64) -> String {
    let text = culver_events::clock::rfc3339(Duration::from_secs(u64::try_from(at).unwrap_or_default()));
    text.get(..16).map_or(text.clone(), |text| text.replace('T', " "))
}
