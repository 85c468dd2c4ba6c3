//! Landlock: which folders the process may reach at all, whoever it is at the moment.

use anyhow::Result;
use culver_config::Settings;
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Renames between folders (REFER, since ABI 2) and truncation (3) must be named to be allowed.
const NEWEST: ABI = ABI::V5;

/// Fences the thread in. `Some` names what the kernel could not do.
pub fn fence(settings: &Settings, config: &Path) -> Result<Option<String>> {
    let (read, write) = folders(settings, config);
    let all = AccessFs::from_all(NEWEST);
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all)?.create()?;
    for folder in &read {
        rules = allow(rules, folder, reading)?;
    }
    // Files of users are never executed and never devices.
    let writing = all & !(AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev);
    for folder in &write {
        rules = allow(rules, folder, writing)?;
    }
    let status = rules.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => None,
        RulesetStatus::PartiallyEnforced => Some("this kernel knows only a part of the rules".to_owned()),
        RulesetStatus::NotEnforced => Some("this kernel has none".to_owned()),
    })
}

fn allow(rules: RulesetCreated, folder: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated> {
    // What is not there needs no permission.
    let Ok(fd) = PathFd::new(folder) else { return Ok(rules) };
    Ok(rules.add_rule(PathBeneath::new(fd, access))?)
}

/// Folders to read in, and to write in.
fn folders(settings: &Settings, config: &Path) -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
    // Time zones, locales, random numbers; /proc/self for limits and memory figures.
    let mut read: BTreeSet<PathBuf> =
        ["/etc", "/usr", "/lib", "/dev", "/proc", "/sys/fs/cgroup"].map(PathBuf::from).into();
    let mut folder_of = |file: &Path| {
        read.extend(file.parent().map(Path::to_owned));
        // Certificates of certbot are links into another folder.
        #[allow(clippy::disallowed_methods, reason = "the server's own files")]
        let real = file.canonicalize().ok();
        read.extend(real.and_then(|f| f.parent().map(Path::to_owned)));
    };
    folder_of(config);
    for pair in &settings.tls.certificate {
        folder_of(&pair.certificate);
        folder_of(&pair.key);
    }
    for directory in &settings.directory {
        if !directory.path.as_os_str().is_empty() {
            // A path with variables (`/etc/users/%d`): from the folder before the first one on.
            let fixed: PathBuf = directory
                .path
                .components()
                .take_while(|c| !c.as_os_str().to_string_lossy().contains('%'))
                .collect();
            folder_of(&fixed.join("x"));
            folder_of(&fixed);
        }
    }
    let mut write: BTreeSet<PathBuf> = settings.mail.roots.iter().cloned().collect();
    write.insert(settings.state_dir.clone());
    write.extend(settings.log.file.parent().map(Path::to_owned).filter(|p| !p.as_os_str().is_empty()));
    // The temporary files of SQLite.
    write.insert(PathBuf::from("/dev/null"));
    (read, write)
}
