//! Puts the parts together: settings of the configuration become what each crate asks for.
//!
//! The only place that names implementations: the Maildir store, the kinds of directories.

use crate::delivery;
use crate::quota::ForDelivery;
use crate::sources;
pub use crate::sources::{directory, directory_with};
use crate::system::Helpers;
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use culver_admin::control::{AuthVerbs, Control};
use culver_admin::quota::QuotaVerbs;
use culver_auth::policy::{Policy as PolicyService, PolicySettings};
use culver_auth::sasl::Mechanism;
use culver_auth::scheme::Make;
use culver_auth::{Auth, AuthSettings, Backends, BlockSettings, MASTERS, Memory};
use culver_authd::{AuthdService, ClientService, Finished, MasterService};
use culver_base::{MailboxName, SpecialUse};
use culver_config::Settings;
use culver_config::settings::{self as set, Source};
use culver_deliver::{Request, StoreShelf};
use culver_directory::builtin::Builtin;
use culver_directory::passwd_file::PasswdFile;
use culver_directory::{Defaults, Directory, Source as AccountSource};
use culver_events::{Destination, Events, Level, Style};
use culver_imapd::service::{ImapService, ImapSettings};
use culver_keeper::Keeper;
use culver_lmtp::{Address, Enhanced};
use culver_lmtpd::LmtpService;
use culver_lookupd::{Lookup, Map, Maps, Policy, Recipients, Verdict};
use culver_maildir::store::{Auto, AutoMailbox};
use culver_maildir::usage::Maildirsize;
use culver_maildir::{FlagWrites, MaildirSettings, MaildirStore, StoreSettings};
use culver_net::tls::{ClientCertificates, ClientName, Oldest};
use culver_net::{BoxFuture, CertificateFiles, Connection, Serve, Shutdown, TlsAcceptor};
use culver_pop3d::Pop3Service;
use culver_pop3d::delay::LastLogins;
use culver_store::Store;
use culver_store::io::{Io, IoSettings};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

mod pop3;

/// What the server is made of.
pub struct Parts {
    lasting: Lasting,
    imap: Arc<Current<ImapService>>,
    pop3: Arc<Current<Pop3Service>>,
    auth: Arc<Current<ClientService>>,
    auth_master: Arc<Current<MasterService>>,
    lmtp: Arc<Current<LmtpService>>,
}

/// A service as it is now; sessions keep the one that they began with.
struct Current<S>(ArcSwap<S>);

impl<S: Serve> Current<S> {
    fn new(service: Arc<S>) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from(service)))
    }
}

impl<S: Serve> Serve for Current<S> {
    fn service(&self) -> &'static str {
        self.0.load().service()
    }

    fn serve(self: Arc<Self>, connection: Connection, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        self.0.load_full().serve(connection, shutdown)
    }
}

/// MTAs that ask before they send hear what delivery would say, in its words.
#[async_trait]
impl Recipients for Current<LmtpService> {
    async fn verdict(&self, address: &str, octets: u64) -> Verdict {
        let Some(address) = Address::parse(address) else { return Verdict::Unknown };
        let request = Request { size: octets, mailbox: None, now: culver_events::clock::now() };
        let deliver = self.0.load().deliver.clone();
        match deliver.recipient(&address, request).await {
            Ok(_) => Verdict::Taken,
            Err(reply) if reply.enhanced == Some(Enhanced(5, 1, 1)) => Verdict::Unknown,
            // What is ours to mend says nothing about the recipient.
            Err(reply) if reply.code == 451 => Verdict::Outage(reply.to_string()),
            Err(reply) => Verdict::Refused(reply.to_string()),
        }
    }
}

impl Parts {
    /// Opens directories and starts the pool of threads. Within the run time.
    ///
    /// # Errors
    /// When a directory cannot be opened, or the threads cannot be started.
    pub fn build(
        settings: &Settings,
        helpers: Helpers,
        tls: Option<TlsAcceptor>,
        events: Events,
    ) -> Result<Self> {
        let directory = directory_with(settings, helpers)?;
        let store = store(settings)?;
        let io = store.io().clone();
        let store: Arc<dyn Store> = Arc::new(store);
        let backends = backends(settings, directory)?;
        let keeper =
            crate::quota::keeper(settings, backends.directory.clone(), store.clone(), events.clone())?;
        let longest = auth_settings(settings).blocks.length;
        let memory = Memory::kept_in(&settings.state_dir, longest, &events);
        let (finished, last_logins) = (Finished::default(), LastLogins::default());
        let lasting = Lasting { backends, store, keeper, io, tls, events, memory, finished, last_logins };
        let auth = auth(settings, &lasting);
        let authd = authd(&lasting, auth.clone());
        let imap = Current::new(imap(settings, &lasting, auth.clone()));
        let pop3 = Current::new(pop3::service(settings, &lasting, auth));
        let lmtp = Current::new(lmtp(settings, &lasting));
        let (auth, auth_master) = (ClientService(authd.clone()), MasterService(authd));
        let (auth, auth_master) = (Current::new(Arc::new(auth)), Current::new(Arc::new(auth_master)));
        Ok(Self { lasting, imap, pop3, lmtp, auth, auth_master })
    }

    /// What serves the connections of a listener, by its name (a row of `doors.rs`).
    ///
    /// # Errors
    /// When there is no such service.
    pub fn service(&self, listener: &str) -> Result<Arc<dyn Serve>> {
        Ok(match listener {
            "imap" | "imaps" => self.imap.clone(),
            "pop3" | "pop3s" => self.pop3.clone(),
            "auth" => self.auth.clone(),
            "auth-master" => self.auth_master.clone(),
            "lmtp" => self.lmtp.clone(),
            "policy" => Arc::new(Policy {
                directory: self.lasting.backends.directory.clone(),
                recipients: self.recipients(),
            }),
            _ if listener.starts_with("lookup") => {
                let maps = Maps {
                    directory: self.lasting.backends.directory.clone(),
                    recipients: self.recipients(),
                };
                let tcp_map = listener.strip_prefix("lookup-").and_then(Map::named);
                Arc::new(Lookup { maps: Arc::new(maps), tcp_map })
            }
            other => anyhow::bail!("nothing serves {other}"),
        })
    }

    /// Who checks logins. Its memory is that of all services.
    pub fn auth(&self, settings: &Settings) -> Arc<Auth> {
        auth(settings, &self.lasting)
    }

    /// The verbs of administration that need the running server.
    pub fn control(&self) -> Control {
        let quota = QuotaVerbs {
            keeper: self.lasting.keeper.clone(),
            directory: self.lasting.backends.directory.clone(),
        };
        Control::new(vec![Arc::new(AuthVerbs(self.lasting.memory.clone())), Arc::new(quota)])
    }

    /// Keeps accounts to their quota.
    pub fn keeper(&self) -> &Arc<Keeper> {
        &self.lasting.keeper
    }

    /// Whether mail is taken, for those that ask before it comes.
    fn recipients(&self) -> Arc<dyn Recipients> {
        self.lmtp.clone()
    }

    /// New sessions get these settings.
    pub fn reload(&self, settings: &Settings) {
        self.lasting.keeper.set(crate::quota::settings(settings));
        let auth = auth(settings, &self.lasting);
        let authd = authd(&self.lasting, auth.clone());
        self.auth.0.store(Arc::new(ClientService(authd.clone())));
        self.auth_master.0.store(Arc::new(MasterService(authd)));
        self.imap.0.store(imap(settings, &self.lasting, auth.clone()));
        self.pop3.0.store(pop3::service(settings, &self.lasting, auth));
        self.lmtp.0.store(lmtp(settings, &self.lasting));
    }

    /// Writes out and closes everything.
    pub async fn close(&self) {
        self.lasting.keeper.keep_usages().await;
        self.lasting.store.close().await;
    }
}

/// The mail.
///
/// # Errors
/// When the threads cannot be started.
pub fn store(settings: &Settings) -> Result<MaildirStore> {
    let mut io = IoSettings {
        first_valid_uid: settings.auth.first_valid_uid,
        first_valid_gid: settings.auth.first_valid_gid,
        ..IoSettings::default()
    };
    if settings.store.io_threads > 0 {
        io.threads = settings.store.io_threads as usize;
    }
    let io = Io::new(io).context("cannot start the threads that read and write mail")?;
    Ok(MaildirStore::new(Arc::new(io), store_settings(settings)))
}

/// What does not change when settings are read again.
struct Lasting {
    backends: Backends,
    store: Arc<dyn Store>,
    keeper: Arc<Keeper>,
    io: Arc<Io>,
    tls: Option<TlsAcceptor>,
    events: Events,
    memory: Arc<Memory>,
    last_logins: LastLogins,
    finished: Finished,
}

/// What is asked about names and passwords.
///
/// # Errors
/// When the policy service's address cannot be one.
pub fn backends(settings: &Settings, directory: Arc<Directory>) -> Result<Backends> {
    let (masters, tokens) = (masters(settings), sources::tokens(settings)?);
    Ok(Backends { directory, masters, tokens, policy: policy(settings)? })
}

/// Who has a say in logins.
fn policy(settings: &Settings) -> Result<Option<Arc<PolicyService>>> {
    let auth = &settings.auth;
    if auth.policy_url.is_empty() {
        return Ok(None);
    }
    let (url, header) = (auth.policy_url.clone(), auth.policy_header.clone());
    let (timeout, nonce) = (auth.policy_timeout, auth.policy_nonce.clone());
    let authorities = auth.policy_ca_file.clone();
    let policy = PolicyService::new(PolicySettings { url, authorities, header, timeout, nonce });
    Ok(Some(Arc::new(policy.map_err(|why| anyhow::anyhow!("auth.policy_url: {why}"))?)))
}

/// Who may log in as anybody, from a file of their own.
fn masters(settings: &Settings) -> Option<Arc<dyn AccountSource>> {
    let path = &settings.auth.master_users;
    let file = PasswdFile::new(path.to_string_lossy(), Defaults::default()).bare_names_in(MASTERS);
    (!path.as_os_str().is_empty()).then(|| Arc::new(file) as _)
}

fn lmtp(settings: &Settings, lasting: &Lasting) -> Arc<LmtpService> {
    let Lasting { backends, store, keeper, io, tls, events, .. } = lasting;
    let quota = Arc::new(ForDelivery(keeper.clone()));
    let shelf = Arc::new(StoreShelf(store.clone()));
    let deliver =
        delivery::deliver(settings, backends.directory.clone(), shelf, quota, io.clone(), events.clone());
    delivery::lmtp(settings, Arc::new(deliver), tls.clone(), events.clone())
}

/// Who is let in, the same for all services.
pub fn auth_settings(settings: &Settings) -> AuthSettings {
    let auth = &settings.auth;
    let named: Vec<Mechanism> = auth.mechanisms.iter().filter_map(|m| Mechanism::parse(m)).collect();
    AuthSettings {
        failure_delay: auth.failure_delay,
        tls_required: auth.require_tls,
        mechanisms: Some(named).filter(|named| !named.is_empty()),
        master_separator: auth.master_separator.chars().next(),
        anonymous: Some(auth.anonymous_user.clone()).filter(|name| !name.is_empty()),
        blocks: BlockSettings {
            guesses: auth.block_after,
            network_guesses: auth.block_network_after,
            period: auth.block_period,
            length: auth.block_time,
        },
        rehash: match auth.rehash {
            set::Rehash::No => None,
            set::Rehash::ScramSha256 => Some(Make::ScramSha256),
            set::Rehash::Argon2id => Some(Make::Argon2id),
            set::Rehash::Sha512Crypt => Some(Make::Sha512Crypt),
            set::Rehash::BlfCrypt => Some(Make::BlfCrypt),
        },
    }
}

/// Who checks logins, one for all services. Those that follow each other remember the same failures.
fn auth(settings: &Settings, lasting: &Lasting) -> Arc<Auth> {
    let Lasting { backends, events, memory, .. } = lasting;
    Auth::build(backends.clone(), auth_settings(settings), events.clone(), memory.clone())
}

/// What the auth sockets do.
fn authd(lasting: &Lasting, auth: Arc<Auth>) -> Arc<AuthdService> {
    let (directory, events) = (lasting.backends.directory.clone(), lasting.events.clone());
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Arc::new(AuthdService { auth, directory, events, finished: lasting.finished.clone(), owner })
}

fn imap(settings: &Settings, lasting: &Lasting, auth: Arc<Auth>) -> Arc<ImapService> {
    let imap = &settings.imap;
    let octets = |size: culver_config::Size| usize::try_from(size.0).unwrap_or(usize::MAX);
    let imap = ImapSettings {
        append_limit: Some(imap.append_limit.0).filter(|limit| *limit > 0),
        line_limit: octets(imap.line_limit),
        inline_literal: octets(imap.spool_above),
        idle_timeout: imap.idle_timeout,
        idle_keepalive: imap.idle_keepalive,
        login_timeout: imap.login_timeout,
        tls_required: settings.auth.require_tls,
        masked: imap.hide_capabilities.iter().map(|c| c.to_ascii_uppercase()).collect(),
        failed_logins: settings.auth.max_failures,
        sessions: imap.max_sessions,
    };
    let Lasting { store, keeper, tls, events, .. } = lasting;
    let (store, keeper) = (store.clone(), keeper.clone());
    let (tls, events) = (tls.clone(), events.clone());
    Arc::new(ImapService { auth, store, keeper, tls, events, settings: imap })
}

fn store_settings(settings: &Settings) -> StoreSettings {
    let mut shared = MaildirSettings::new(&hostname(settings));
    shared.flag_writes = match settings.store.flag_writes {
        set::FlagWrites::Lazy => FlagWrites::Lazy,
        set::FlagWrites::Sync => FlagWrites::Sync,
    };
    shared.maildirsize = match settings.quota.maildirsize {
        set::Maildirsize::Existing => Maildirsize::Existing,
        set::Maildirsize::Always => Maildirsize::Always,
        set::Maildirsize::Never => Maildirsize::Never,
    };
    let uncounted = settings.mailbox.iter().filter(|m| !m.quota_counts);
    shared.uncounted = uncounted.map(|m| MailboxName::new(&m.name)).collect();
    let mut store = StoreSettings::new(&settings.state_dir, Arc::new(shared));
    store.mailboxes = settings
        .mailbox
        .iter()
        .map(|m| AutoMailbox {
            name: MailboxName::new(&m.name),
            special_use: match m.special_use {
                set::SpecialUse::None => None,
                set::SpecialUse::Drafts => Some(SpecialUse::Drafts),
                set::SpecialUse::Sent => Some(SpecialUse::Sent),
                set::SpecialUse::Junk => Some(SpecialUse::Junk),
                set::SpecialUse::Trash => Some(SpecialUse::Trash),
                set::SpecialUse::Archive => Some(SpecialUse::Archive),
                set::SpecialUse::Flagged => Some(SpecialUse::Flagged),
                set::SpecialUse::All => Some(SpecialUse::All),
            },
            auto: match m.auto {
                set::Auto::No => Auto::No,
                set::Auto::Create => Auto::Create,
                set::Auto::Subscribe => Auto::Subscribe,
            },
        })
        .collect();
    store
}

/// The setting, or the machine's own name.
pub fn hostname(settings: &Settings) -> String {
    if settings.hostname.is_empty() {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    } else {
        settings.hostname.clone()
    }
}

/// Is the built-in directory's file there, if the configuration names one? To open it would make it.
///
/// # Errors
/// When it is not.
pub fn is_there(settings: &Settings) -> Result<()> {
    let wanted = settings.directory.iter().any(|d| d.source == Source::Builtin);
    if wanted && !builtin_is_made(settings) {
        anyhow::bail!(
            "there are no accounts yet: {} is missing. Add some with culver user add, or name a passwd-file in the configuration",
            sources::builtin_file(settings).display()
        );
    }
    Ok(())
}

/// Is the built-in directory's file there? On a server it is what it is.
pub fn builtin_is_made(settings: &Settings) -> bool {
    !sources::builtin_row(settings).sql.hosts.is_empty() || sources::builtin_file(settings).exists()
}

/// The built-in directory, for commands that edit it.
///
/// # Errors
/// When the configuration names none, or it cannot be opened.
pub fn builtin_directory(settings: &Settings) -> Result<Builtin> {
    let source = settings.directory.iter().find(|d| d.source == Source::Builtin);
    let source = source.context(
        "the configuration has no built-in directory: add [[directory]] with source = \"builtin\", or edit the passwd-file",
    )?;
    make_state_dir(settings)?;
    sources::builtin(settings, source)
}

/// Makes the state folder, when it is missing, for the server alone.
///
/// # Errors
/// When that is not possible.
pub fn make_state_dir(settings: &Settings) -> Result<()> {
    let dir = &settings.state_dir;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| {
        format!(
            "cannot make {}: as root, run install -d -o culver -g culver -m 700 {}, with the service user's name",
            dir.display(),
            dir.display()
        )
    })
}

/// Certificates as the configuration names them.
pub fn certificate_files(settings: &Settings) -> Vec<CertificateFiles> {
    let pairs = settings.tls.certificate.iter();
    pairs.map(|c| CertificateFiles { certificate: c.certificate.clone(), key: c.key.clone() }).collect()
}

/// Whose clients may log in by certificate.
pub fn client_certificates(settings: &Settings) -> Option<ClientCertificates> {
    let authorities = settings.tls.client_ca.clone();
    let name = match settings.tls.client_name {
        set::ClientName::Address => ClientName::Address,
        set::ClientName::CommonName => ClientName::CommonName,
    };
    (!authorities.as_os_str().is_empty()).then_some(ClientCertificates { authorities, name })
}

/// The oldest TLS version.
pub fn oldest(settings: &Settings) -> Oldest {
    match settings.tls.min_version {
        set::TlsVersion::Tls12 => Oldest::Tls12,
        set::TlsVersion::Tls13 => Oldest::Tls13,
    }
}

/// The least important lines that are written.
pub fn level(settings: &Settings) -> Level {
    match settings.log.level {
        set::LogLevel::Debug => Level::Debug,
        set::LogLevel::Info => Level::Info,
        set::LogLevel::Warning => Level::Warning,
        set::LogLevel::Error => Level::Error,
    }
}

/// How and where the log is written.
pub fn log(settings: &Settings) -> (Style, Level, Destination) {
    let style = match settings.log.style {
        set::LogStyle::Plain => Style::Plain,
        set::LogStyle::Dovecot => Style::Dovecot,
        set::LogStyle::Json => Style::Json,
    };
    let destination = if settings.log.file == PathBuf::new() {
        Destination::stderr(std::env::var("JOURNAL_STREAM").ok().as_deref())
    } else {
        Destination::File(settings.log.file.clone())
    };
    (style, level(settings), destination)
}

/// The log.
///
/// # Errors
/// When its file cannot be opened.
pub fn events(settings: &Settings) -> Result<Events> {
    let (style, level, destination) = log(settings);
    Events::new(style, level, destination)
        .with_context(|| format!("cannot open the log {}", settings.log.file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_knows_every_mechanism() {
        assert_eq!(Mechanism::ALL.map(Mechanism::name), culver_config::MECHANISMS);
    }
}
