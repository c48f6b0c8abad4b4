//! The tables of a config file that concern byte streams, sockets and the host's own figures.
//!
//! Invariant: as in [`super::file`]. Keys that only some kinds of listener have are options, so that one that is
//! written where it means nothing can be refused; [`ListenTable::complete`] then fills in what was left out.

use super::file::Endpoint;
use super::integrity::IntegrityTable;
use super::network_validate as network;
use super::recovery_file::RecoveryTable;
use super::routing_file::OverflowTable;
use super::validate as check;
use super::wishes::UringMode;
use crate::event::{Prefix, Priority, Protocol};
use garde::Validate;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::net::IpAddr;

/// Where the program listens unless told otherwise.
pub(super) const SOCKET_PATH: &str = "/run/sluice/ingest.sock";
const SOCKET_MODE: SocketMode = SocketMode(0o660);
const CONNECTIONS: u32 = 1_024;
const HANDSHAKE_S: u32 = 10;
const UNFINISHED_S: u32 = 10;

/// What a listener is (`source`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ListenKind {
    Tcp,
    Unix,
    Udp,
}

impl ListenKind {
    /// As it is written.
    pub(super) const fn name(self) -> &'static str {
        match self {
            ListenKind::Tcp => "tcp",
            ListenKind::Unix => "unix",
            ListenKind::Udp => "udp",
        }
    }
}

/// `[[listen]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenTable {
    #[garde(custom(check::name))]
    pub(super) name: String,
    #[garde(skip)]
    pub(super) source: ListenKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(network::own_address)))]
    pub(super) address: Option<Endpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(network::socket_path)))]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub(super) mode: Option<SocketMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(custom(network::groups))]
    pub(super) groups: Option<Vec<IpAddr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::interface_name)))]
    pub(super) interface: Option<String>,
    #[garde(skip)]
    pub(super) protocol: Protocol,
    #[serde(default)]
    #[garde(skip)]
    pub(super) shard: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(1, network::CONNECTIONS_MAX, "connections"))))]
    pub(super) connections_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(1, network::CONNECTIONS_MAX, "connections"))))]
    pub(super) connections_per_source_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(custom(network::prefix_count))]
    pub(super) allow: Option<Vec<Prefix>>,
    #[serde(default = "frame_bytes")]
    #[garde(custom(check::within(network::FRAME_BYTES_MIN, network::FRAME_BYTES_MAX, "bytes")))]
    pub(super) frame_bytes_max: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(0, network::IDLE_S_MAX, "seconds (0 is never)"))))]
    pub(super) idle_timeout_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(1, 3_600, "seconds"))))]
    pub(super) handshake_timeout_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(1, 3_600, "seconds"))))]
    pub(super) unfinished_timeout_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(
        network::RECEIVE_BUFFER_MIN,
        network::RECEIVE_BUFFER_MAX,
        "bytes"
    ))))]
    pub(super) receive_buffer_bytes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub(super) integrity: Option<IntegrityTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub(super) recovery: Option<RecoveryTable>,
    #[serde(default)]
    #[garde(dive)]
    pub(super) overflow: OverflowTable,
}

impl ListenTable {
    /// Fills in every key that its source has. What it doesn't have stays absent.
    pub(super) fn complete(&mut self) {
        if let Some(recovery) = &mut self.recovery {
            recovery.complete();
        }
        if self.source != ListenKind::Udp {
            self.connections_max.get_or_insert(CONNECTIONS);
            self.idle_timeout_s.get_or_insert(0);
            self.handshake_timeout_s.get_or_insert(HANDSHAKE_S);
            self.unfinished_timeout_s.get_or_insert(UNFINISHED_S);
        }
        match self.source {
            ListenKind::Tcp => {
                self.connections_per_source_max.get_or_insert(CONNECTIONS);
                self.allow.get_or_insert_default();
            }
            ListenKind::Unix => {
                self.path.get_or_insert_with(|| SOCKET_PATH.to_owned());
                self.mode.get_or_insert(SOCKET_MODE);
            }
            ListenKind::Udp => {
                self.groups.get_or_insert_default();
                self.integrity.get_or_insert_default();
                self.allow.get_or_insert_default();
            }
        }
    }
}

/// `[[connect]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectTable {
    #[garde(custom(check::name))]
    pub(super) name: String,
    #[garde(custom(network::server_count), inner(custom(check::destination)))]
    pub(super) servers: Vec<Endpoint>,
    #[garde(custom(network::connected_protocol))]
    pub(super) protocol: Protocol,
    #[serde(default)]
    #[garde(custom(network::soup_field(network::USERNAME_BYTES_MAX)))]
    pub(super) username: String,
    // Never written again: the canonical text, and with it the hash, is not to tell it.
    #[serde(default, skip_serializing)]
    #[garde(custom(network::password))]
    pub(super) password: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::path)))]
    pub(super) password_file: Option<String>,
    #[serde(default)]
    #[garde(custom(network::soup_field(network::SESSION_BYTES_MAX)))]
    pub(super) session: String,
    #[serde(default = "first_sequence")]
    #[garde(custom(network::sequence))]
    pub(super) sequence: u64,
    #[serde(default)]
    #[garde(skip)]
    pub(super) shard: u32,
    #[serde(default = "reconnect_min_ms")]
    #[garde(custom(check::within(10, network::RECONNECT_MS_MAX, "milliseconds")))]
    pub(super) reconnect_min_ms: u32,
    #[serde(default = "reconnect_max_ms")]
    #[garde(custom(check::within(10, network::RECONNECT_MS_MAX, "milliseconds")))]
    pub(super) reconnect_max_ms: u32,
}

/// `[network]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NetworkTable {
    #[garde(skip)]
    pub(super) mode: UringMode,
    #[garde(custom(check::within(1, 60_000, "milliseconds")))]
    pub(super) sqpoll_idle_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(0, check::CPU_NUMBER_MAX, "(a CPU's number)"))))]
    pub(super) sqpoll_cpu: Option<u32>,
    #[garde(custom(check::power_of_two(network::BUFFERS_MIN, network::BUFFERS_MAX)))]
    pub(super) buffers: u32,
    #[garde(custom(check::power_of_two(network::BUFFER_BYTES_MIN, network::BUFFER_BYTES_MAX)))]
    pub(super) buffer_bytes: u32,
    #[garde(skip)]
    pub(super) hugepages: bool,
    #[garde(custom(check::within(1, network::PRODUCERS_MAX, "producers")))]
    pub(super) producers_max: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::path)))]
    pub(super) producers_file: Option<String>,
}

impl Default for NetworkTable {
    fn default() -> NetworkTable {
        NetworkTable {
            mode: UringMode::default(),
            sqpoll_idle_ms: 1_000,
            sqpoll_cpu: None,
            buffers: 64,
            buffer_bytes: 65_536,
            hugepages: true,
            producers_max: 256,
            producers_file: None,
        }
    }
}

/// `[host]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HostTable {
    #[garde(skip)]
    pub(super) enabled: bool,
    #[garde(custom(check::within(10, 3_600_000, "milliseconds")))]
    pub(super) interval_ms: u32,
    #[garde(custom(network::topics_prefix))]
    pub(super) topics_prefix: String,
    #[garde(skip)]
    pub(super) priority: Priority,
    #[garde(skip)]
    pub(super) shard: u32,
}

impl Default for HostTable {
    fn default() -> HostTable {
        HostTable {
            enabled: false,
            interval_ms: 1_000,
            topics_prefix: "host".to_owned(),
            priority: Priority::Low,
            shard: 0,
        }
    }
}

fn frame_bytes() -> u32 {
    65_536
}

fn first_sequence() -> u64 {
    1
}

fn reconnect_min_ms() -> u32 {
    250
}

fn reconnect_max_ms() -> u32 {
    10_000
}

/// Mode bits of a socket file, written in octal as for chmod: `"0660"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketMode(pub(super) u32);

impl Serialize for SocketMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o}", self.0))
    }
}

struct SocketModeVisitor;

impl de::Visitor<'_> for SocketModeVisitor {
    type Value = SocketMode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mode bits as an octal string from \"0000\" to \"0777\", such as \"0660\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SocketMode, E> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| octal && *bits <= 0o777);
        bits.map(SocketMode).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SocketMode, D::Error> {
        deserializer.deserialize_str(SocketModeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_strings() {
        #[derive(Deserialize, Serialize)]
        struct Holder {
            mode: SocketMode,
        }
        for (text, bits) in [("0660", 0o660), ("777", 0o777), ("0000", 0)] {
            let holder: Holder = toml::from_str(&format!("mode = '{text}'")).expect("reads");
            assert_eq!(holder.mode.0, bits);
        }
        assert_eq!(toml::to_string(&Holder { mode: SocketMode(0o60) }).expect("writes"), "mode = \"0060\"\n");
        for wrong in ["'0888'", "'1777'", "'+660'", "''", "'rw-rw----'", "660"] {
            assert!(toml::from_str::<Holder>(&format!("mode = {wrong}")).is_err(), "{wrong}");
        }
    }
}
