//! Users of the machine (`source = "system"`): starting the helper, the source itself, and what an administrator should know
//! before it is used.
//!
//! A helper has the rights of who starts it. So it is started before the server gives its rights up and before the sandbox, in
//! which no program can be started, closes. What is started is the helper's parent, which starts the helper and another when one has
//! ended; both end when the server's ends of their sockets are closed.

use anyhow::{Context as _, Result};
use culver_config::Settings;
use culver_config::settings::{self as set, Serves};
use culver_directory::system::{Helper, System, SystemSettings};
use culver_directory::{Defaults, Fields};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The helpers that were started, by the place of their source among `[[directory]]`.
#[derive(Default)]
pub struct Helpers(HashMap<usize, UnixStream>);

impl Helpers {
    /// Starts one for each source that has none of its own.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(settings: &Settings) -> Result<Self> {
        let mut helpers = HashMap::new();
        for (index, row) in settings.directory.iter().enumerate() {
            if row.source == set::Source::System && row.system.helper.as_os_str().is_empty() {
                let least = settings.auth.first_valid_uid;
                let helper = start(&row.system, least).context("cannot start `culver pam-helper`")?;
                helpers.insert(index, helper);
            }
        }
        Ok(Self(helpers))
    }

    /// The source in this place.
    ///
    /// # Errors
    /// When there is no helper for it.
    pub fn source(
        &mut self,
        settings: &Settings,
        (index, row): (usize, &set::Directory),
        (fields, defaults): (Fields, Defaults),
    ) -> Result<System> {
        let helper = match self.0.remove(&index) {
            Some(stream) => Helper::Started(stream),
            None if row.system.helper.as_os_str().is_empty() => anyhow::bail!("the helper was not started"),
            None => Helper::At(row.system.helper.clone()),
        };
        let asks = row.serves != Serves::Accounts && !row.system.pam_service.is_empty();
        let settings = SystemSettings {
            service: asks.then(|| row.system.pam_service.clone()),
            user: row.system.user.clone(),
            users: row.serves != Serves::Passwords,
            first_valid_uid: settings.auth.first_valid_uid,
            domains: row.domains.iter().map(|domain| domain.to_lowercase()).collect(),
            timeout: row.system.timeout,
            fields,
            defaults,
        };
        Ok(System::new(settings, helper))
    }
}

fn start(system: &set::System, least: u32) -> std::io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["pam-helper", "--parent", "--workers", &system.workers.to_string()]);
    command.args(["--timeout", &system.timeout.as_secs_f64().to_string()]);
    command.args(["--first-valid-uid", &least.to_string()]);
    if !system.pam_service.is_empty() {
        command.args(["--service", &system.pam_service]);
    }
    // Ctrl-C in a terminal is for the server, which lets sessions end before the helper goes.
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).process_group(0).spawn()?;
    Ok(ours)
}

/// What stands in the way of these sources on this machine, in words.
pub fn obstacles(settings: &Settings) -> Vec<String> {
    let mut found = Vec::new();
    for row in settings.directory.iter().filter(|row| row.source == set::Source::System) {
        let (helper, service) = (&row.system.helper, &row.system.pam_service);
        if !helper.as_os_str().is_empty() && !is_there(helper) {
            found.push(format!(
                "there is no helper at {}: start culver-pam-helper.service, or take directory.system.helper out where the server \
                 is started as root",
                helper.display()
            ));
        }
        if row.serves == Serves::Accounts || service.is_empty() {
            continue;
        }
        let files: Vec<PathBuf> = match service.starts_with('/') {
            true => vec![service.into()],
            false => ["/etc/pam.d", "/usr/lib/pam.d"].map(|folder| Path::new(folder).join(service)).into(),
        };
        if !files.iter().any(|file| is_there(file)) {
            found.push(format!(
                "there is no PAM service {}: write that file (docs/directory.md has one), or name another in \
                 directory.system.pam_service",
                files[0].display()
            ));
        }
    }
    found
}

/// Only what is surely missing is missing.
fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

/// Does a helper that this process starts lack the rights that PAM's usual modules need?
pub fn lacks_rights(settings: &Settings) -> bool {
    let starts = |row: &set::Directory| {
        row.source == set::Source::System
            && row.system.helper.as_os_str().is_empty()
            && row.serves != Serves::Accounts
            && !row.system.pam_service.is_empty()
    };
    !rustix::process::geteuid().is_root() && settings.directory.iter().any(starts)
}
