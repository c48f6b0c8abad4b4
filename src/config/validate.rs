//! The checks of a config file: each key by itself (called by garde), then keys against each other.
//!
//! Invariant: every refusal says the value, what is allowed, and where it helps, what to write instead.

use super::error::{Finding, line_of_key};
use super::file::{ConfigFile, Endpoint, FeedTable, InterfaceTable, LineTable};
use super::network_validate;
use super::windows_file;
use super::wishes::{AttachWish, QueuesWish, ThreadingWish, ZeroCopyWish};
use super::{recovery_file, routing_file, transactional_file};
use crate::event::{Destination, Protocol};
use crate::limits::{self, LANES_PER_SHARD_MAX, LINES_MAX, SLOT_PAYLOAD_BYTES};
use garde::Validate;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

/// A ring holds at least one burst.
pub(super) const RING_ENTRIES_MIN: u32 = limits::BURST_MAX as u32;
/// 65,536 entries lost nothing at the highest rate tried, with the real-time throttle biting; more only costs
/// cache.
pub(super) const RING_ENTRIES_MAX: u32 = 65_536;
/// A queue holds at least one burst.
pub(super) const QUEUE_MIN: u32 = limits::BURST_MAX as u32;
/// 16 Mi tickets: minutes of a feed's peak; more is a slow consumer hidden in memory.
pub(super) const QUEUE_MAX: u32 = 1 << 24;
/// 16 Mi slots: one for every place of the largest queue.
pub(super) const SLOTS_MAX: u32 = 1 << 24;
/// [`limits::SHARDS_MAX`].
pub(super) const SHARDS_MAX: u32 = limits::SHARDS_MAX as u32;
/// [`limits::BURST_MAX`].
pub(super) const BURST_MAX: u32 = limits::BURST_MAX as u32;

/// A window holds at least two bursts of the shortest messages.
pub(super) const WINDOW_MIN: u32 = 64;
/// [`limits::SEQUENCE_WINDOW_MAX`].
pub(super) const WINDOW_MAX: u32 = limits::SEQUENCE_WINDOW_MAX as u32;
/// Units of a feed that can be listed.
const UNITS_MAX: usize = 256;

/// The kernel's cpu_set_t has 1,024 bits.
pub(super) const CPU_NUMBER_MAX: u32 = 1_023;
/// IFNAMSIZ without its terminating zero.
const INTERFACE_NAME_BYTES_MAX: usize = 15;
/// Names of feeds and lines stand in tables and labels.
const NAME_BYTES_MAX: usize = 48;
/// Queues of one NIC; the largest known ones have some hundred.
const QUEUE_NUMBER_MAX: u32 = 1_023;

const _: () = assert!(RING_ENTRIES_MIN.is_power_of_two() && RING_ENTRIES_MAX.is_power_of_two());
const _: () = assert!(QUEUE_MIN.is_power_of_two() && QUEUE_MAX.is_power_of_two());
const _: () = {
    // The keys pool.slots_* are named after these.
    let named = [64, 192, 1_984, 65_536];
    let mut class = 0;
    while class < named.len() {
        assert!(SLOT_PAYLOAD_BYTES[class] == named[class]);
        class += 1;
    }
};

/// A refusal with this text.
pub(super) fn refuse(problem: String) -> garde::Result {
    Err(garde::Error::new(problem))
}

/// Checks for a power of two in `min..=max`, and names the nearest one.
pub(super) fn power_of_two(min: u32, max: u32) -> impl Fn(&u32, &()) -> garde::Result {
    move |value, ()| {
        if value.is_power_of_two() && (min..=max).contains(value) {
            return Ok(());
        }
        let nearest = value.clamp(&min, &max).next_power_of_two().min(max);
        refuse(format!("is {value}; allowed: a power of two from {min} to {max}; the next one is {nearest}"))
    }
}

/// Checks for a number in `min..=max`; `unit` says of what.
pub(super) fn within(min: u32, max: u32, unit: &'static str) -> impl Fn(&u32, &()) -> garde::Result {
    move |value, ()| match (min..=max).contains(value) {
        true => Ok(()),
        false => refuse(format!("is {value}; allowed: {min} to {max} {unit}")),
    }
}

/// Checks a list of units.
pub(super) fn units(units: &[u32], (): &()) -> garde::Result {
    if units.len() > UNITS_MAX {
        return refuse(format!(
            "lists {} units; allowed: up to {UNITS_MAX}, or none to admit all",
            units.len()
        ));
    }
    match first_repeated(units.iter()) {
        Some((unit, first, second)) => {
            refuse(format!("names unit {unit} at {first} and at {second}; leave one out"))
        }
        None => Ok(()),
    }
}

/// Checks an interface's name by the kernel's own rule.
pub(super) fn interface_name(name: &String, (): &()) -> garde::Result {
    let shaped = (1..=INTERFACE_NAME_BYTES_MAX).contains(&name.len()) && name != "." && name != "..";
    if shaped && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':') {
        return Ok(());
    }
    refuse(format!(
        "is {name:?}; allowed: an interface's name, 1 to {INTERFACE_NAME_BYTES_MAX} printable characters \
         without '/' and ':'; `ip link` lists them"
    ))
}

/// Checks a feed's or line's name: it is printed in tables and used as a label.
pub(super) fn name(name: &String, (): &()) -> garde::Result {
    let printable = name.chars().all(|c| c.is_alphanumeric() || "-_. /:+".contains(c));
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && printable && name.trim() == name {
        return Ok(());
    }
    refuse(format!(
        "is {name:?}; allowed: 1 to {NAME_BYTES_MAX} bytes of letters, digits, inner spaces and - _ . / : +"
    ))
}

/// Checks that a path is not empty.
pub(super) fn path(path: &str, (): &()) -> garde::Result {
    match path.is_empty() {
        false => Ok(()),
        true => refuse("is empty; write a file's path, or leave the key out for none".to_owned()),
    }
}

/// Checks that a feed has lines, and not too many.
pub(super) fn line_count(lines: &[LineTable], (): &()) -> garde::Result {
    match (1..=LINES_MAX).contains(&lines.len()) {
        true => Ok(()),
        false => refuse(format!("has {} lines; allowed: 1 to {LINES_MAX} copies of one stream", lines.len())),
    }
}

/// Checks that packets can be sent to this destination.
pub(super) fn destination(endpoint: &Endpoint, (): &()) -> garde::Result {
    let socket = endpoint.0;
    if socket.ip().to_canonical().is_unspecified() {
        return refuse(format!(
            "is {socket}; write the group or address that packets carry, not the wildcard"
        ));
    }
    match socket.port() {
        0 => refuse(format!("is {socket}; allowed: ports 1 to 65535")),
        _ => Ok(()),
    }
}

/// Checks a list of queue numbers.
pub(super) fn queues(wish: &QueuesWish, (): &()) -> garde::Result {
    match wish {
        QueuesWish::All => Ok(()),
        QueuesWish::List(list) if list.is_empty() => {
            refuse("is an empty list; write \"all\", or at least one queue such as [0]".to_owned())
        }
        QueuesWish::List(list) => numbers(list, QUEUE_NUMBER_MAX, "queue"),
    }
}

/// Checks a list of CPU numbers.
pub(super) fn cpus(list: &[u32], (): &()) -> garde::Result {
    numbers(list, CPU_NUMBER_MAX, "CPU")
}

fn numbers(list: &[u32], max: u32, noun: &str) -> garde::Result {
    if let Some(high) = list.iter().find(|number| **number > max) {
        return refuse(format!("has {noun} {high}; allowed: 0 to {max}"));
    }
    match first_repeated(list.iter().copied()) {
        None => Ok(()),
        Some((number, _, _)) => refuse(format!("has {noun} {number} twice; list each one once")),
    }
}

/// The first value that occurs twice, with both indexes.
pub(super) fn first_repeated<T: Hash + Eq + Clone>(
    values: impl IntoIterator<Item = T>,
) -> Option<(T, usize, usize)> {
    let mut seen = HashMap::new();
    values.into_iter().enumerate().find_map(|(index, value)| {
        let first = seen.insert(value.clone(), index)?;
        Some((value, first, index))
    })
}

/// Everything that is wrong in a parsed file, in the order of its keys. `text` is what it was parsed from.
pub(super) fn findings(file: &ConfigFile, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Err(report) = file.validate() {
        found.extend(report.iter().map(|(path, error)| (path.to_string(), error.message().to_owned())));
    }
    interfaces_together(&file.interface, &mut found);
    lanes_fit_shards(file, &mut found);
    names_are_distinct(file, &mut found);
    feeds_together(&file.feed, &mut found);
    lines_and_interfaces(file, &mut found);
    network_validate::together(file, &mut found);
    recovery_file::together(file, &mut found);
    routing_file::together(file, &mut found);
    transactional_file::together(file, &mut found);
    windows_file::together(file, &mut found);
    cpus_fit_shards(file, &mut found);
    classes_name_types(file, &mut found);
    located(found, text)
}

/// Findings with the lines of their keys in `text`.
pub(super) fn located(found: Found, text: &str) -> Vec<Finding> {
    let located = |(key, problem): (String, String)| Finding { line: line_of_key(text, &key), key, problem };
    found.into_iter().map(located).collect()
}

/// Keys with what is wrong with them.
pub(super) type Found = Vec<(String, String)>;

fn interfaces_together(interfaces: &[InterfaceTable], found: &mut Found) {
    for (index, interface) in interfaces.iter().enumerate() {
        let key = |name: &str| format!("interface[{index}].{name}");
        if interface.attach == AttachWish::Generic && interface.zero_copy == ZeroCopyWish::Require {
            found.push((
                key("zero_copy"),
                "is \"require\", but attach is \"generic\", which always copies; \
                 write attach = \"native\", or zero_copy = \"auto\""
                    .to_owned(),
            ));
        }
    }
    if let Some((name, first, second)) = first_repeated(interfaces.iter().map(|i| i.name.as_str())) {
        found.push((
            format!("interface[{second}].name"),
            format!("is \"{name}\", as is interface[{first}].name; give an interface one table and list its queues"),
        ));
    }
}

/// A shard polls a bounded number of lanes; `queues = "all"` is checked against the machine at start.
fn lanes_fit_shards(file: &ConfigFile, found: &mut Found) {
    let listed: usize = file
        .interface
        .iter()
        .map(|interface| match &interface.queues {
            QueuesWish::List(list) => list.len(),
            QueuesWish::All => 1,
        })
        .sum();
    let room = file.threads.shards as usize * LANES_PER_SHARD_MAX;
    if file.threads.shards > 0 && listed > room {
        found.push((
            "threads.shards".to_owned(),
            format!(
                "is {}, which has room for {room} queues ({LANES_PER_SHARD_MAX} a shard), but the interfaces \
                 list at least {listed}; write shards = {}",
                file.threads.shards,
                listed.div_ceil(LANES_PER_SHARD_MAX)
            ),
        ));
    }
}

fn names_are_distinct(file: &ConfigFile, found: &mut Found) {
    let feeds = file.feed.iter().enumerate().map(|(i, feed)| (format!("feed[{i}].name"), &feed.name));
    let listeners =
        file.listen.iter().enumerate().map(|(i, table)| (format!("listen[{i}].name"), &table.name));
    let connectors =
        file.connect.iter().enumerate().map(|(i, table)| (format!("connect[{i}].name"), &table.name));
    let named: Vec<(String, &String)> = feeds.chain(listeners).chain(connectors).collect();
    if let Some((name, first, second)) = first_repeated(named.iter().map(|(_, name)| *name)) {
        found.push((
            named[second].0.clone(),
            format!(
                "is \"{name}\", as is {}; feeds, listeners and connectors are reported by name, so each needs its own",
                named[first].0
            ),
        ));
    }
}

fn feeds_together(feeds: &[FeedTable], found: &mut Found) {
    for (index, feed) in feeds.iter().enumerate() {
        if let Some((name, first, second)) = first_repeated(feed.lines.iter().map(|line| line.name.as_str()))
        {
            found.push((
                format!("feed[{index}].lines[{second}].name"),
                format!("is \"{name}\", as is lines[{first}].name of the same feed; name them A and B"),
            ));
        }
    }
    for (index, feed) in feeds.iter().enumerate() {
        let Some(name) = &feed.snapshot_of else { continue };
        let problem = if feed.protocol != Protocol::CmeMdp3 {
            Some(format!("snapshots are known of cme-mdp3 only, and this feed is {}", feed.protocol))
        } else {
            match feeds.iter().find(|other| other.name == *name) {
                None => Some(format!("is \"{name}\", which no feed is called")),
                Some(other) if other.name == feed.name => {
                    Some("is the feed itself; name the live one".to_owned())
                }
                Some(other) if other.protocol != feed.protocol => {
                    Some(format!("is \"{name}\", which is {} and not {}", other.protocol, feed.protocol))
                }
                Some(_) => None,
            }
        };
        found.extend(problem.map(|problem| (format!("feed[{index}].snapshot_of"), problem)));
    }
    // By Destination, so that an IPv4 address and its IPv6-mapped form are one.
    let mut owners: HashMap<Destination, String> = HashMap::new();
    for (index, feed) in feeds.iter().enumerate() {
        for (line_index, line) in feed.lines.iter().enumerate() {
            let owner = format!("line {} of feed \"{}\"", line.name, feed.name);
            if let Some(other) = owners.insert(line.destination.0.into(), owner) {
                found.push((
                    format!("feed[{index}].lines[{line_index}].destination"),
                    format!(
                        "is {}, which {other} has already; a destination belongs to one line",
                        line.destination.0
                    ),
                ));
            }
        }
    }
}

/// Lines name interfaces that there are, and senders that can be; an interface without lines would receive nothing.
fn lines_and_interfaces(file: &ConfigFile, found: &mut Found) {
    let names: Vec<&str> = file.interface.iter().map(|table| table.name.as_str()).collect();
    for (index, feed) in file.feed.iter().enumerate() {
        for (line_index, line) in feed.lines.iter().enumerate() {
            let key = |name: &str| format!("feed[{index}].lines[{line_index}].{name}");
            if let Some(wanted) = line.interface.as_deref().filter(|wanted| !names.contains(wanted)) {
                let there = match names.as_slice() {
                    [] => "there is no [[interface]] table at all".to_owned(),
                    names => format!("the [[interface]] tables are of {}", names.join(", ")),
                };
                let problem = format!("is {wanted:?}, but {there}; write one of that name, or name another");
                found.push((key("interface"), problem));
            }
            if let Some(problem) = source_problem(line) {
                found.push((key("source"), problem));
            }
        }
    }
    let mut lines = file.feed.iter().flat_map(|feed| &feed.lines).peekable();
    if lines.peek().is_none() {
        return;
    }
    let named: Option<HashSet<&str>> = lines.map(|line| line.interface.as_deref()).collect();
    let Some(named) = named else { return };
    for (index, name) in names.iter().enumerate().filter(|(_, name)| !named.contains(**name)) {
        found.push((
            format!("interface[{index}].name"),
            format!("is \"{name}\", but every line of every feed names another interface; remove the table, or a line's interface"),
        ));
    }
}

/// What is wrong with the sender that a line names.
fn source_problem(line: &LineTable) -> Option<String> {
    let source = line.source?.to_canonical();
    let (destination, group) = (line.destination.0, line.destination.0.ip().to_canonical());
    if !group.is_multicast() {
        return Some(format!(
            "means nothing with destination {destination}, which is no multicast group; remove it"
        ));
    }
    let broadcast = matches!(source, IpAddr::V4(source) if source.is_broadcast());
    if source.is_multicast() || source.is_unspecified() || broadcast {
        return Some(format!(
            "is {source}; allowed: the address of one sender, or no source at all for any sender"
        ));
    }
    (source.is_ipv4() != group.is_ipv4()).then(|| {
        format!("is {source}, and the destination is {destination}; a sender is of its destination's family")
    })
}

fn cpus_fit_shards(file: &ConfigFile, found: &mut Found) {
    let threads = &file.threads;
    let short = (threads.cpus.len() as u64) < u64::from(threads.shards);
    if threads.mode == ThreadingWish::Dedicated && !threads.cpus.is_empty() && short {
        found.push((
            "threads.cpus".to_owned(),
            format!(
                "lists {} CPUs for {} shards, and mode = \"dedicated\" gives each shard a CPU of its own; \
                 list more, or write mode = \"auto\"",
                threads.cpus.len(),
                threads.shards
            ),
        ));
    }
}

fn classes_name_types(file: &ConfigFile, found: &mut Found) {
    for (protocol_name, types) in &file.classes {
        let protocol: Protocol = match protocol_name.parse() {
            Ok(protocol) => protocol,
            Err(problem) => {
                found.push((format!("classes.{protocol_name}"), problem));
                continue;
            }
        };
        let allowed = match protocol.type_letters() {
            1 => "one letter as reports print it, such as \"T\"",
            2 => "one letter or two as reports print them, such as \"8\" or \"AE\"",
            _ => "a decimal type or template number, 0 to 65535, such as \"32\"",
        };
        for name in types.keys().filter(|name| protocol.type_code(name).is_none()) {
            found.push((
                format!("classes.{protocol}.{name}"),
                format!("\"{name}\" is no message type of {protocol}; allowed: {allowed}"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_name_the_next_one() {
        let check = power_of_two(64, 1_024);
        assert!(check(&64, &()).is_ok() && check(&1_024, &()).is_ok());
        for (value, next) in [(0, 64), (65, 128), (1_000, 1_024), (4_096, 1_024), (u32::MAX, 1_024)] {
            let problem = check(&value, &()).expect_err("refused").to_string();
            assert!(problem.contains(&format!("is {value};")), "{problem}");
            assert!(problem.ends_with(&format!("the next one is {next}")), "{problem}");
        }
    }

    #[test]
    fn interface_names_follow_the_kernel() {
        for good in ["eth0", "sluice-rx0", "enp1s0f0np0", "a.5", "x@y"] {
            assert!(interface_name(&good.to_owned(), &()).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a:1", "sixteen-letters-"] {
            assert!(interface_name(&bad.to_owned(), &()).is_err(), "{bad}");
        }
    }

    #[test]
    fn repeats_are_found_with_both_places() {
        assert_eq!(first_repeated([3, 1, 2, 1, 3]), Some((1, 1, 3)));
        assert_eq!(first_repeated::<u8>([]), None);
    }
}
