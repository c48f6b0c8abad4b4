//! The `recovery` table of a feed or of a UDP listener: how lost messages are asked for again.
//!
//! Invariant: as in [`super::file`]; keys that only one of the protocols has are options, so that one that is written where
//! it means nothing can be refused.

use super::file::{ConfigFile, Endpoint};
use super::network_validate as network;
use super::validate::{self as check, Found};
use crate::event::Protocol;
use garde::Validate;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A second of tolerance more or less makes no difference to a feed that waits for a minute.
const TIME_MS_MAX: u32 = 60_000;
/// More requests a second than 256 at a time allow at a round trip of 20 ms.
const REQUESTS_PER_S_MAX: u32 = 20_000;
const ATTEMPTS_MAX: u32 = 1_000;
/// 0xffff means the end of a session elsewhere in the protocol.
const MESSAGES_MAX: u32 = 0xfffe;

const REQUESTS_PER_S: u32 = 1_000;
const MESSAGES: u32 = 1_000;
const ATTEMPTS: u32 = 3;

/// How lost messages come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecoveryProtocol {
    /// By requests to re-request servers, datagram by datagram.
    Moldudp64,
    /// By a login to a server that replays the session from the first lost message on.
    Soupbintcp,
}

impl RecoveryProtocol {
    const fn name(self) -> &'static str {
        match self {
            RecoveryProtocol::Moldudp64 => "moldudp64",
            RecoveryProtocol::Soupbintcp => "soupbintcp",
        }
    }
}

/// `[feed.recovery]` and `[listen.recovery]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct RecoveryTable {
    #[garde(skip)]
    pub(super) protocol: RecoveryProtocol,
    #[garde(custom(network::server_count), inner(custom(check::destination)))]
    pub(super) servers: Vec<Endpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(network::own_address)))]
    pub(super) local: Option<Endpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub(super) shard: Option<u32>,
    #[serde(default = "round_trip_ms")]
    #[garde(custom(check::within(1, TIME_MS_MAX, "milliseconds")))]
    pub(super) round_trip_ms: u32,
    #[serde(default = "backoff_max_ms")]
    #[garde(custom(check::within(1, TIME_MS_MAX, "milliseconds")))]
    pub(super) backoff_max_ms: u32,
    #[serde(default = "give_up_ms")]
    #[garde(custom(check::within(1, TIME_MS_MAX, "milliseconds")))]
    pub(super) give_up_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(1, ATTEMPTS_MAX, "waits without an answer"))))]
    pub(super) attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(1, REQUESTS_PER_S_MAX, "requests a second"))))]
    pub(super) requests_per_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(1, MESSAGES_MAX, "messages"))))]
    pub(super) messages_max: Option<u32>,
    #[serde(default)]
    #[garde(skip)]
    pub(super) backfill: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(network::soup_field(network::USERNAME_BYTES_MAX))))]
    pub(super) username: Option<String>,
    // Never written again, as a connector's.
    #[serde(default, skip_serializing)]
    #[garde(inner(custom(network::password)))]
    pub(super) password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::path)))]
    pub(super) password_file: Option<String>,
}

fn round_trip_ms() -> u32 {
    20
}

fn backoff_max_ms() -> u32 {
    1_000
}

fn give_up_ms() -> u32 {
    2_000
}

/// How lost messages of a feed are asked for. Its password is not shown by [`fmt::Debug`].
#[derive(Clone, PartialEq, Eq)]
pub struct RecoverySource {
    /// By what protocol.
    pub protocol: RecoveryProtocol,
    /// The servers, asked in this order; 1 to 8, of one address family.
    pub servers: Vec<SocketAddr>,
    /// The address that requests come from, of the servers' family; port 0 lets the kernel choose.
    pub local: SocketAddr,
    /// The shard that asks, below [`super::ThreadSettings::shards`]; a listener's own.
    pub shard: usize,
    /// Time that an answer may take; for SoupBinTCP the wait before the first new attempt.
    pub round_trip: Duration,
    /// Longest wait for an answer, or between attempts.
    pub backoff_max: Duration,
    /// Time after which a lost message is given up.
    pub give_up: Duration,
    /// Waits without an answer of use after which the next server is asked.
    pub attempts: u32,
    /// Requests a second at most.
    pub requests_per_s: u32,
    /// Messages in one request at most.
    pub messages_max: u16,
    /// Whether what was sent before the start is asked for, too.
    pub backfill: bool,
    /// The login's user name, for SoupBinTCP.
    pub username: String,
    /// The login's password, for SoupBinTCP.
    pub password: String,
}

/// The part of the time to give up that servers may be silent while no more can be held back: a pause of this process is
/// no silence of theirs.
const SILENT_SHARE: u32 = 4;

impl RecoverySource {
    /// How long servers may be silent before no more is waited for than can be held back: every one of them has been
    /// asked in vain by then.
    pub fn answer_time(&self) -> Duration {
        let waits = match self.protocol {
            RecoveryProtocol::Moldudp64 => self.round_trip.saturating_mul(self.attempts),
            RecoveryProtocol::Soupbintcp => self.backoff_max,
        };
        let all = waits.saturating_mul(self.servers.len() as u32);
        all.max(self.give_up / SILENT_SHARE).min(self.give_up)
    }
}

impl fmt::Debug for RecoverySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoverySource")
            .field("protocol", &self.protocol)
            .field("servers", &self.servers)
            .field("local", &self.local)
            .field("shard", &self.shard)
            .field("round_trip", &self.round_trip)
            .field("backoff_max", &self.backoff_max)
            .field("give_up", &self.give_up)
            .field("attempts", &self.attempts)
            .field("requests_per_s", &self.requests_per_s)
            .field("messages_max", &self.messages_max)
            .field("backfill", &self.backfill)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl RecoveryTable {
    /// Typed; `shard` is where it runs unless the table says where.
    pub(super) fn typed(&self, shard: u32) -> RecoverySource {
        let milliseconds = |value: u32| Duration::from_millis(value.into());
        let messages_max = self.messages_max.unwrap_or(MESSAGES);
        let is_ipv6 = self.servers.first().is_some_and(|server| server.0.is_ipv6());
        let any = if is_ipv6 {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        } else {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        };
        RecoverySource {
            protocol: self.protocol,
            servers: self.servers.iter().map(|endpoint| endpoint.0).collect(),
            local: self.local.map_or(any, |endpoint| endpoint.0),
            shard: self.shard.unwrap_or(shard) as usize,
            round_trip: milliseconds(self.round_trip_ms),
            backoff_max: milliseconds(self.backoff_max_ms),
            give_up: milliseconds(self.give_up_ms),
            attempts: self.attempts.unwrap_or(ATTEMPTS),
            requests_per_s: self.requests_per_s.unwrap_or(REQUESTS_PER_S),
            messages_max: u16::try_from(messages_max).unwrap_or(u16::MAX - 1),
            backfill: self.backfill,
            username: self.username.clone().unwrap_or_default(),
            password: self.password.clone().unwrap_or_default(),
        }
    }

    /// Fills in what its protocol has and was left out, so that defaults that are spelled out change no hash.
    pub(super) fn complete(&mut self) {
        if self.protocol == RecoveryProtocol::Moldudp64 {
            self.attempts.get_or_insert(ATTEMPTS);
            self.requests_per_s.get_or_insert(REQUESTS_PER_S);
            self.messages_max.get_or_insert(MESSAGES);
        }
    }
}

/// The recovery tables of a file: the key of each, the protocol of its feed, and the table.
fn tables(file: &ConfigFile) -> impl Iterator<Item = (String, Protocol, &RecoveryTable)> {
    let feeds = file.feed.iter().enumerate().filter_map(|(index, feed)| {
        feed.recovery.as_ref().map(|table| (format!("feed[{index}].recovery"), feed.protocol, table))
    });
    let listeners = file.listen.iter().enumerate().filter_map(|(index, listen)| {
        listen.recovery.as_ref().map(|table| (format!("listen[{index}].recovery"), listen.protocol, table))
    });
    feeds.chain(listeners)
}

/// What is wrong with keys that are right by themselves.
pub(super) fn together(file: &ConfigFile, found: &mut Found) {
    for (key, protocol, table) in tables(file) {
        if protocol != Protocol::Moldudp64Itch50 {
            found.push((
                key.clone(),
                format!(
                    "belongs to a feed of protocol \"{protocol}\", whose venue takes no such requests; allowed with \
                     \"moldudp64-itch50\"; remove the table"
                ),
            ));
        }
        let mut here = Vec::new();
        foreign_keys(table, &mut here);
        families(table, &mut here);
        waits(table, &mut here);
        if let Some(shard) = table.shard.filter(|shard| *shard >= file.threads.shards.max(1)) {
            let last = file.threads.shards.saturating_sub(1);
            here.push((
                "shard",
                format!("is {shard}; allowed: 0 to {last}, since threads.shards is {}", file.threads.shards),
            ));
        }
        found.extend(here.into_iter().map(|(name, problem)| (format!("{key}.{name}"), problem)));
    }
    let on_listeners = file.listen.iter().enumerate().filter(|(_, listen)| {
        listen.recovery.as_ref().and_then(|table| table.shard).is_some_and(|shard| shard != listen.shard)
    });
    for (index, listen) in on_listeners {
        found.push((
            format!("listen[{index}].recovery.shard"),
            format!(
                "is another one than the listener's, which is {}; what a listener lost is asked for on its own shard: \
                 remove the key",
                listen.shard
            ),
        ));
    }
}

type FoundHere = Vec<(&'static str, String)>;

fn foreign_keys(table: &RecoveryTable, found: &mut FoundHere) {
    let datagrams = [
        ("local", table.local.is_some()),
        ("attempts", table.attempts.is_some()),
        ("requests_per_s", table.requests_per_s.is_some()),
        ("messages_max", table.messages_max.is_some()),
    ];
    let login = [
        ("username", table.username.is_some()),
        ("password", table.password.is_some()),
        ("password_file", table.password_file.is_some()),
    ];
    let (written, advice): (&[(&str, bool)], _) = match table.protocol {
        RecoveryProtocol::Moldudp64 => (&login, "it belongs to protocol = \"soupbintcp\", which logs in"),
        RecoveryProtocol::Soupbintcp => {
            (&datagrams, "it belongs to protocol = \"moldudp64\", which sends requests")
        }
    };
    for (name, _) in written.iter().filter(|(_, is_written)| *is_written) {
        let protocol = table.protocol.name();
        found.push((name, format!("means nothing with protocol = \"{protocol}\": {advice}; remove it")));
    }
    if table.password.is_some() && table.password_file.is_some() {
        found.push(("password_file", "stands beside password; keep one of them".to_owned()));
    }
}

/// One socket asks all servers.
fn families(table: &RecoveryTable, found: &mut FoundHere) {
    let Some(first) = table.servers.first().map(|server| server.0) else { return };
    if table.protocol != RecoveryProtocol::Moldudp64 {
        return;
    }
    if let Some(other) = table.servers.iter().find(|server| server.0.is_ipv4() != first.is_ipv4()) {
        found.push((
            "servers",
            format!("has {first} and {}; one socket asks them all: write addresses of one family", other.0),
        ));
    }
    if let Some(local) = table.local.filter(|local| local.0.is_ipv4() != first.is_ipv4()) {
        found.push((
            "local",
            format!("is {}, and the servers' family is that of {first}; write one of it", local.0),
        ));
    }
}

fn waits(table: &RecoveryTable, found: &mut FoundHere) {
    if table.round_trip_ms > table.backoff_max_ms {
        found.push((
            "round_trip_ms",
            format!(
                "is {}, and backoff_max_ms is {}; write the longer wait there",
                table.round_trip_ms, table.backoff_max_ms
            ),
        ));
    }
    if table.round_trip_ms > table.give_up_ms {
        found.push((
            "give_up_ms",
            format!(
                "is {}, and round_trip_ms is {}: no answer would come in time; write several round trips",
                table.give_up_ms, table.round_trip_ms
            ),
        ));
    }
}

/// Reads the password files of a checked file into their tables.
pub(super) fn read_passwords(file: &mut ConfigFile, found: &mut Found) {
    let feeds = file.feed.iter_mut().enumerate();
    let feeds = feeds.filter_map(|(index, feed)| Some((format!("feed[{index}]"), feed.recovery.as_mut()?)));
    let listeners = file.listen.iter_mut().enumerate();
    let listeners =
        listeners.filter_map(|(index, table)| Some((format!("listen[{index}]"), table.recovery.as_mut()?)));
    for (key, table) in feeds.chain(listeners) {
        let Some(path) = &table.password_file else { continue };
        match network::read_password(path) {
            Ok(password) => table.password = Some(password),
            Err(problem) => {
                found.push((format!("{key}.recovery.password_file"), format!("is \"{path}\", {problem}")));
            }
        }
    }
}
