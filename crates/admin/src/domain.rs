//! `culver domain`: primary and secondary domains.

use crate::AdminError;
use culver_directory::builtin::{Builtin, Domain, Problem};
use serde_json::json;

/// Domains of the built-in directory.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum DomainCommand {
    /// Adds a domain that can have accounts.
    #[command(visible_alias = "create")]
    Add {
        /// The domain.
        domain: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Adds a secondary domain: every account of the domain can log in with it and has an address in it.
    Alias {
        /// The secondary domain.
        alias: String,
        /// The domain that has the accounts.
        domain: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows a domain, primary or secondary.
    Show {
        /// The domain.
        domain: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Makes a secondary domain the primary one; the one that was primary becomes secondary. All addresses and logins stay,
    /// mail stays where it is; accounts get their names in the new primary domain.
    Primary {
        /// The secondary domain.
        domain: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Removes a secondary domain, or a domain without accounts and routes.
    #[command(visible_alias = "delete")]
    Remove {
        /// The domain.
        domain: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists all domains.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Does it; gives what to print.
///
/// # Errors
/// When it cannot be done.
pub fn run_domain(command: &DomainCommand, builtin: &Builtin) -> Result<String, AdminError> {
    match command {
        DomainCommand::Add { domain, json } => {
            let name = builtin.add_domain(domain)?;
            Ok(if *json { json!({ "domain": name }).to_string() } else { format!("Added the domain {name}") })
        }
        DomainCommand::Alias { alias, domain, json } => {
            builtin.add_domain_alias(alias, domain)?;
            Ok(if *json {
                json!({ "alias": alias, "domain": domain }).to_string()
            } else {
                format!("Accounts of {domain} can be reached and log in as @{alias} too")
            })
        }
        DomainCommand::Show { domain, json } => {
            let primary = builtin.primary_domain(domain)?;
            let found = builtin.domains()?.into_iter().find(|d| d.name == primary);
            let found = found.ok_or(Problem::NoDomain(primary))?;
            if *json {
                return Ok(as_json(&found).to_string());
            }
            let mut table = crate::user::table(["Domain", &found.name]);
            table.add_row(["Secondary domains".to_owned(), found.aliases.join(", ")]);
            table.add_row(["Users".to_owned(), found.users.to_string()]);
            table.add_row(["Routes".to_owned(), found.routes.to_string()]);
            Ok(table.to_string())
        }
        DomainCommand::Primary { domain, json } => {
            let was = builtin.promote_domain(domain)?;
            let now = builtin.primary_domain(domain)?;
            Ok(if *json {
                json!({ "domain": now, "was": was }).to_string()
            } else {
                format!(
                    "{now} is the primary domain now, {was} a secondary one; open sessions keep the old names"
                )
            })
        }
        DomainCommand::Remove { domain, json } => {
            let name = builtin.remove_domain(domain)?;
            Ok(if *json {
                json!({ "domain": name }).to_string()
            } else {
                format!("Removed the domain {name}")
            })
        }
        DomainCommand::List { json } => {
            let domains = builtin.domains()?;
            if *json {
                let rows = domains.iter().map(as_json).collect();
                return Ok(serde_json::Value::Array(rows).to_string());
            }
            if domains.is_empty() {
                return Ok("There are no domains yet: culver domain add example.com".to_owned());
            }
            let mut table = crate::user::table(["Domain", "Users", "Routes", "Secondary domains"]);
            for domain in domains {
                table.add_row([
                    domain.name,
                    domain.users.to_string(),
                    domain.routes.to_string(),
                    domain.aliases.join(", "),
                ]);
            }
            Ok(table.to_string())
        }
    }
}

fn as_json(domain: &Domain) -> serde_json::Value {
    json!({ "domain": domain.name, "aliases": domain.aliases, "users": domain.users, "routes": domain.routes })
}
