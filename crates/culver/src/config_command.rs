//! `culver config check|show|default`, and reading the configuration for everybody else.

use crate::DEFAULT_CONFIG;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use culver_config::Parsed;
use std::path::{Path, PathBuf};

/// `culver config`.
#[derive(Args)]
pub struct Arguments {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what is wrong, where, and what to write instead.
    Check,
    /// Print every setting in effect and where it comes from.
    Show,
    /// Print a configuration with every setting at its default, documented.
    Default,
}

/// Runs `culver config`.
pub fn run(arguments: &Arguments) -> Result<()> {
    let file = &arguments.config;
    match arguments.command {
        Command::Default => print!("{}", culver_config::default_file()),
        Command::Check => {
            let text = text(file)?;
            let parsed = culver_config::parse(&text);
            for problem in &parsed.problems {
                println!("{}", problem.render(&file.display().to_string(), &text));
            }
            if parsed.has_errors() {
                bail!("{} cannot be used as it is", file.display());
            }
            for obstacle in crate::system::obstacles(&parsed.settings) {
                println!("warning: {obstacle}");
            }
            let (texts, wrong) = crate::quota_texts::read(&parsed.settings.quota.templates);
            for what in wrong {
                println!("warning: {what}");
            }
            let language = &parsed.settings.quota.language;
            if texts.find(language).is_none() {
                println!(
                    "warning: quota.language: there are no notices in {language:?}: choose from {}, or add it to quota.templates",
                    texts.languages().join(", ")
                );
            }
            println!(
                "{} can be used; settings that differ from the default: {}",
                file.display(),
                culver_config::differing(&parsed.settings)
            );
        }
        Command::Show => {
            let text = text(file)?;
            let parsed = accept(file, &text)?;
            print!(
                "{}",
                culver_config::show(&parsed.settings, &parsed.origins, &file.display().to_string(), &text)
            );
        }
    }
    Ok(())
}

/// Reads a configuration that must be right; warnings are not told.
pub fn read(file: &Path) -> Result<Parsed> {
    accept(file, &text(file)?)
}

#[allow(clippy::disallowed_methods, reason = "the configuration is the server's own file")]
fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| {
        format!(
            "cannot read {}. `culver config default` prints one to begin with; --config names another",
            file.display()
        )
    })
}

fn accept(file: &Path, text: &str) -> Result<Parsed> {
    let parsed = culver_config::parse(text);
    if parsed.has_errors() {
        let errors = parsed.problems.iter().filter(|p| p.severity == culver_config::Severity::Error);
        let errors: Vec<String> = errors.map(|p| p.render(&file.display().to_string(), text)).collect();
        bail!("the configuration cannot be used:\n{}", errors.join("\n"));
    }
    Ok(parsed)
}
