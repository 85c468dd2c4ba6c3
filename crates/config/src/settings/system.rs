//! The settings of users of the machine.

use crate::section::section;
use std::path::PathBuf;
use std::time::Duration;

section! {
    /// Users of the system (`source = "system"`), through a helper process that keeps root's rights and does nothing else.
    /// `domains` says in which domains they are.
    System {
        /// The PAM service, `/etc/pam.d/NAME` in small letters; or the absolute path of such a file. Empty: PAM is not asked.
        pam_service: String = "culver".to_owned(), Restart, "\"dovecot\"";
        /// The user's name for PAM and NSS, made of the login's parts.
        user: String = "%n".to_owned(), Restart, "\"%u\"";
        /// The unix socket of a helper that runs as a service of its own (`culver pam-helper --listen`), for servers that systemd
        /// does not start as root. That one must be started for `pam_service` (`--service`); `workers` and `timeout` are then its own arguments. Empty: the
        /// server starts one.
        helper: PathBuf = PathBuf::new(), Restart, "\"/run/culver/pam-helper\"";
        /// Questions that the helper works at at once, each in a process of its own.
        workers: u32 = 4, Restart, "16";
        /// A question that takes longer counts as an outage, and its process is ended.
        timeout: Duration = Duration::from_secs(30), Restart, "\"10s\"";
    }
}
