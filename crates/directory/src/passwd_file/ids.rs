//! Names of users and groups of this system, from `/etc/passwd` and `/etc/group`. Other sources of NSS are not asked.

use std::path::Path;

/// The uid of a name.
pub fn user(name: &str) -> Option<u32> {
    third_field(Path::new("/etc/passwd"), name)
}

/// The gid of a name.
pub fn group(name: &str) -> Option<u32> {
    third_field(Path::new("/etc/group"), name)
}

#[allow(clippy::disallowed_methods, reason = "the system's files, not a user's")]
fn third_field(file: &Path, name: &str) -> Option<u32> {
    let text = std::fs::read(file).ok()?;
    String::from_utf8_lossy(&text).lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}
