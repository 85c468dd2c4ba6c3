//! `culver quota`: limits, usage, and who is over. Pages present the same values.
//!
//! Verbs are [`QuotaVerbs`], which the running server answers on its control socket; without a server the command line does
//! them itself, alone with the state folder.

use crate::AdminError;
use crate::control::Verbs;
use crate::user::table;
use async_trait::async_trait;
use culver_directory::builtin::SetLimits;
use culver_directory::{Account, Directory, Login};
use culver_events::clock::rfc3339;
use culver_keeper::{Keeper, Standing, templates};
use culver_quota::{Limits, State, Usage, percent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Quotas.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum QuotaCommand {
    /// Shows what an account keeps and may keep.
    Show {
        /// Any of its addresses.
        name: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sets limits of an account, or of all accounts of a domain that have none of their own. `none` means no limit,
    /// `default` what the domain or the configuration says.
    Set {
        /// Any address of the account, or a domain.
        name: String,
        /// Octets: 500M, 2G.
        #[arg(long, value_name = "SIZE")]
        storage: Option<String>,
        /// Messages.
        #[arg(long, value_name = "NUMBER")]
        messages: Option<String>,
        /// Octets of one message.
        #[arg(long, value_name = "SIZE")]
        message_size: Option<String>,
        /// Mailboxes.
        #[arg(long, value_name = "NUMBER")]
        mailboxes: Option<String>,
        /// The language of notices: en, de, fr, or one that `quota.templates` has; `default`.
        #[arg(long)]
        language: Option<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Counts every file of an account, and puts right what was known wrongly.
    #[command(group(clap::ArgGroup::new("which").required(true)))]
    Recalc {
        /// Any of its addresses.
        #[arg(group = "which")]
        name: Option<String>,
        /// All accounts, one after the other.
        #[arg(long, group = "which")]
        all: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists accounts with limits, as they were when they were last looked at.
    List {
        /// Only those at or above their limit, and those that receive nothing for it.
        #[arg(long)]
        over: bool,
        /// Only those that receive nothing because they were over for too long.
        #[arg(long)]
        disabled: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Writes the built-in texts of notices into a folder, to begin with own ones (quota.templates).
    Template {
        /// The folder. Files that are there stay as they are.
        #[arg(long, value_name = "DIR")]
        export: PathBuf,
    },
    /// Lets an account receive again that was over for too long. If it still is, it has the whole grace time again.
    Enable {
        /// Any of its addresses.
        name: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

impl QuotaCommand {
    /// The verb and its arguments.
    ///
    /// # Errors
    /// When a limit is no number.
    pub fn request(&self) -> Result<(&'static str, Map<String, Value>), AdminError> {
        let mut arguments = Map::new();
        let mut put = |key: &str, value: Value| drop(arguments.insert(key.to_owned(), value));
        let verb = match self {
            Self::Show { name, .. } => {
                put("account", name.as_str().into());
                "quota.show"
            }
            Self::Enable { name, .. } => {
                put("account", name.as_str().into());
                "quota.enable"
            }
            Self::Recalc { name, .. } => {
                put("account", name.as_deref().map_or(Value::Null, Value::from));
                "quota.recalc"
            }
            Self::List { over, disabled, .. } => {
                put("over", (*over).into());
                put("disabled", (*disabled).into());
                "quota.list"
            }
            Self::Set { name, storage, messages, message_size, mailboxes, language, .. } => {
                put("name", name.as_str().into());
                let limits = [
                    ("storage", storage),
                    ("messages", messages),
                    ("message_size", message_size),
                    ("mailboxes", mailboxes),
                ];
                for (key, text) in limits {
                    if let Some(text) = text {
                        put(key, limit(key, text)?);
                    }
                }
                if let Some(language) = language {
                    put("language", language.as_str().into());
                }
                "quota.set"
            }
            Self::Template { .. } => "quota.template",
        };
        Ok((verb, arguments))
    }

    /// What to print of the answer.
    pub fn shown(&self, answer: &Value) -> String {
        let (Self::Show { json, .. }
        | Self::Set { json, .. }
        | Self::Recalc { json, .. }
        | Self::List { json, .. }
        | Self::Enable { json, .. }) = self
        else {
            return String::new();
        };
        if *json {
            return answer.to_string();
        }
        match self {
            Self::Show { .. } => read(answer).map(|view| shown(&view)).unwrap_or_default(),
            Self::Set { .. } => format!("Set the limits of {}", answer["name"].as_str().unwrap_or_default()),
            Self::Template { .. } => String::new(),
            Self::Enable { name, .. } => match answer["enabled"].as_bool() {
                Some(true) => format!("{name} receives mail again"),
                _ => format!("{name} was not disabled for being over quota (culver quota show {name})"),
            },
            Self::Recalc { .. } => {
                let done = answer.as_array().map(Vec::as_slice).unwrap_or_default();
                let lines = done.iter().map(|one| {
                    let name = one["account"].as_str().unwrap_or_default();
                    match (&one["error"], &one["mistaken"]) {
                        (Value::String(why), _) => format!("{name}: {why}"),
                        (_, Value::Null) => {
                            format!("{name}: {} octets, {} messages", one["storage"], one["messages"])
                        }
                        (_, before) => format!(
                            "{name}: {} octets, {} messages; {} octets, {} messages were known",
                            one["storage"], one["messages"], before["storage"], before["messages"]
                        ),
                    }
                });
                lines.collect::<Vec<_>>().join("\n")
            }
            Self::List { over, disabled, .. } => {
                let all: Vec<QuotaView> =
                    answer.as_array().into_iter().flatten().filter_map(|one| read(one).ok()).collect();
                match (all.is_empty(), *over, *disabled) {
                    (true, _, true) => "No account is disabled for being over quota".to_owned(),
                    (true, true, _) => "No account is over its limits".to_owned(),
                    (true, false, false) => "There are no accounts yet (culver user add)".to_owned(),
                    (false, ..) => listed(&all),
                }
            }
        }
    }
}

fn read(answer: &Value) -> Result<QuotaView, serde_json::Error> {
    QuotaView::deserialize(answer)
}

/// A limit for `quota.set`: a number, `none`, or null for the default.
fn limit(key: &str, text: &str) -> Result<Value, AdminError> {
    match text {
        "none" => return Ok(Limits::NONE.into()),
        "default" => return Ok(Value::Null),
        _ => {}
    }
    let sized = matches!(key, "storage" | "message_size");
    let number = match sized {
        true => crate::user::octets(text).ok(),
        false => text.parse::<u64>().ok(),
    };
    let number = number.filter(|n| *n < Limits::NONE).map(Value::from);
    number.ok_or_else(|| {
        let example = if sized { "a size such as 500M or 2G" } else { "a number such as 1000" };
        let option = key.replace('_', "-");
        AdminError::Quota(format!("--{option} {text}: write {example}, none or default"))
    })
}

/// How an account stands, for whoever shows it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct QuotaView {
    /// Its canonical name.
    pub account: String,
    /// `within`, `warned`, `border`, `over` or `disabled`.
    pub state: String,
    /// How full, where there is a limit.
    pub percent: Option<u64>,
    /// Octets.
    pub storage: u64,
    /// Messages.
    pub messages: u64,
    /// Mailboxes, where they were looked at.
    pub mailboxes: Option<u64>,
    /// Limit of octets.
    pub storage_limit: Option<u64>,
    /// Limit of messages.
    pub messages_limit: Option<u64>,
    /// Limit of a message's octets.
    pub message_size_limit: Option<u64>,
    /// Limit of mailboxes.
    pub mailboxes_limit: Option<u64>,
    /// Since when it is over or disabled, in seconds of Unix time.
    pub since: Option<i64>,
    /// When receiving will be disabled.
    pub until: Option<i64>,
    /// When it was looked at; `None` for now.
    pub seen: Option<i64>,
}

impl QuotaView {
    fn of(account: String, standing: &Standing) -> Self {
        let (usage, limits) = (standing.usage, standing.limits);
        Self {
            account,
            state: standing.state.name().to_owned(),
            percent: standing.percent(),
            storage: usage.storage,
            messages: usage.messages,
            mailboxes: Some(standing.mailboxes),
            storage_limit: limits.storage,
            messages_limit: limits.messages,
            message_size_limit: limits.message_size,
            mailboxes_limit: limits.mailboxes,
            since: since(standing.state),
            until: standing.until,
            seen: None,
        }
    }
}

fn since(state: State) -> Option<i64> {
    match state {
        State::Over { since } | State::Disabled { since } => Some(since),
        _ => None,
    }
}

fn day(seconds: Option<i64>) -> String {
    let Some(seconds) = seconds.and_then(|n| u64::try_from(n).ok()) else { return String::new() };
    let at = rfc3339(Duration::from_secs(seconds));
    at.split('T').next().unwrap_or_default().to_owned()
}

fn state(view: &QuotaView) -> String {
    match (view.state.as_str(), view.until) {
        ("over", Some(_)) => format!("over, until {}", day(view.until)),
        ("disabled", _) => format!("disabled since {}", day(view.since)),
        (other, _) => other.to_owned(),
    }
}

fn of(used: String, limit: Option<String>) -> String {
    limit.map_or_else(|| format!("{used}, no limit"), |limit| format!("{used} of {limit}"))
}

fn shown(view: &QuotaView) -> String {
    let mut table = table(["Account", &view.account]);
    let messages = of(view.messages.to_string(), view.messages_limit.map(|n| n.to_string()));
    let mailboxes = view.mailboxes.unwrap_or_default().to_string();
    let mailboxes = of(mailboxes, view.mailboxes_limit.map(|n| n.to_string()));
    for (name, value) in [
        ("State", state(view)),
        ("Full", view.percent.map_or_else(String::new, |p| format!("{p} %"))),
        ("Storage", of(templates::size(view.storage), view.storage_limit.map(templates::size))),
        ("Octets", of(view.storage.to_string(), view.storage_limit.map(|n| n.to_string()))),
        ("Messages", messages),
        ("Mailboxes", mailboxes),
        ("One message", view.message_size_limit.map_or_else(|| "no limit".to_owned(), templates::size)),
    ] {
        table.add_row([name.to_owned(), value]);
    }
    table.to_string()
}

fn listed(all: &[QuotaView]) -> String {
    let mut table = table(["Account", "State", "Full", "Storage", "Messages", "Looked at"]);
    for view in all {
        table.add_row([
            view.account.clone(),
            state(view),
            view.percent.map_or_else(String::new, |p| format!("{p} %")),
            of(templates::size(view.storage), view.storage_limit.map(templates::size)),
            of(view.messages.to_string(), view.messages_limit.map(|n| n.to_string())),
            day(view.seen),
        ]);
    }
    table.to_string()
}

/// `quota.show`, `quota.set`, `quota.recalc`, `quota.list` and `quota.enable`.
pub struct QuotaVerbs {
    /// Keeps accounts to their quota.
    pub keeper: Arc<Keeper>,
    /// Who is who.
    pub directory: Arc<Directory>,
}

#[async_trait]
impl Verbs for QuotaVerbs {
    async fn run(&self, verb: &str, arguments: &Value) -> Option<Result<Value, String>> {
        if !verb.starts_with("quota.") {
            return None;
        }
        Some(self.answer(verb, arguments).await)
    }
}

impl QuotaVerbs {
    /// The answer to a verb.
    ///
    /// # Errors
    /// When it cannot be done; the text says what to do.
    pub async fn answer(&self, verb: &str, arguments: &Value) -> Result<Value, String> {
        let name = arguments["account"].as_str().unwrap_or_default();
        let json = |view| serde_json::to_value(view).map_err(|e| e.to_string());
        match verb {
            "quota.show" => json(self.show(name).await?),
            "quota.enable" => {
                let account = self.account(name).await?;
                let enabled = self.keeper.enable(&account).await.map_err(|e| e.to_string())?;
                Ok(json!({ "account": account.name, "enabled": enabled }))
            }
            "quota.set" => self.set(arguments).await,
            "quota.recalc" => self.recalc(arguments["account"].as_str()).await,
            "quota.list" => {
                let (over, disabled) = (arguments["over"] == true, arguments["disabled"] == true);
                serde_json::to_value(self.list(over, disabled).await?).map_err(|e| e.to_string())
            }
            other => Err(format!("there is no verb {other}")),
        }
    }

    /// How an account stands now.
    ///
    /// # Errors
    /// When there is none, or its mail cannot be looked at.
    pub async fn show(&self, name: &str) -> Result<QuotaView, String> {
        let account = self.account(name).await?;
        let standing = self.keeper.standing(&account).await.map_err(|e| e.to_string())?;
        Ok(QuotaView::of(account.name.clone(), &standing))
    }

    async fn set(&self, arguments: &Value) -> Result<Value, String> {
        let name = arguments["name"].as_str().unwrap_or_default();
        if name.contains(['@', '#']) {
            self.account(name).await?;
        }
        if let Some(language) = arguments["language"].as_str() {
            let texts = self.keeper.settings().texts.clone();
            if language != "default" && texts.find(language).is_none() {
                let there = texts.languages().join(", ");
                return Err(format!("--language {language}: there are notices in {there} (quota.templates)"));
            }
        }
        let wanted = arguments.clone();
        let set = self.keeper.set_limits(name, move |limits: &mut SetLimits| {
            let take = |key: &str, into: &mut Option<u64>| match wanted.get(key) {
                None => {}
                Some(value) => *into = value.as_u64(),
            };
            take("storage", &mut limits.storage);
            take("messages", &mut limits.messages);
            take("message_size", &mut limits.message_size);
            take("mailboxes", &mut limits.mailboxes);
            if let Some(language) = wanted["language"].as_str() {
                limits.language = Some(language.to_owned()).filter(|l| l != "default");
            }
        });
        let name = set.await.map_err(|e| e.to_string())?;
        // The new limit may be one that is reached, or no longer.
        if name.contains('@')
            && let Ok(account) = self.account(&name).await
        {
            self.keeper.stored(&account).await;
        }
        Ok(json!({ "name": name }))
    }

    async fn recalc(&self, name: Option<&str>) -> Result<Value, String> {
        let names = match name {
            Some(name) => vec![name.to_owned()],
            None => self.directory.names().await.map_err(|e| e.to_string())?,
        };
        let mut done = Vec::new();
        for of in names {
            match self.recalc_one(&of).await {
                Ok(one) => done.push(one),
                Err(why) if name.is_some() => return Err(why),
                Err(why) => done.push(json!({ "account": of, "error": why })),
            }
        }
        Ok(done.into())
    }

    async fn recalc_one(&self, name: &str) -> Result<Value, String> {
        let account = self.account(name).await?;
        let mistaken = self.keeper.recount(&account).await.map_err(|e| e.to_string())?;
        let standing = self.keeper.standing(&account).await.map_err(|e| e.to_string())?;
        let usage = |u: Usage| json!({ "storage": u.storage, "messages": u.messages });
        Ok(json!({
            "account": account.name,
            "storage": standing.usage.storage,
            "messages": standing.usage.messages,
            "mistaken": mistaken.map(usage),
        }))
    }

    /// Accounts as they were when they were last looked at; `over`: those at their limit, and those disabled for it.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    pub async fn list(&self, over: bool, disabled: bool) -> Result<Vec<QuotaView>, String> {
        let mut all = Vec::new();
        for (name, kept) in self.keeper.all().await.map_err(|e| e.to_string())? {
            let state = State::from_parts(&kept.state, kept.percent, kept.since).unwrap_or_default();
            let is_disabled = matches!(state, State::Disabled { .. });
            let is_over = is_disabled || matches!(state, State::Over { .. });
            if (over || disabled) && !(over && is_over || disabled && is_disabled) {
                continue;
            }
            // One that is gone is not shown, one that cannot be looked up now is.
            let limits = match self.look_up(&name).await {
                Ok(Some(account)) => self.keeper.limits(&account).await,
                Ok(None) => continue,
                Err(_) => Limits::default(),
            };
            let usage = Usage { storage: kept.storage, messages: kept.messages };
            all.push(QuotaView {
                account: name,
                state: state.name().to_owned(),
                percent: percent(usage, limits),
                storage: usage.storage,
                messages: usage.messages,
                mailboxes: None,
                storage_limit: limits.storage,
                messages_limit: limits.messages,
                message_size_limit: limits.message_size,
                mailboxes_limit: limits.mailboxes,
                since: since(state),
                until: state.due(&self.keeper.settings().policy),
                seen: Some(kept.seen),
            });
        }
        Ok(all)
    }

    async fn look_up(&self, name: &str) -> Result<Option<Arc<Account>>, String> {
        let login = Login::parse(name.as_bytes()).map_err(|e| e.to_string())?;
        self.directory.find(&login).await.map_err(|e| e.to_string())
    }

    async fn account(&self, name: &str) -> Result<Arc<Account>, String> {
        self.look_up(name).await?.ok_or_else(|| format!("There is no account {name} (culver user list)"))
    }
}
