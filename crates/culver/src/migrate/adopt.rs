//! `culver adopt`.

use super::report::{self, Sum};
use super::{Progress, Use, Which, verify, work};
use crate::{DEFAULT_CONFIG, parts};
use anyhow::{Context, Result, bail};
use culver_config::Settings;
use culver_directory::Directory;
use culver_maildir::adopt::{How, adopt};
use culver_store::{Layout, Owner, Place};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// `culver adopt`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Tells what would be done and what is odd; changes nothing on disk. May be used while any server runs.
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    #[command(flatten)]
    verify: verify::Comparison,
}

/// Adopts, or compares.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.verify.verify {
        return verify::run(&arguments.verify, &arguments.which, &arguments.config, arguments.json);
    }
    let how = if arguments.dry_run { How::DryRun } else { How::Adopt };
    let with = if arguments.dry_run { Use::LookOnly } else { Use::Alone };
    let failed = work(&arguments.config, with, async move |settings, directory| {
        adopt_all(arguments, how, settings, directory).await
    })?;
    if failed > 0 {
        bail!(
            "{failed} of them could not be adopted as a whole; what to do stands above. To run the command again does no harm"
        );
    }
    Ok(())
}

/// Gives back how many accounts failed.
async fn adopt_all(
    arguments: &Arguments,
    how: How,
    settings: &Settings,
    directory: &Directory,
) -> Result<usize> {
    let mut places = Vec::new();
    for (name, account) in arguments.which.accounts(directory).await? {
        places.push((name, account.map(|account| culver_imapd::place(&account))));
    }
    if let Some(path) = arguments.which.path().filter(|_| places.is_empty()) {
        if how != How::DryRun {
            bail!(
                "no account of the configuration has its mail in {}: add one (culver user add USER --mail maildir:{}), or \
                 correct mail.location. --dry-run looks at a Maildir that is nobody's yet",
                path.display(),
                path.display()
            );
        }
        places.push((path.display().to_string(), nobodys(&path, settings)));
    }
    let store = parts::store(settings)?;
    let progress = Progress::new(places.len());
    let mut sum = Sum::default();
    let mut rows = Vec::new();
    for (name, place) in places {
        let adopted = match &place {
            Ok(place) => {
                let mut begins = |at: usize, of: usize, mailbox: &culver_base::MailboxName| {
                    progress.begins(&name, at, of, mailbox.as_str());
                };
                adopt(&store, place, how, &mut begins).await.map_err(anyhow::Error::from)
            }
            Err(e) => Err(anyhow::anyhow!("{e:#}")),
        };
        sum.add(&adopted);
        if arguments.json {
            rows.push(report::adopted_json(&name, place.as_ref().ok(), &adopted));
            progress.done("");
        } else {
            progress.done(&report::adopted(&name, place.as_ref().ok(), how, &adopted));
        }
    }
    drop(progress);
    if arguments.json {
        println!(
            "{}",
            serde_json::json!({ "accounts": rows, "sum": sum.json(), "dry_run": how == How::DryRun })
        );
    } else {
        println!("{}", sum.text(how));
    }
    Ok(sum.failed)
}

/// The place of a Maildir that no account has.
fn nobodys(path: &Path, settings: &Settings) -> Result<Place> {
    #[allow(clippy::disallowed_methods, reason = "whose it is decides as whom it is read")]
    let stat = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    let owner = Some(Owner { uid: stat.uid(), gid: stat.gid() });
    let own = stat.uid() == rustix::process::geteuid().as_raw();
    Ok(Place {
        account: path.display().to_string(),
        owner: owner.filter(|_| !own),
        root: path.to_owned(),
        control: None,
        index: None,
        layout: match settings.mail.layout.word() {
            "fs" => Layout::Fs,
            _ => Layout::MaildirPlusPlus,
        },
    })
}
