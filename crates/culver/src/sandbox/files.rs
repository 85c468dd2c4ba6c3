//! Landlock: which folders the process may reach at all, whoever it is at the moment.

use anyhow::{Result, bail};
use culver_config::Settings;
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Renames between folders (REFER, since ABI 2) and truncation (3) must be named to be allowed.
const NEWEST: ABI = ABI::V5;

/// Fences the thread in. What an old kernel does not know of (Debian 12's: truncation, ioctl on devices) stays allowed.
///
/// # Errors
/// When the kernel has no Landlock, or it cannot be used.
pub fn fence(settings: &Settings, config: &Path) -> Result<()> {
    let (read, write) = folders(settings, config);
    restrict(&read, &write)
}

fn restrict(read: &BTreeSet<PathBuf>, write: &BTreeSet<PathBuf>) -> Result<()> {
    let all = AccessFs::from_all(NEWEST);
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all)?.create()?;
    for folder in read {
        rules = allow(rules, folder, reading)?;
    }
    // Files of users are never executed and never devices.
    let writing = all & !(AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev);
    for folder in write {
        rules = allow(rules, folder, writing)?;
    }
    let status = rules.restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced {
        bail!("this kernel has none");
    }
    Ok(())
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
    for authorities in
        [&settings.deliver.forward.ca_file, &settings.auth.policy_ca_file, &settings.quota.hook_ca_file]
    {
        if !authorities.as_os_str().is_empty() {
            folder_of(authorities);
        }
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
        for keys in &directory.oauth2.keys {
            folder_of(keys);
        }
        for authorities in [&directory.sql.ca_file, &directory.ldap.ca_file, &directory.oauth2.ca_file] {
            if !authorities.as_os_str().is_empty() {
                folder_of(authorities);
            }
        }
    }
    let mut write: BTreeSet<PathBuf> = settings.mail.roots.iter().cloned().collect();
    write.insert(settings.state_dir.clone());
    write.extend(settings.log.file.parent().map(Path::to_owned).filter(|p| !p.as_os_str().is_empty()));
    // The temporary files of SQLite.
    write.insert(PathBuf::from("/dev/null"));
    (read, write)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a thread of its own: what it gives up, the others keep.
    #[test]
    fn what_is_not_named_cannot_be_reached() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["mail", "secret", "settings"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("file"), "x").unwrap();
        }
        let at = |name: &str| dir.path().join(name);
        let (read, write) = (BTreeSet::from([at("settings")]), BTreeSet::from([at("mail"), at("not-there")]));
        std::thread::scope(|scope| {
            let fenced = scope.spawn(|| {
                if let Err(e) = restrict(&read, &write) {
                    println!("not run: Landlock: {e}");
                    return;
                }
                std::fs::write(at("mail").join("new"), "y").unwrap();
                std::fs::rename(at("mail").join("new"), at("mail").join("newer")).unwrap();
                assert_eq!(std::fs::read(at("settings").join("file")).unwrap(), b"x");
                assert!(std::fs::write(at("settings").join("file"), "y").is_err());
                assert!(std::fs::read(at("secret").join("file")).is_err());
                assert!(std::fs::read_dir(dir.path()).is_err());
            });
            fenced.join().unwrap();
        });
        assert!(std::fs::read(at("secret").join("file")).is_ok());
    }
}
