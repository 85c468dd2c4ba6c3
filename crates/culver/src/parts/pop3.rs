//! Settings of POP3 become what its daemon asks for. What they cannot be was told when the configuration was read; here the
//! default counts then.

use super::Lasting;
use culver_auth::Auth;
use culver_base::{Keyword, UidlFormat};
use culver_config::Settings;
use culver_config::settings::{Pop3Delete, Pop3Language, UidlDuplicates};
use culver_pop3::Language;
use culver_pop3::capability::Expire;
use culver_pop3::content::Nuls;
use culver_pop3d::{DeleteType, Duplicates, Pop3Service, Pop3Settings};
use culver_store::Sizes;
use std::sync::Arc;

/// The service.
pub fn service(settings: &Settings, lasting: &Lasting, auth: Arc<Auth>) -> Arc<Pop3Service> {
    let pop3 = &settings.pop3;
    let works_around = |name: &str| pop3.client_workarounds.iter().any(|w| w == name);
    let deleted_flag = Keyword::new(&pop3.deleted_flag);
    let flag = deleted_flag.clone().map_or(DeleteType::Expunge, DeleteType::Flag);
    let settings = Pop3Settings {
        idle_timeout: pop3.idle_timeout,
        login_timeout: pop3.login_timeout,
        tls_required: settings.auth.require_tls,
        hostname: super::hostname(settings),
        masked: pop3.hide_capabilities.iter().map(|c| c.to_ascii_uppercase()).collect(),
        failed_logins: settings.auth.max_failures,
        sessions: pop3.max_sessions,
        language: match pop3.language {
            Pop3Language::English => Language::English,
            Pop3Language::German => Language::German,
            Pop3Language::French => Language::French,
        },
        login_delay: pop3.login_delay,
        expire: Expire::parse(&pop3.expire).unwrap_or_default(),
        uidl_format: UidlFormat::parse(&pop3.uidl_format).unwrap_or_default(),
        duplicates: match pop3.uidl_duplicates {
            UidlDuplicates::Allow => Duplicates::Allow,
            UidlDuplicates::Rename => Duplicates::Rename,
        },
        save_uidl: pop3.save_uidl,
        reuse_xuidl: pop3.reuse_xuidl,
        no_flag_updates: pop3.no_flag_updates,
        sizes: if pop3.fast_size_lookups { Sizes::AtHand } else { Sizes::Exact },
        lock_session: pop3.lock_session,
        enable_last: pop3.enable_last,
        deleted_flag,
        delete_type: match pop3.delete_type {
            Pop3Delete::Expunge => DeleteType::Expunge,
            Pop3Delete::Default | Pop3Delete::Flag => flag,
        },
        nuls: if works_around("outlook-no-nuls") { Nuls::Replaced } else { Nuls::Kept },
        end_of_header: works_around("oe-ns-eoh"),
    };
    Arc::new(Pop3Service {
        auth,
        store: lasting.store.clone(),
        keeper: lasting.keeper.clone(),
        tls: lasting.tls.clone(),
        events: lasting.events.clone(),
        settings,
        last_logins: lasting.last_logins.clone(),
    })
}
