//! `culver route`: where mail for an address goes.

use crate::AdminError;
use crate::user::{table, yes_or_why};
use culver_directory::builtin::{Builtin, Problem};
use culver_directory::{Action, Directory, Login, Resolved, Route, Switch, Target, Way};
use serde_json::{Value, json};

/// Mailbox Routes of the built-in directory. An account needs none for its own address.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum RouteCommand {
    /// Adds a route.
    #[command(visible_alias = "create")]
    Add {
        /// Its address; *@example.com for all addresses of the domain that nobody has.
        address: String,
        /// What it does.
        #[command(flatten)]
        action: ActionArgs,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Changes what a route does.
    Change {
        /// Its address.
        address: String,
        /// What it does from now on.
        #[command(flatten)]
        action: ActionArgs,
        /// A further target; may be given more than once.
        #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["to", "reject"])]
        also: Vec<String>,
        /// A target that it loses; may be given more than once.
        #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["to", "reject"])]
        not: Vec<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists routes.
    List {
        /// Only this domain, primary or secondary.
        #[arg(long)]
        domain: Option<String>,
        /// Only routes with this target.
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows a route, and whom its mail reaches.
    Show {
        /// Its address.
        address: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Removes a route. Mail for its address goes to the account of this name, if there is one, or to the catch-all.
    #[command(visible_alias = "delete")]
    Remove {
        /// Its address.
        address: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Uses a route again that was disabled.
    Enable {
        /// Its address.
        address: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Refuses mail for an address until its route is enabled again.
    Disable {
        /// Its address.
        address: String,
        /// Why, as senders will read it.
        #[arg(long, default_value = "")]
        reason: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tells what would become of mail for any address, and by which routes.
    Test {
        /// The address.
        address: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What a route does.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ActionArgs {
    /// Who gets the mail: an account, another address here or elsewhere; may be given more than once.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "reject")]
    pub to: Vec<String>,
    /// The account of this very address keeps a copy.
    #[arg(long, conflicts_with = "reject")]
    pub keep_copy: bool,
    /// Refuses the mail, with this text for the sender.
    #[arg(long, value_name = "TEXT")]
    pub reject: Option<String>,
}

/// Does it; gives what to print.
///
/// # Errors
/// When it cannot be done.
pub async fn run_route(
    command: &RouteCommand,
    builtin: &Builtin,
    directory: &Directory,
) -> Result<String, AdminError> {
    let told = |as_json: &bool, route: &str, text: String| {
        if *as_json { json!({ "route": route }).to_string() } else { text }
    };
    match command {
        RouteCommand::Add { address, action, json } => {
            let action = wanted(address, action);
            let address = add_route(address, &action, builtin, directory).await?;
            Ok(told(json, &address, format!("Mail for {address} {}", does(&action))))
        }
        RouteCommand::Change { address, action, also, not, json } => {
            let action = if also.is_empty() && not.is_empty() {
                wanted(address, action)
            } else {
                edited(&builtin.route_at(address)?, address, action, also, not)?
            };
            let address = change_route(address, &action, builtin, directory).await?;
            Ok(told(json, &address, format!("Mail for {address} {}", does(&action))))
        }
        RouteCommand::List { domain, to, json } => {
            let mut routes = builtin.routes()?;
            if let Some(domain) = domain {
                let domain = builtin.primary_domain(domain)?;
                routes.retain(|route| route.address.ends_with(&format!("@{domain}")));
            }
            if let Some(to) = to {
                let canonical = |address: &str| match builtin.canonical(address) {
                    Ok(Some(ours)) => ours,
                    _ => address.to_lowercase(),
                };
                let to = canonical(to);
                let same = |target: &String| canonical(target) == to;
                routes.retain(|route| matches!(&route.action, Action::Deliver(t) if t.iter().any(same)));
            }
            if *json {
                return Ok(Value::Array(routes.iter().map(as_json).collect()).to_string());
            }
            if routes.is_empty() {
                return Ok(
                    "There are no such routes: culver route add info@example.com --to user@example.com"
                        .to_owned(),
                );
            }
            let mut table = table(["Route", "Mail", "In use"]);
            for route in routes {
                table.add_row([route.address, does(&route.action), yes_or_why(&route.enabled)]);
            }
            Ok(table.to_string())
        }
        RouteCommand::Show { address, json } => {
            let route = builtin.route_at(address)?;
            // A catch-all is tried by an address that nobody has.
            let tried = route.address.replacen('*', "nobody-has-this-address", 1);
            let way = directory.way(&tried).await?;
            if *json {
                let mut shown = as_json(&route);
                shown["way"] = way_as_json(&way);
                return Ok(shown.to_string());
            }
            let mut table = table(["Route", &route.address]);
            table.add_row(["Mail".to_owned(), does(&route.action)]);
            table.add_row(["In use".to_owned(), yes_or_why(&route.enabled)]);
            for (name, value) in rows(&way) {
                table.add_row([name.to_owned(), value]);
            }
            Ok(table.to_string())
        }
        RouteCommand::Remove { address, json } => {
            let address = builtin.remove_route(address)?.address;
            Ok(told(json, &address, format!("Removed the route {address}")))
        }
        RouteCommand::Enable { address, json } => {
            let address = builtin.set_route_switch(address, None)?;
            Ok(told(json, &address, format!("The route {address} is in use")))
        }
        RouteCommand::Disable { address, reason, json } => {
            let address = builtin.set_route_switch(address, Some(reason.trim()))?;
            Ok(told(json, &address, format!("Mail for {address} is refused from now on")))
        }
        RouteCommand::Test { address, json } => {
            let way = directory.way(address).await?;
            if *json {
                let mut shown = way_as_json(&way);
                shown["address"] = json!(address);
                return Ok(shown.to_string());
            }
            let mut table = table(["Address", address]);
            for (name, value) in rows(&way) {
                table.add_row([name.to_owned(), value]);
            }
            Ok(table.to_string())
        }
    }
}

/// Adds a route whose targets all reach somebody. Gives its address in the primary domain.
///
/// # Errors
/// When a target would reach nobody or lead back, and as [`Builtin::add_route`].
pub async fn add_route(
    address: &str,
    action: &Action,
    builtin: &Builtin,
    directory: &Directory,
) -> Result<String, AdminError> {
    check(address, action, builtin, directory).await?;
    Ok(builtin.add_route(address, action)?)
}

/// Gives a route another action, if its targets all reach somebody. Gives its address in the primary domain.
///
/// # Errors
/// When a target would reach nobody or lead back, and as [`Builtin::change_route`].
pub async fn change_route(
    address: &str,
    action: &Action,
    builtin: &Builtin,
    directory: &Directory,
) -> Result<String, AdminError> {
    check(address, action, builtin, directory).await?;
    Ok(builtin.change_route(address, action)?)
}

fn wanted(address: &str, args: &ActionArgs) -> Action {
    match &args.reject {
        Some(text) => Action::Reject(text.clone()),
        None => {
            let own = args.keep_copy.then(|| address.trim().to_owned());
            Action::Deliver(own.into_iter().chain(args.to.iter().cloned()).collect())
        }
    }
}

fn edited(
    route: &Route,
    address: &str,
    args: &ActionArgs,
    also: &[String],
    not: &[String],
) -> Result<Action, AdminError> {
    let Action::Deliver(targets) = &route.action else {
        return Err(AdminError::Route(format!(
            "{} refuses mail and has no targets: give it some with --to",
            route.address
        )));
    };
    let mut targets = targets.clone();
    for gone in not {
        let before = targets.len();
        targets.retain(|target| !target.eq_ignore_ascii_case(gone.trim()));
        if targets.len() == before {
            return Err(AdminError::Route(format!(
                "{gone} is no target of {}: its targets are {}",
                route.address,
                targets.join(", ")
            )));
        }
    }
    targets.extend(args.keep_copy.then(|| address.trim().to_owned()));
    targets.extend(also.iter().cloned());
    if targets.is_empty() {
        return Err(AdminError::Route(format!(
            "{} would have no target: remove it (culver route remove {0}) or refuse its mail (--reject)",
            route.address
        )));
    }
    Ok(Action::Deliver(targets))
}

/// Would every target reach somebody?
async fn check(
    address: &str,
    action: &Action,
    builtin: &Builtin,
    directory: &Directory,
) -> Result<(), AdminError> {
    let Action::Deliver(targets) = action else { return Ok(()) };
    let canonical = builtin.canonical(address)?;
    let address = canonical.as_deref().unwrap_or(address);
    let own = Login::parse(address.as_bytes()).ok();
    let account = match &own {
        Some(own) => directory.find(own).await?,
        None => None,
    };
    for target in targets {
        let target = target.trim();
        let Ok(login) = Login::parse(target.as_bytes()) else { continue };
        if builtin.canonical(target)?.as_deref() == Some(address) {
            if account.is_none() {
                return Err(AdminError::Route(format!(
                    "{target} would lead to itself, and there is no account of this name to keep the mail (culver user add {target})"
                )));
            }
            continue;
        }
        let way = directory.way(target).await?;
        let back = way.routes.iter().any(|route| own.as_ref().is_some_and(|own| *route == own.as_str()));
        if back && account.is_none() {
            return Err(AdminError::Route(format!(
                "{target} leads back to {address} (by {}): choose another target",
                way.routes.join(", ")
            )));
        }
        if way.resolved == Resolved::Unknown && directory.has_domain(login.domain()).await? {
            return Err(AdminError::Route(format!(
                "Nobody would get the mail: there is no account or route {target} (culver user list --domain {})",
                login.domain()
            )));
        }
    }
    Ok(())
}

/// `goes to a@x, b@y`, `is refused: text`.
fn does(action: &Action) -> String {
    match action {
        Action::Deliver(targets) => {
            format!("goes to {}", targets.iter().map(|t| t.trim()).collect::<Vec<_>>().join(", "))
        }
        Action::Reject(text) => format!("is refused: {}", text.trim()),
    }
}

fn as_json(route: &Route) -> Value {
    let (targets, reject) = match &route.action {
        Action::Deliver(targets) => (json!(targets), Value::Null),
        Action::Reject(text) => (json!([]), json!(text)),
    };
    let enabled = match &route.enabled {
        Switch::On => json!({ "enabled": true }),
        Switch::Off { reason, since } => json!({ "enabled": false, "reason": reason, "since": since }),
    };
    json!({ "route": route.address, "targets": targets, "reject": reject, "use": enabled })
}

fn way_as_json(way: &Way) -> Value {
    let mut shown = match &way.resolved {
        Resolved::Targets(targets) => {
            let mailboxes: Vec<Value> = targets
                .iter()
                .filter_map(|target| match target {
                    Target::Mailbox { account, detail } => {
                        Some(json!({ "user": account.name, "detail": detail }))
                    }
                    Target::Forward { .. } => None,
                })
                .collect();
            let forwards: Vec<&str> = targets
                .iter()
                .filter_map(|target| match target {
                    Target::Forward { address } => Some(address.as_str()),
                    Target::Mailbox { .. } => None,
                })
                .collect();
            json!({ "result": "delivered", "mailboxes": mailboxes, "forwards": forwards })
        }
        Resolved::Reject { text } => json!({ "result": "refused", "text": text }),
        Resolved::Disabled { reason, since } => {
            json!({ "result": "disabled", "reason": reason, "since": since })
        }
        Resolved::Unknown => json!({ "result": "unknown" }),
    };
    shown["routes"] = json!(way.routes);
    shown["missing"] = json!(way.missing);
    shown["circles"] = json!(way.circles);
    shown["refusing"] = json!(way.refusing);
    shown
}

fn rows(way: &Way) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    match &way.resolved {
        Resolved::Targets(targets) => {
            for target in targets {
                rows.push(match target {
                    Target::Mailbox { account, detail: None } => ("Delivered to", account.name.clone()),
                    Target::Mailbox { account, detail: Some(detail) } => {
                        ("Delivered to", format!("{}, with the detail {detail}", account.name))
                    }
                    Target::Forward { address } => ("Forwarded to", address.clone()),
                });
            }
        }
        Resolved::Reject { text } => rows.push(("Refused", text.clone())),
        Resolved::Disabled { reason, since } => {
            rows.push(("Refused", yes_or_why(&Switch::Off { reason: reason.clone(), since: *since })));
        }
        Resolved::Unknown => rows.push(("Refused", "nobody has this address".to_owned())),
    }
    for (name, addresses) in [
        ("By the routes", &way.routes),
        ("Not there", &way.missing),
        ("In a circle", &way.circles),
        ("Taking none", &way.refusing),
    ] {
        if !addresses.is_empty() {
            rows.push((name, addresses.join(", ")));
        }
    }
    rows
}

/// For the hint of a problem.
pub(crate) fn hint(problem: &Problem) -> Option<String> {
    Some(match problem {
        Problem::NoRoute(name) => match name.rsplit_once('@') {
            Some((_, domain)) => format!(" (culver route list --domain {domain})"),
            None => " (culver route list)".to_owned(),
        },
        Problem::RouteExists(name) => format!(" (culver route show {name})"),
        Problem::Routed(name, _) => format!(" (culver route list --to {name})"),
        Problem::DomainHasRoutes(name, _) => format!(" (culver route list --domain {name})"),
        Problem::NoTargets => " (--to user@example.com, or --reject TEXT)".to_owned(),
        _ => return None,
    })
}
