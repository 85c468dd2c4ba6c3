//! The administrator's hooks for steps of quotas: an address that is posted to, and a program that is started.
//!
//! Each has `quota.hook_timeout` for a step. A program that takes longer is killed; what either of them does wrong is logged
//! and changes nothing else. The sandbox lets a server start no program: the settings' check says so.

use async_trait::async_trait;
use culver_config::Settings;
use culver_directory::http::{Endpoint, Post};
use culver_keeper::{Hook, Hooks, Told};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// So much of what a program says on standard error goes to the log.
const MOST_SAID: usize = 200;

/// Those that the settings name.
///
/// # Errors
/// When the address cannot be one, or its authorities cannot be read.
pub fn hooks(settings: &Settings) -> anyhow::Result<Hooks> {
    let quota = &settings.quota;
    let patience = quota.hook_timeout;
    let mut hooks = Hooks::new();
    if !quota.hook_url.is_empty() {
        let endpoint = Endpoint::new(&quota.hook_url, &quota.hook_ca_file, patience);
        let endpoint = endpoint.map_err(|why| anyhow::anyhow!("quota.hook_url: {why}"))?;
        let endpoint = endpoint.named("culver/quota", "quota.hook_ca_file");
        hooks.push(Arc::new(Address { endpoint, header: quota.hook_header.clone() }));
    }
    if !quota.hook.as_os_str().is_empty() {
        hooks.push(Arc::new(Program { path: quota.hook.clone(), patience }));
    }
    Ok(hooks)
}

struct Address {
    endpoint: Endpoint,
    header: String,
}

#[async_trait]
impl Hook for Address {
    async fn run(&self, account: &str, told: &Told) -> Result<(), String> {
        let json = told.as_json(account).to_string();
        let post = Post { more: "", header: &self.header, json };
        self.endpoint.post(post).await.map(drop).map_err(|why| format!("quota.hook_url: {why}"))
    }
}

struct Program {
    path: PathBuf,
    patience: Duration,
}

#[async_trait]
impl Hook for Program {
    async fn run(&self, account: &str, told: &Told) -> Result<(), String> {
        let of = |why: String| format!("{}: {why}", self.path.display());
        match timeout(self.patience, self.start(account, told)).await {
            Ok(ended) => ended.map_err(of),
            // It is killed with its handle.
            Err(_) => Err(of(format!("it did not end within {:?} and was killed", self.patience))),
        }
    }
}

impl Program {
    async fn start(&self, account: &str, told: &Told) -> Result<(), String> {
        let mut child = Command::new(&self.path)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(variables(account, told))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| e.to_string())?;
        if let Some(mut input) = child.stdin.take() {
            // Whoever does not read it has the environment.
            let _ = input.write_all(format!("{}\n", told.as_json(account)).as_bytes()).await;
        }
        let output = child.wait_with_output().await.map_err(|e| e.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(MOST_SAID).collect();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        Err(format!("it ended with {}{said}", output.status))
    }
}

/// The members of the JSON as variables; those without a value are left out.
fn variables(account: &str, told: &Told) -> Vec<(String, String)> {
    let json = told.as_json(account);
    let members = json.as_object().into_iter().flatten();
    members
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (format!("CULVER_{}", name.to_ascii_uppercase()), text)
        })
        .collect()
}
