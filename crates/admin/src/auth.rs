//! `culver auth`: what the running server remembers of logins.

use crate::AdminError;
use crate::control::ask;
use crate::user::table;
use culver_directory::Login;
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::path::Path;

/// Blocks.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum BlocksCommand {
    /// Lists who is blocked now.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ends blocks, and forgets the guesses that led to them.
    #[command(group(clap::ArgGroup::new("which").required(true).multiple(true)))]
    Lift {
        /// Those of this account.
        #[arg(group = "which")]
        account: Option<String>,
        /// Those of this network: any address in it.
        #[arg(long, group = "which", value_name = "ADDRESS")]
        network: Option<IpAddr>,
        /// All.
        #[arg(long, group = "which", conflicts_with_all = ["account", "network"])]
        all: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Asks the running server. Gives what to print.
///
/// # Errors
/// When no server runs, or it says no.
pub fn run_blocks(command: &BlocksCommand, state_dir: &Path) -> Result<String, AdminError> {
    match command {
        BlocksCommand::List { json } => {
            let blocks = ask(state_dir, "auth.blocks.list", Map::new())?;
            Ok(if *json { blocks.to_string() } else { listed(&blocks, "Nobody is blocked") })
        }
        BlocksCommand::Lift { account, network, json, .. } => {
            let mut arguments = Map::new();
            if let Some(account) = account {
                let login =
                    Login::parse(account.as_bytes()).map_err(culver_directory::builtin::Problem::from)?;
                arguments.insert("account".to_owned(), login.as_str().into());
            }
            if let Some(network) = network {
                arguments.insert("network".to_owned(), network.to_string().into());
            }
            let lifted = ask(state_dir, "auth.blocks.lift", arguments)?;
            if *json {
                return Ok(lifted.to_string());
            }
            let count = lifted.as_array().map_or(0, Vec::len);
            Ok(listed(&lifted, "There was no such block").replacen(
                "Account",
                &format!("Lifted ({count})"),
                1,
            ))
        }
    }
}

fn listed(blocks: &Value, none: &str) -> String {
    let blocks = blocks.as_array().map(Vec::as_slice).unwrap_or_default();
    if blocks.is_empty() {
        return none.to_owned();
    }
    let mut table = table(["Account", "Network", "Guesses", "Ends in"]);
    for block in blocks {
        let text = |key: &str| block[key].as_str().map(str::to_owned);
        table.add_row([
            text("account").unwrap_or_else(|| "everybody".to_owned()),
            text("network").unwrap_or_default(),
            block["guesses"].to_string(),
            format!("{} s", block["seconds"]),
        ]);
    }
    table.to_string()
}
