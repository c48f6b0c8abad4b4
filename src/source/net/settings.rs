//! What a port is made of. Invariant: everything in it was checked by the configuration.

use super::NetError;
use super::requests::REQUESTS_UNDER_WAY;
use crate::config::{Connector, ListenSource, Listener, NetworkSettings, UringMode as ConfigMode};
use crate::os::uring::{GroupIndex, Uring, UringMode, UringReport, UringSettings};
use crate::os::{HugeWish, MemoryWish, RegionReport};
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

/// A connection that is there from the start, such as that of the host's own figures.
#[derive(Debug)]
pub struct GivenStream {
    /// Its name in reports.
    pub name: String,
    /// Our end.
    pub stream: UnixStream,
}

/// How bytes come in.
#[derive(Debug)]
pub enum InletKind {
    /// A socket that peers connect to, or send datagrams to.
    Listener(Box<Listener>),
    /// A server that we connect to.
    Connector(Connector),
    /// A server that we connect to when something is lost.
    Replay(Connector),
    /// A connection that is there.
    Given(GivenStream),
    /// A socket by which servers are asked for lost messages.
    Requester(Requester),
}

/// Servers that are asked for lost messages by datagrams.
#[derive(Debug)]
pub struct Requester {
    /// Its name in what the program says.
    pub name: String,
    /// The address that requests come from; port 0 lets the kernel choose.
    pub local: SocketAddr,
    /// The servers; nobody else's datagrams are taken.
    pub servers: Vec<SocketAddr>,
}

/// An inlet of a port; its index is its place in the list.
#[derive(Debug)]
pub struct InletSpec {
    /// What it is.
    pub kind: InletKind,
}

impl InletSpec {
    /// Connections that it may have at a time.
    pub fn connections_max(&self) -> usize {
        match &self.kind {
            InletKind::Listener(listener) => listener.connections_max,
            InletKind::Connector(_) | InletKind::Replay(_) | InletKind::Given(_) => 1,
            InletKind::Requester(_) => 0,
        }
    }
}

/// All of a port's settings.
#[derive(Debug)]
pub struct NetSettings {
    /// Its inlets.
    pub inlets: Vec<InletSpec>,
    /// The ring and its buffers.
    pub network: NetworkSettings,
    /// The NUMA node of the shard.
    pub node: Option<u32>,
}

/// What a port turned out to be.
#[derive(Clone, Debug)]
pub struct NetReport {
    /// The ring.
    pub ring: UringReport,
    /// The receive buffers.
    pub buffers: RegionReport,
    /// A line for each inlet: its name and where it is.
    pub inlets: Vec<String>,
}

impl fmt::Display for NetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.ring.incremental { "bit by bit" } else { "whole" };
        write!(f, "io_uring {}, buffers handed out {how}, {}", self.ring.mode, self.buffers)?;
        self.ring.remarks.iter().try_for_each(|remark| write!(f, "; {remark}"))?;
        self.inlets.iter().try_for_each(|inlet| write!(f, "; {inlet}"))
    }
}

/// Completions taken in one turn: as many as a burst of small receives brings.
pub(super) const COMPLETIONS: u32 = 4_096;

/// Bytes of a reply slot: some welcomes, acknowledgements and an error at once.
const REPLY_BYTES: usize = 512;

/// Buffers for datagrams, and bytes of each: the largest datagram with its header and sender.
const DATAGRAM_BUFFERS: u16 = 128;
const DATAGRAM_BUFFER_BYTES: u32 = 66_560;

/// Makes the ring, with a group of buffers for streams and one for datagrams.
pub(super) fn make_ring(
    settings: &NetSettings,
    connections: usize,
) -> Result<(Uring, (GroupIndex, GroupIndex), NetReport), NetError> {
    let network = &settings.network;
    let mode = match network.mode {
        ConfigMode::DeferTaskrun => UringMode::DeferTaskrun,
        ConfigMode::Sqpoll => {
            UringMode::Sqpoll { idle_ms: network.sqpoll_idle.as_millis() as u32, cpu: network.sqpoll_cpu }
        }
    };
    let (mut ring, mut report) = Uring::create(&UringSettings {
        mode,
        files: (settings.inlets.len() + connections) as u32,
        replies: (connections, REPLY_BYTES),
        completions: COMPLETIONS,
    })?;
    let huge = if network.hugepages { HugeWish::TwoMiB } else { HugeWish::Never };
    let wish = |name| MemoryWish { huge, node: settings.node, lock: false, name };
    let streams = wish("stream receive buffers");
    let (stream_group, buffers) =
        ring.add_group(network.buffers as u16, network.buffer_bytes as u32, true, &streams, &mut report)?;
    let is_requester = |inlet: &&InletSpec| matches!(inlet.kind, InletKind::Requester(_));
    let requesters = settings.inlets.iter().filter(is_requester).count();
    ring.allow_datagrams(requesters * REQUESTS_UNDER_WAY);
    let listens = |inlet: &InletSpec| matches!(&inlet.kind, InletKind::Listener(listener) if matches!(listener.source, ListenSource::Udp { .. }));
    let takes_datagrams = requesters > 0 || settings.inlets.iter().any(listens);
    let count = if takes_datagrams { DATAGRAM_BUFFERS } else { 1 };
    let wish = MemoryWish { huge: HugeWish::Never, ..wish("datagram receive buffers") };
    let (datagram_group, _) = ring.add_group(count, DATAGRAM_BUFFER_BYTES, false, &wish, &mut report)?;
    Ok((ring, (stream_group, datagram_group), NetReport { ring: report, buffers, inlets: Vec::new() }))
}
