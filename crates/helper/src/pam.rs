//! A password by PAM: `pam_authenticate`, then `pam_acct_mgmt`.
//!
//! The library is opened at run time. What PAM says of the user is an answer (wrong, expired, disabled); what it says of itself (a
//! module that is missing, a server that does not answer) is an outage, and so is a service that has no file, for which
//! PAM would take that of `other`.
#![expect(unsafe_code, reason = "libpam is a C library")]

use culver_directory::system::protocol::Answer;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::net::IpAddr;
use std::path::Path;
use std::ptr;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

type Converse = unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    converse: Converse,
    data: *mut c_void,
}

/// A transaction of PAM; only ever behind a pointer.
#[repr(C)]
struct Handle {
    _private: [u8; 0],
}

type Start =
    unsafe extern "C" fn(*const c_char, *const c_char, *const Conversation, *mut *mut Handle) -> c_int;
type StartIn = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const Conversation,
    *const c_char,
    *mut *mut Handle,
) -> c_int;
type Step = unsafe extern "C" fn(*mut Handle, c_int) -> c_int;
type SetItem = unsafe extern "C" fn(*mut Handle, c_int, *const c_void) -> c_int;
type Explain = unsafe extern "C" fn(*mut Handle, c_int) -> *const c_char;

struct Library {
    start: Start,
    start_in: Option<StartIn>,
    authenticate: Step,
    account: Step,
    set_item: SetItem,
    end: Step,
    explain: Explain,
}

/// The items that name the terminal, the client's address, and as whom they are there.
const TTY: c_int = 3;
const RHOST: c_int = 4;
const RUSER: c_int = 8;

const SUCCESS: c_int = 0;
const PERM_DENIED: c_int = 6;
const AUTH_ERR: c_int = 7;
const CRED_INSUFFICIENT: c_int = 8;
const USER_UNKNOWN: c_int = 10;
const MAXTRIES: c_int = 11;
const NEW_AUTHTOK_REQD: c_int = 12;
const ACCT_EXPIRED: c_int = 13;
const CRED_EXPIRED: c_int = 16;
const CONV_ERR: c_int = 19;
const AUTHTOK_EXPIRED: c_int = 27;

const SILENT: c_int = 0x8000;
const DISALLOW_NULL_AUTHTOK: c_int = 1;

const PROMPT_ECHO_OFF: c_int = 1;
const PROMPT_ECHO_ON: c_int = 2;

/// The most messages of one call, as libpam has it (PAM_MAX_NUM_MSG).
const MOST_MESSAGES: c_int = 32;

/// Where the files of services are.
const FOLDERS: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];

/// Is it their password, and may they use the account from there? The service is a name, or the path of its file.
pub fn check(service: &str, user: &str, password: &[u8], remote: Option<IpAddr>) -> Answer {
    let outage = |why: String| Answer::Outage { why };
    let (folder, name) = match service.rsplit_once('/') {
        Some((folder, name)) => (Some(folder), name),
        None => (None, service),
    };
    let there = |folder: &str| Path::new(folder).join(name).exists();
    if !folder.map_or_else(|| FOLDERS.iter().any(|folder| there(folder)), there) {
        let place = folder.unwrap_or(FOLDERS[0]);
        return outage(format!(
            "there is no {place}/{name}: write that PAM service (docs/directory.md has one), or name another in \
             directory.system.pam_service"
        ));
    }
    let library = match Library::open() {
        Ok(library) => library,
        Err(why) => return outage(why),
    };
    let (Ok(service), Ok(folder), Ok(user), Ok(password)) = (
        CString::new(name),
        CString::new(folder.unwrap_or_default()),
        CString::new(user),
        CString::new(password),
    ) else {
        // Nobody has a zero octet in name or password: C could not write it.
        return Answer::Wrong;
    };
    let remote = remote.and_then(|ip| CString::new(ip.to_string()).ok());
    library.ask((&service, &folder), &user, &password, remote.as_deref())
}

struct Secrets<'a> {
    user: &'a CStr,
    password: &'a CStr,
}

impl Library {
    fn open() -> Result<Self, String> {
        // SAFETY: the name ends in a zero octet. libpam's constructors do nothing.
        let library = unsafe { libc::dlopen(c"libpam.so.0".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return Err("libpam.so.0 is not there: install it (Debian: libpam0g)".to_owned());
        }
        let symbol = |name: &CStr| {
            // SAFETY: the library stays open for ever; the name ends in a zero octet.
            let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
            (!symbol.is_null()).then_some(symbol)
        };
        let need = |name: &CStr| {
            symbol(name).ok_or_else(|| format!("libpam has no {}: is it Linux-PAM?", name.to_string_lossy()))
        };
        let (start, authenticate, account) =
            (need(c"pam_start")?, need(c"pam_authenticate")?, need(c"pam_acct_mgmt")?);
        let (end, explain) = (need(c"pam_end")?, need(c"pam_strerror")?);
        let set_item = need(c"pam_set_item")?;
        // SAFETY: these are the types that security/pam_appl.h gives these functions.
        unsafe {
            Ok(Self {
                start: std::mem::transmute::<*mut c_void, Start>(start),
                start_in: symbol(c"pam_start_confdir")
                    .map(|s| std::mem::transmute::<*mut c_void, StartIn>(s)),
                authenticate: std::mem::transmute::<*mut c_void, Step>(authenticate),
                account: std::mem::transmute::<*mut c_void, Step>(account),
                set_item: std::mem::transmute::<*mut c_void, SetItem>(set_item),
                end: std::mem::transmute::<*mut c_void, Step>(end),
                explain: std::mem::transmute::<*mut c_void, Explain>(explain),
            })
        }
    }

    fn ask(
        &self,
        (service, folder): (&CStr, &CStr),
        user: &CStr,
        password: &CStr,
        remote: Option<&CStr>,
    ) -> Answer {
        let secrets = Secrets { user, password };
        let conversation = Conversation { converse, data: ptr::from_ref(&secrets).cast_mut().cast() };
        let mut handle: *mut Handle = ptr::null_mut();
        let code = if folder.is_empty() {
            // SAFETY: the texts end in zero octets; conversation and secrets live until pam_end.
            unsafe { (self.start)(service.as_ptr(), user.as_ptr(), &raw const conversation, &raw mut handle) }
        } else {
            let Some(start_in) = self.start_in else {
                let why = "this libpam is too old for a path in directory.system.pam_service: name a service in /etc/pam.d";
                return Answer::Outage { why: why.to_owned() };
            };
            // SAFETY: as above.
            unsafe {
                start_in(
                    service.as_ptr(),
                    user.as_ptr(),
                    &raw const conversation,
                    folder.as_ptr(),
                    &raw mut handle,
                )
            }
        };
        if code != SUCCESS || handle.is_null() {
            return Answer::Outage { why: format!("pam_start: {}", self.words(handle, code)) };
        }
        // pam_access, pam_faillock and pam_time want to know where the user sits. Dovecot sets the same three; its TTY is
        // "dovecot".
        for (item, value) in [(RHOST, remote), (RUSER, Some(user)), (TTY, Some(c"culver"))] {
            let Some(value) = value else { continue };
            // SAFETY: the handle is from pam_start; PAM copies the text, which ends in a zero octet.
            let code = unsafe { (self.set_item)(handle, item, value.as_ptr().cast()) };
            if code != SUCCESS {
                let why = format!("pam_set_item: {}", self.words(handle, code));
                // SAFETY: as above; it is not used any more.
                unsafe { (self.end)(handle, code) };
                return Answer::Outage { why };
            }
        }
        // SAFETY: the handle is from pam_start and not yet ended.
        let mut code = unsafe { (self.authenticate)(handle, SILENT | DISALLOW_NULL_AUTHTOK) };
        if code == SUCCESS {
            // SAFETY: as above.
            code = unsafe { (self.account)(handle, SILENT) };
        }
        let answer = self.answer(handle, code, service);
        // SAFETY: as above; it is not used any more.
        unsafe { (self.end)(handle, code) };
        answer
    }

    fn answer(&self, handle: *mut Handle, code: c_int, service: &CStr) -> Answer {
        match code {
            SUCCESS => Answer::Right,
            PERM_DENIED | AUTH_ERR | CRED_INSUFFICIENT | USER_UNKNOWN | MAXTRIES => Answer::Wrong,
            NEW_AUTHTOK_REQD | AUTHTOK_EXPIRED | CRED_EXPIRED => Answer::Expired,
            ACCT_EXPIRED => Answer::Disabled { reason: "it has expired".to_owned() },
            code => Answer::Outage {
                why: format!(
                    "PAM: {} (service {}): the system's log has more; try the same with pamtester",
                    self.words(handle, code),
                    service.to_string_lossy()
                ),
            },
        }
    }

    fn words(&self, handle: *mut Handle, code: c_int) -> String {
        // SAFETY: pam_strerror does not look at the handle, and gives a text that lives for ever or null.
        let text = unsafe { (self.explain)(handle, code) };
        if text.is_null() {
            return format!("error {code}");
        }
        // SAFETY: it ends in a zero octet.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}

/// Answers what modules ask: the password to a prompt that hides it, the name to one that shows it, nothing to what is
/// only told.
unsafe extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    if !(1..=MOST_MESSAGES).contains(&count) || messages.is_null() || responses.is_null() || data.is_null() {
        return CONV_ERR;
    }
    let count = count.unsigned_abs() as usize;
    // SAFETY: `data` is what `ask` gave, which still lives.
    let secrets = unsafe { &*data.cast::<Secrets<'_>>() };
    // SAFETY: PAM frees this array and its texts by free(), so they are from the C allocator.
    let array = unsafe { libc::calloc(count, size_of::<Response>()) }.cast::<Response>();
    if array.is_null() {
        return CONV_ERR;
    }
    for index in 0..count {
        // SAFETY: Linux-PAM gives an array of `count` pointers to messages.
        let style = unsafe { (**messages.add(index)).style };
        let text = match style {
            PROMPT_ECHO_OFF => secrets.password,
            PROMPT_ECHO_ON => secrets.user,
            _ => continue,
        };
        // SAFETY: within the array of `count`; strdup copies a text that ends in a zero octet.
        unsafe { (*array.add(index)).text = libc::strdup(text.as_ptr()) };
    }
    // SAFETY: PAM wants the array there.
    unsafe { *responses = array };
    SUCCESS
}
