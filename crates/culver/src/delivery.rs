//! Settings of the configuration become the delivery, for the server and for `culver deliver`.

use crate::parts::hostname;
use culver_config::Settings;
use culver_config::settings as set;
use culver_deliver::answer::OverQuota;
use culver_deliver::client::{Login, Tls};
use culver_deliver::srs::Srs;
use culver_deliver::{
    Deliver, DeliveredTo, Forwarder, Method, Missing, Quota, Relay, Secure, Settings as DeliverSettings,
    Shelf,
};
use culver_directory::Directory;
use culver_events::Events;
use culver_lmtpd::{LmtpService, LmtpSettings};
use culver_net::TlsAcceptor;
use culver_store::io::Io;
use std::sync::Arc;

/// The delivery.
pub fn deliver(
    settings: &Settings,
    directory: Arc<Directory>,
    shelf: Arc<dyn Shelf>,
    quota: Arc<dyn Quota>,
    io: Arc<Io>,
    events: Events,
) -> Deliver {
    let d = &settings.deliver;
    let host = hostname(settings);
    let own = DeliverSettings {
        host: host.clone(),
        detail_mailbox: d.detail_mailbox,
        missing: match (d.create_mailboxes, d.subscribe_mailboxes) {
            (false, _) => Missing::Refuse,
            (true, false) => Missing::Create,
            (true, true) => Missing::Subscribe,
        },
        delivered_to: match d.delivered_to {
            set::DeliveredTo::Single => DeliveredTo::Single,
            set::DeliveredTo::Always => DeliveredTo::Always,
            set::DeliveredTo::Never => DeliveredTo::Never,
        },
        over_quota: match d.over_quota {
            set::OverQuota::Defer => OverQuota::Defer,
            set::OverQuota::Reject => OverQuota::Reject,
        },
        parallel: d.parallel as usize,
    };
    Deliver { directory, shelf, quota, forwarder: forwarder(&d.forward, host), events, io, settings: own }
}

fn forwarder(f: &set::Forward, host: String) -> Forwarder {
    let srs = (!f.srs_domain.is_empty()).then(|| Srs::new(&f.srs_secret, &f.srs_domain));
    let method = match f.method {
        set::ForwardMethod::Smtp => Method::Smtp(relay(f)),
        set::ForwardMethod::Sendmail => Method::Sendmail(f.sendmail.clone()),
        set::ForwardMethod::Off => Method::Off,
    };
    Forwarder { method, srs, hops: f.max_hops, patience: f.timeout, host }
}

fn relay(f: &set::Forward) -> Relay {
    let host = f.relay.rsplit_once(':').map_or(f.relay.as_str(), |(host, _)| host);
    let tls = || Tls {
        name: host.trim_matches(['[', ']']).to_owned(),
        config: culver_directory::tls::client(&f.ca_file)
            .map_err(|why| format!("deliver.forward.ca_file: {why}")),
    };
    let tls = match f.tls {
        set::ForwardTls::Off => Secure::No,
        set::ForwardTls::StartTls => Secure::StartTls(tls()),
        set::ForwardTls::Implicit => Secure::Implicit(tls()),
    };
    let login = Login { user: f.user.clone(), password: f.password.clone() };
    Relay { address: f.relay.clone(), tls, login: Some(login).filter(|login| !login.user.is_empty()) }
}

/// What serves LMTP.
pub fn lmtp(
    settings: &Settings,
    deliver: Arc<Deliver>,
    tls: Option<TlsAcceptor>,
    events: Events,
) -> Arc<LmtpService> {
    let l = &settings.lmtp;
    let own = LmtpSettings {
        host: hostname(settings),
        message_limit: Some(l.message_limit.0).filter(|limit| *limit > 0),
        recipients: l.max_recipients as usize,
        inline: usize::try_from(l.spool_above.0).unwrap_or(usize::MAX),
        spool: settings.state_dir.join("spool"),
        timeout: l.timeout,
        trusted: l.trusted.clone(),
    };
    Arc::new(LmtpService { deliver, tls, events, settings: own })
}
