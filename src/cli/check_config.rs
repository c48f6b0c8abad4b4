//! `sluice check-config`: what a config file means, or where it is wrong.

use super::output::print;
use super::root::CheckConfigArgs;
use crate::config::{Admission, Settings};
use crate::event::Class;
use crate::report::Exit;
use std::fmt::Write as _;

/// Checks the file and prints what it means, or prints the built-in default file.
///
/// # Errors
/// The file is wrong ([`crate::config::ConfigError`]), or standard output can't be written to.
pub fn check_config(args: &CheckConfigArgs) -> anyhow::Result<Exit> {
    match &args.file {
        // clap demands a file or --print-default.
        None => print(Settings::embedded_default_text())?,
        Some(path) => print(&describe(&Settings::load(path)?)?)?,
    }
    Ok(Exit::Done)
}

/// What settings mean, a fact a line.
fn describe(settings: &Settings) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "{}: valid, config {}", settings.origin, settings.config_hash())?;
    for i in &settings.interfaces {
        writeln!(
            out,
            "  interface {}: queues {}, drive {}, attach {}, zero-copy {}, rings of {}, hugepages {}",
            i.name, i.queues, i.drive, i.attach, i.zero_copy, i.ring_entries, i.hugepages
        )?;
    }
    for feed in &settings.feeds {
        let lines: Vec<String> = feed.lines.iter().map(|l| format!("{} {}", l.name, l.destination)).collect();
        writeln!(out, "  feed {}: {}, {}", feed.name, feed.protocol, lines.join(", "))?;
    }
    match settings.admission {
        Admission::FeedsOnly => writeln!(out, "  other destinations: refused")?,
        Admission::Everything { protocol: None } => {
            writeln!(out, "  other destinations: decoded as what they look like")?;
        }
        Admission::Everything { protocol: Some(protocol) } => {
            writeln!(out, "  other destinations: decoded as {protocol}")?;
        }
    }
    let [realtime, transactional, batch] = settings.queue_capacities;
    writeln!(out, "  queues: realtime {realtime}, transactional {transactional}, batch {batch}")?;
    let threads = &settings.threads;
    writeln!(
        out,
        "  threads: {}, idle {}, {} shard(s), bursts of {} frames",
        threads.mode, threads.idle, threads.shards, threads.burst
    )?;
    for class in Class::ALL {
        let types = settings.class_overrides.iter().filter(|over| over.class == class);
        for over in types {
            writeln!(out, "  {} {} is {}", over.protocol, over.protocol.type_name(over.kind), class.name())?;
        }
    }
    if let Err(error) = settings.check_runnable() {
        writeln!(out, "  good for replays only: {error}")?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_a_file_means() {
        let text = describe(&Settings::embedded_default()).expect("writes");
        for fact in
            ["valid", "interface eth1", "A 233.54.12.111:26477", "realtime 16384", "1 shard(s)", "refused"]
        {
            assert!(text.contains(fact), "no '{fact}' in\n{text}");
        }
        assert!(!text.contains("replays only"));
        let settings = Settings::from_text("[classes.iex-tp]\nT = 'batch'\n", "x.toml").expect("is right");
        let text = describe(&settings).expect("writes");
        assert!(text.contains("iex-tp T is batch") && text.contains("good for replays only"), "{text}");
    }
}
