//! The typed settings of byte streams, sockets and the host's own figures.
//!
//! Invariant: made from checked and completed tables only, so that every number is in its range.

use super::file::ConfigFile;
use super::integrity::Integrity;
use super::network_file::{ConnectTable, ListenKind, ListenTable};
use super::recovery_file::RecoverySource;
use super::routing_file::OverflowWishes;
use super::wishes::UringMode;
use crate::event::{Prefix, Priority, Protocol};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// A socket that peers connect to, or send datagrams to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in reports; distinct over feeds, listeners and connectors.
    pub name: String,
    /// What it is, and where.
    pub source: ListenSource,
    /// What comes in: a stream protocol for TCP and Unix, a packet protocol for UDP.
    pub protocol: Protocol,
    /// The shard that polls it, below [`super::ThreadSettings::shards`].
    pub shard: usize,
    /// Connections at a time; 0 for UDP, which has none.
    pub connections_max: usize,
    /// Connections at a time from one address; for a Unix socket as many as at all.
    pub connections_per_source_max: usize,
    /// Source addresses that are taken; empty for all.
    pub allow: Vec<Prefix>,
    /// Bytes of the largest frame that is taken, its header included.
    pub frame_bytes_max: usize,
    /// How long a connection may say nothing; `None` for ever.
    pub idle_timeout: Option<Duration>,
    /// Time from the beginning of a connection to the end of its first frame; zero for UDP.
    pub handshake_timeout: Duration,
    /// Time from a frame's first byte to its last; zero for UDP.
    pub unfinished_timeout: Duration,
    /// SO_RCVBUF in bytes; `None` leaves it to the kernel.
    pub receive_buffer_bytes: Option<usize>,
    /// How gaps of its stream are treated; matters to UDP only.
    pub integrity: Integrity,
    /// How lost messages are asked for, where they are; for UDP only.
    pub recovery: Option<Box<RecoverySource>>,
    /// What happens to its events whose queue is full, where that is said.
    pub overflow: OverflowWishes,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenSource {
    /// TCP.
    Tcp {
        /// Bound address; port 0 lets the kernel choose.
        address: SocketAddr,
    },
    /// A Unix stream socket.
    Unix {
        /// The socket's file.
        path: PathBuf,
        /// Its mode bits.
        mode: u32,
    },
    /// UDP.
    Udp {
        /// Bound address: the wildcard where there are groups.
        address: SocketAddr,
        /// Multicast groups to join, of the address' family.
        groups: Vec<IpAddr>,
        /// The interface that joins them; `None` lets the routing table say.
        interface: Option<String>,
    },
}

/// A server that the appliance connects to. Its password is not shown by [`fmt::Debug`].
#[derive(Clone, PartialEq, Eq)]
pub struct Connector {
    /// Its name in reports; distinct over feeds, listeners and connectors.
    pub name: String,
    /// The servers of one session, tried in this order; 1 to 8.
    pub servers: Vec<SocketAddr>,
    /// What they speak: [`Protocol::SoupbintcpItch50`].
    pub protocol: Protocol,
    /// The login's user name, 0 to 6 bytes.
    pub username: String,
    /// The login's password, 0 to 10 bytes.
    pub password: String,
    /// The session to ask for, 0 to 10 bytes; empty for the current one.
    pub session: String,
    /// The first message to ask for: 1 is the session's first; 0 asks for new ones only.
    pub sequence: u64,
    /// The shard that polls it, below [`super::ThreadSettings::shards`].
    pub shard: usize,
    /// Wait before the first new attempt; each further one doubles it.
    pub reconnect_min: Duration,
    /// Longest wait between attempts, not below `reconnect_min`.
    pub reconnect_max: Duration,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("name", &self.name)
            .field("servers", &self.servers)
            .field("protocol", &self.protocol)
            .field("username", &self.username)
            .field("session", &self.session)
            .field("sequence", &self.sequence)
            .field("shard", &self.shard)
            .field("reconnect_min", &self.reconnect_min)
            .field("reconnect_max", &self.reconnect_max)
            .finish_non_exhaustive()
    }
}

/// io_uring and its buffers, for each shard that has listeners or connectors; and acknowledged sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// Who submits and completes.
    pub mode: UringMode,
    /// How long the kernel's polling thread spins without work before it sleeps.
    pub sqpoll_idle: Duration,
    /// The CPU that it is pinned to; `None` for none. Set with [`UringMode::Sqpoll`] only.
    pub sqpoll_cpu: Option<u32>,
    /// Receive buffers; a power of two.
    pub buffers: usize,
    /// Bytes of each; a power of two.
    pub buffer_bytes: usize,
    /// Whether they are asked for in hugepages.
    pub hugepages: bool,
    /// Producers of acknowledged sessions that are remembered.
    pub producers_max: usize,
    /// Where they are remembered beyond the process' life; `None` for nowhere.
    pub producers_file: Option<PathBuf>,
}

/// The host's own figures as events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// Whether they are collected.
    pub enabled: bool,
    /// Time between two samples.
    pub interval: Duration,
    /// What their topics begin with, before the first dot.
    pub topics_prefix: String,
    /// The priority that their frames carry.
    pub priority: Priority,
    /// The shard that takes them, below [`super::ThreadSettings::shards`].
    pub shard: usize,
}

pub(super) fn listeners(file: &ConfigFile) -> Vec<Listener> {
    file.listen.iter().map(listener).collect()
}

pub(super) fn connectors(file: &ConfigFile) -> Vec<Connector> {
    file.connect.iter().map(connector).collect()
}

fn listener(table: &ListenTable) -> Listener {
    let seconds = |value: Option<u32>| Duration::from_secs(value.unwrap_or_default().into());
    let connections_max = table.connections_max.unwrap_or_default() as usize;
    Listener {
        name: table.name.clone(),
        source: listen_source(table),
        protocol: table.protocol,
        shard: table.shard as usize,
        connections_max,
        connections_per_source_max: table
            .connections_per_source_max
            .map_or(connections_max, |count| count as usize),
        allow: table.allow.clone().unwrap_or_default(),
        frame_bytes_max: table.frame_bytes_max as usize,
        idle_timeout: Some(seconds(table.idle_timeout_s)).filter(|time| !time.is_zero()),
        handshake_timeout: seconds(table.handshake_timeout_s),
        unfinished_timeout: seconds(table.unfinished_timeout_s),
        receive_buffer_bytes: table.receive_buffer_bytes.map(|bytes| bytes as usize),
        integrity: Integrity::from(&table.integrity.clone().unwrap_or_default()),
        overflow: table.overflow.wishes(),
        recovery: table.recovery.as_ref().map(|recovery| Box::new(recovery.typed(table.shard))),
    }
}

fn listen_source(table: &ListenTable) -> ListenSource {
    // TCP and UDP tables without an address were refused.
    let address = table.address.map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), |endpoint| endpoint.0);
    match table.source {
        ListenKind::Tcp => ListenSource::Tcp { address },
        ListenKind::Unix => ListenSource::Unix {
            path: table.path.clone().unwrap_or_default().into(),
            mode: table.mode.map_or(0, |mode| mode.0),
        },
        ListenKind::Udp => ListenSource::Udp {
            address,
            groups: table.groups.clone().unwrap_or_default(),
            interface: table.interface.clone(),
        },
    }
}

fn connector(table: &ConnectTable) -> Connector {
    let milliseconds = |value: u32| Duration::from_millis(value.into());
    Connector {
        name: table.name.clone(),
        servers: table.servers.iter().map(|endpoint| endpoint.0).collect(),
        protocol: table.protocol,
        username: table.username.clone(),
        password: table.password.clone(),
        session: table.session.clone(),
        sequence: table.sequence,
        shard: table.shard as usize,
        reconnect_min: milliseconds(table.reconnect_min_ms),
        reconnect_max: milliseconds(table.reconnect_max_ms),
    }
}

pub(super) fn network(file: &ConfigFile) -> NetworkSettings {
    let table = &file.network;
    NetworkSettings {
        mode: table.mode,
        sqpoll_idle: Duration::from_millis(table.sqpoll_idle_ms.into()),
        sqpoll_cpu: table.sqpoll_cpu,
        buffers: table.buffers as usize,
        buffer_bytes: table.buffer_bytes as usize,
        hugepages: table.hugepages,
        producers_max: table.producers_max as usize,
        producers_file: table.producers_file.as_ref().map(PathBuf::from),
    }
}

pub(super) fn host(file: &ConfigFile) -> HostSettings {
    let table = &file.host;
    HostSettings {
        enabled: table.enabled,
        interval: Duration::from_millis(table.interval_ms.into()),
        topics_prefix: table.topics_prefix.clone(),
        priority: table.priority,
        shard: table.shard as usize,
    }
}
