//! Users by NSS: `/etc/passwd`, SSSD, winbind, whatever the machine is set up for.
#![expect(unsafe_code, reason = "getpwnam_r and getpwent have no safe wrapper")]

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::ptr;

/// A user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The uid.
    pub uid: u32,
    /// The gid.
    pub gid: u32,
    /// The home.
    pub home: String,
}

/// The largest entry that is read; more is an error.
const LARGEST: usize = 1 << 20;

/// The user of this name.
///
/// # Errors
/// When NSS cannot be asked.
pub fn user(name: &str) -> io::Result<Option<User>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let mut buffer: Vec<c_char> = vec![0; 4096];
    loop {
        // SAFETY: an all-zero passwd is a valid value (null pointers and zeros).
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found: *mut libc::passwd = ptr::null_mut();
        // SAFETY: all pointers are to live values of their types; the length is the buffer's.
        let code = unsafe {
            libc::getpwnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        match code {
            libc::ERANGE if buffer.len() < LARGEST => buffer.resize(buffer.len() * 4, 0),
            // The manual page lists these as ways to say that there is none.
            0 | libc::ENOENT | libc::ESRCH if found.is_null() => return Ok(None),
            0 => {
                let home = text(entry.pw_dir);
                return Ok(Some(User { uid: entry.pw_uid, gid: entry.pw_gid, home }));
            }
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// The names of all users with such a uid at least. Some services of NSS name nobody.
pub fn users(least: u32) -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: a worker has one thread, and nothing else walks through the users.
    unsafe { libc::setpwent() };
    loop {
        // SAFETY: as above; the entry is read before the next call.
        let entry = unsafe { libc::getpwent() };
        // SAFETY: it is null or points to an entry.
        let Some(entry) = (unsafe { entry.as_ref() }) else { break };
        // 65534 is nobody.
        if entry.pw_uid >= least && entry.pw_uid < 65534 {
            names.push(text(entry.pw_name));
        }
    }
    // SAFETY: as above.
    unsafe { libc::endpwent() };
    names
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: NSS gives texts that end in a zero octet and live as long as the entry.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_this_machine() {
        let root = user("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/root"));
        assert_eq!(user("no-such-user-here").unwrap(), None);
        assert_eq!(user("a\0b").unwrap(), None);
        assert!(!users(1).contains(&"root".to_owned()));
        assert!(users(0).contains(&"root".to_owned()));
    }
}
