//! `sluice check-config`: what a config file means, or where it is wrong.

use super::output::print;
use super::root::CheckConfigArgs;
use crate::config::{Admission, ControlSettings, Line, ListenSource, Listener, RuleSet, Settings, UringMode};
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
        Some(path) => {
            let settings = Settings::load(path)?;
            // Rules that are wrong are told before anything is said to be valid.
            let rules = settings.rules.file.as_ref().map(RuleSet::load).transpose()?;
            print(&describe(&settings)?)?;
            print(&rules.as_ref().map(describe_rules).unwrap_or_default())?;
        }
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
            "  interface {}: queues {}, drive {}, attach {}, zero-copy {}, rings of {}, hugepages {}{}",
            i.name,
            i.queues,
            i.drive,
            i.attach,
            i.zero_copy,
            i.ring_entries,
            i.hugepages,
            if i.join { "" } else { ", joins no group" }
        )?;
    }
    for feed in &settings.feeds {
        let lines: Vec<String> = feed.lines.iter().map(describe_line).collect();
        writeln!(out, "  feed {}: {}, {}", feed.name, feed.protocol, lines.join(", "))?;
    }
    describe_network(settings, &mut out)?;
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
    describe_control(&settings.control, &mut out)?;
    for class in Class::ALL {
        let types = settings.class_overrides.iter().filter(|over| over.class == class);
        for over in types {
            writeln!(out, "  {} {} is {}", over.protocol, over.protocol.type_name(over.kind), class.name())?;
        }
    }
    let letters = &settings.dead_letters;
    let file = letters.file.as_ref().map_or("no file".to_owned(), |file| file.display().to_string());
    writeln!(out, "  dead letters: {} kept, {}/s of an agent, {file}", letters.kept, letters.per_second)?;
    if let Err(error) = settings.check_runnable() {
        writeln!(out, "  good for replays only: {error}")?;
    }
    Ok(out)
}

fn describe_control(control: &ControlSettings, out: &mut String) -> std::fmt::Result {
    let percent = |ppm: u64| ppm as f64 / 1e4;
    match control.enabled {
        false => write!(out, "  control: no pressure levels")?,
        true => {
            write!(
                out,
                "  control: at most {} events waiting, {} % of {} dropped",
                control.max_queue_depth,
                percent(control.max_drop_ppm),
                control.min_events
            )?;
            if let Some(latency) = control.max_latency {
                write!(out, ", p99 of {} µs", latency.as_micros())?;
            }
            let (low, dwell) = (percent(control.recovery_ppm), control.dwell.as_millis());
            write!(out, "; left below {low} % for {dwell} ms")?;
        }
    }
    writeln!(
        out,
        "; a look every {} ms, stalled after {} ms, on kill {}{}",
        control.interval.as_millis(),
        control.stall.as_millis(),
        control.on_kill.name(),
        if control.start_killed { ", killed from the beginning" } else { "" }
    )
}

/// What a rules file means, in one line.
fn describe_rules(set: &RuleSet) -> String {
    let enabled = set.rules.iter().filter(|rule| rule.enabled).count();
    let keys: u64 = set.rules.iter().filter(|rule| rule.enabled).map(|rule| u64::from(rule.keys())).sum();
    format!(
        "  rules {}: {} rules, {enabled} of them enabled, up to {keys} keys, {} bytes of state\n",
        set.origin,
        set.rules.len(),
        set.state_bytes()
    )
}

fn describe_line(line: &Line) -> String {
    let source = line.source.map_or_else(String::new, |source| format!(" from {source}"));
    let interface = line.interface.as_ref().map_or_else(String::new, |name| format!(" by {name}"));
    format!("{} {}{source}{interface}", line.name, line.destination)
}

/// Listeners, connectors, what they share, and the host's figures: as far as there are any.
fn describe_network(settings: &Settings, out: &mut String) -> std::fmt::Result {
    for listener in &settings.listeners {
        describe_listener(listener, out)?;
    }
    for c in &settings.connectors {
        let servers: Vec<String> = c.servers.iter().map(ToString::to_string).collect();
        let session = if c.session.is_empty() { "the current session" } else { &c.session };
        writeln!(
            out,
            "  connect {}: {} to {}, {session} from {}, shard {}",
            c.name,
            c.protocol,
            servers.join(", "),
            match c.sequence {
                0 => "new messages on".to_owned(),
                sequence => format!("message {sequence}"),
            },
            c.shard
        )?;
    }
    if !settings.listeners.is_empty() || !settings.connectors.is_empty() {
        let network = &settings.network;
        write!(out, "  network: io_uring {}", network.mode)?;
        if network.mode == UringMode::Sqpoll {
            write!(out, " (sleeps after {} ms", network.sqpoll_idle.as_millis())?;
            match network.sqpoll_cpu {
                Some(cpu) => write!(out, ", CPU {cpu})")?,
                None => write!(out, ")")?,
            }
        }
        let remembered = match &network.producers_file {
            Some(path) => format!("remembered in {}", path.display()),
            None => "remembered while the process lives".to_owned(),
        };
        writeln!(
            out,
            ", {} buffers of {} bytes, hugepages {}, {} producers {remembered}",
            network.buffers, network.buffer_bytes, network.hugepages, network.producers_max
        )?;
    }
    let host = &settings.host;
    if host.enabled {
        writeln!(
            out,
            "  host metrics: {}.* every {} ms, priority {}, shard {}",
            host.topics_prefix,
            host.interval.as_millis(),
            host.priority.name(),
            host.shard
        )?;
    }
    Ok(())
}

fn describe_listener(listener: &Listener, out: &mut String) -> std::fmt::Result {
    write!(out, "  listen {}: {} at ", listener.name, listener.protocol)?;
    match &listener.source {
        ListenSource::Tcp { address } => write!(out, "tcp {address}")?,
        ListenSource::Unix { path, mode } => write!(out, "unix {} (mode {mode:04o})", path.display())?,
        ListenSource::Udp { address, groups, interface } => {
            write!(out, "udp {address}")?;
            for group in groups {
                write!(out, " + group {group}")?;
            }
            if let Some(interface) = interface {
                write!(out, " at {interface}")?;
            }
        }
    }
    if listener.connections_max > 0 {
        write!(
            out,
            ", {} connections ({} an address)",
            listener.connections_max, listener.connections_per_source_max
        )?;
    }
    let allowed: Vec<String> = listener.allow.iter().map(ToString::to_string).collect();
    if !allowed.is_empty() {
        write!(out, " from {}", allowed.join(", "))?;
    }
    writeln!(out, ", frames to {} bytes, shard {}", listener.frame_bytes_max, listener.shard)
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
        assert!(text.contains("  listen ingest: native at tcp 127.0.0.1:9000, 1024 connections"), "{text}");
        let settings = Settings::from_text("[classes.iex-tp]\nT = 'batch'\n", "x.toml").expect("is right");
        let text = describe(&settings).expect("writes");
        assert!(text.contains("iex-tp T is batch") && text.contains("good for replays only"), "{text}");
    }

    #[test]
    fn says_what_rules_take() {
        let text =
            "[[rule]]\nid = 'a'\ncooldown_seconds = 1\nper = 'rule'\n[[rule]]\nid = 'b'\nenabled = false\n";
        let set = RuleSet::from_text(text, "r.toml").expect("is right");
        let expected = "  rules r.toml: 2 rules, 1 of them enabled, up to 1 keys, 96 bytes of state\n";
        assert_eq!(describe_rules(&set), expected);
    }

    #[test]
    fn says_what_the_network_tables_mean() {
        let text = "[[listen]]\nname = 'u'\nsource = 'udp'\naddress = '0.0.0.0:9001'\nprotocol = 'iex-tp'\n\
                    groups = ['239.1.1.1']\ninterface = 'eth1'\nallow = ['10.0.0.0/8']\n\
                    [[listen]]\nname = 'l'\nsource = 'unix'\nprotocol = 'engine20'\n\
                    [[connect]]\nname = 's'\nservers = ['192.0.2.1:1']\nprotocol = 'soupbintcp-itch50'\npassword = 'geheim'\n\
                    [network]\nmode = 'sqpoll'\nsqpoll_cpu = 3\n[host]\nenabled = true\n";
        let text = describe(&Settings::from_text(text, "x.toml").expect("is right")).expect("writes");
        for fact in [
            "listen u: iex-tp at udp 0.0.0.0:9001 + group 239.1.1.1 at eth1 from 10.0.0.0/8, frames",
            "listen l: engine20 at unix /run/sluice/ingest.sock (mode 0660), 1024 connections",
            "connect s: soupbintcp-itch50 to 192.0.2.1:1, the current session from message 1, shard 0",
            "io_uring sqpoll (sleeps after 1000 ms, CPU 3), 64 buffers of 65536 bytes",
            "256 producers remembered while the process lives",
            "host metrics: host.* every 1000 ms, priority low, shard 0",
        ] {
            assert!(text.contains(fact), "no '{fact}' in\n{text}");
        }
        assert!(!text.contains("geheim") && !text.contains("replays only"), "{text}");
    }
}
