//! The ports of a live run: which shard has which listeners, connectors and streams, and what its intake knows of them.
//!
//! Invariant: inlets of a port and of its intake are the same list in the same order.

use super::assembly::policy;
use super::{ApplianceError, Assembly};
use crate::agents::Shard;
use crate::config::{Connector, Listener, RecoveryProtocol, RecoverySource, Settings};
use crate::event::{InletIndex, Nanos, Protocol};
use crate::feed::{
    CURRENT_SESSION, ConnectionSettings, FeedRecovery, InletSettings, ProducerStore, Producers,
    RecoveredFeed, RecoverySettings, RecoveryWay, SoupLogin, SoupSession,
};
use crate::os;
use crate::sink::ProducerFile;
use crate::source::net::{GivenStream, InletKind, InletSpec, NetPort, NetReport, NetSettings, Requester};
use crate::source::{FrameSource, StreamSource};
use crate::wire::soupbin;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

/// Files that are open beside connections: sockets of lanes and inlets, maps, rings, what the program reads and writes.
const OTHER_FILES: u64 = 512;

/// An inlet of a port, and what the intake knows of it.
type PlannedInlet = (InletKind, InletSettings);

/// A shard's port, and what its intake knows of it.
pub(super) struct ShardPort {
    shard: usize,
    port: NetPort,
    connections: ConnectionSettings,
    producers: Producers,
    /// What the port turned out to be.
    pub(super) report: NetReport,
}

/// How many shards the network's inlets need.
pub(super) fn shards_needed(settings: &Settings) -> usize {
    let listeners = settings.listeners.iter().map(|listener| listener.shard + 1);
    let connectors = settings.connectors.iter().map(|connector| connector.shard + 1);
    let host = settings.host.enabled.then_some(settings.host.shard + 1);
    let recoveries = recoveries(settings).map(|(_, _, source)| source.shard + 1);
    listeners.chain(connectors).chain(host).chain(recoveries).max().unwrap_or_default()
}

/// Opens the ports of all shards that have inlets. `host` is the stream of the host's own figures.
///
/// # Errors
/// An address can't be had, the kernel has no io_uring, the producers' file can't be used.
pub(super) fn open_ports(
    settings: &Settings,
    mut host: Option<UnixStream>,
    node: Option<u32>,
    remarks: &mut Vec<String>,
) -> Result<Vec<ShardPort>, ApplianceError> {
    let mut ports = Vec::new();
    allow_connections(settings, remarks);
    for shard in 0..shards_needed(settings) {
        let mut inlets: Vec<PlannedInlet> = Vec::new();
        for listener in settings.listeners.iter().filter(|listener| listener.shard == shard) {
            let policy = policy(&listener.integrity, listener.recovery.as_deref());
            let known = InletSettings { policy, ..listener.into() };
            inlets.push((InletKind::Listener(Box::new(listener.clone())), known));
        }
        for connector in settings.connectors.iter().filter(|connector| connector.shard == shard) {
            inlets.push((InletKind::Connector(connector.clone()), of_connector(connector)?));
        }
        if settings.host.shard == shard
            && let Some(stream) = host.take()
        {
            let given = GivenStream { name: "host".to_owned(), stream };
            let known = InletSettings::trusted(&given.name, Protocol::Native, None);
            inlets.push((InletKind::Given(given), known));
        }
        for (feed, name, source) in recoveries(settings).filter(|(_, _, source)| source.shard == shard) {
            inlets.push(of_recovery(feed, name, source)?);
        }
        if !inlets.is_empty() {
            ports.push(open_port(settings, shard, inlets, node, remarks)?);
        }
    }
    Ok(ports)
}

/// A connection is an open file, and the usual limit of 1,024 is less than one listener may have.
fn allow_connections(settings: &Settings, remarks: &mut Vec<String>) {
    let accepted: usize = settings.listeners.iter().map(|listener| listener.connections_max).sum();
    let connections = (accepted + settings.connectors.len()) as u64;
    let allowed = os::allow_open_files(connections + OTHER_FILES);
    if allowed < connections + OTHER_FILES {
        remarks.push(format!(
            "{allowed} files may be open, and {connections} connections beside {OTHER_FILES} others are configured: raise \
             `ulimit -Hn` (LimitNOFILE), or lower connections_max"
        ));
    }
}

fn open_port(
    settings: &Settings,
    shard: usize,
    inlets: Vec<PlannedInlet>,
    node: Option<u32>,
    remarks: &mut Vec<String>,
) -> Result<ShardPort, ApplianceError> {
    let (kinds, inlets): (Vec<InletKind>, Vec<InletSettings>) = inlets.into_iter().unzip();
    let specs: Vec<InletSpec> = kinds.into_iter().map(|kind| InletSpec { kind }).collect();
    let connections_max = specs.iter().map(InletSpec::connections_max).sum();
    let producers = producers(settings, shard, remarks)?;
    let (port, report) =
        NetPort::open(NetSettings { inlets: specs, network: settings.network.clone(), node })?;
    let connections = ConnectionSettings { inlets, connections_max };
    Ok(ShardPort { shard, port, connections, producers, report })
}

/// The producers of a shard: of the one shard that has listeners for acknowledged sessions, if this is it.
fn producers(
    settings: &Settings,
    shard: usize,
    remarks: &mut Vec<String>,
) -> Result<Producers, ApplianceError> {
    let has_sessions = |listener: &Listener| {
        listener.shard == shard && listener.protocol == Protocol::Native && listener.connections_max > 0
    };
    if !settings.listeners.iter().any(has_sessions) {
        return Ok(Producers::allocate(0, &[], None));
    }
    let producers_max = settings.network.producers_max;
    let Some(path) = &settings.network.producers_file else {
        remarks.push(
            "acknowledged sessions are remembered until this process ends: network.producers_file keeps them longer"
                .to_owned(),
        );
        return Ok(Producers::allocate(producers_max, &[], None));
    };
    let (file, remembered) = ProducerFile::open(path, producers_max)?;
    let store: Box<dyn ProducerStore> = Box::new(file);
    Ok(Producers::allocate(producers_max, &remembered, Some(store)))
}

/// What asks for lost messages: whose they are, the feed's name, and how. A listener's place is that among the
/// listeners of its shard, which are the first inlets of its port.
fn recoveries(settings: &Settings) -> impl Iterator<Item = (RecoveredFeed, &str, &RecoverySource)> {
    let feeds = settings.feeds.iter().enumerate().filter_map(|(index, feed)| {
        let source = feed.recovery.as_deref()?;
        Some((RecoveredFeed::Feed(index as u32), feed.name.as_str(), source))
    });
    let listeners = settings.listeners.iter().enumerate().filter_map(|(index, listener)| {
        let source = listener.recovery.as_deref()?;
        let before = settings.listeners[..index].iter().filter(|other| other.shard == listener.shard).count();
        Some((RecoveredFeed::Inlet(InletIndex(before as u16)), listener.name.as_str(), source))
    });
    feeds.chain(listeners)
}

/// The socket or connector that asks for a feed's lost messages.
fn of_recovery(
    feed: RecoveredFeed,
    name: &str,
    source: &RecoverySource,
) -> Result<PlannedInlet, ApplianceError> {
    let (told, servers) = (format!("{name} recovered"), source.servers.clone());
    let (kind, protocol) = match source.protocol {
        RecoveryProtocol::Moldudp64 => {
            let requester = Requester { name: told, local: source.local, servers };
            (InletKind::Requester(requester), Protocol::Moldudp64Itch50)
        }
        RecoveryProtocol::Soupbintcp => {
            let connector = Connector {
                name: told,
                servers,
                protocol: Protocol::SoupbintcpItch50,
                // The login is the intake's: it follows from what is missing.
                username: String::new(),
                password: String::new(),
                session: String::new(),
                sequence: 0,
                shard: source.shard,
                reconnect_min: source.round_trip,
                reconnect_max: source.backoff_max,
            };
            (InletKind::Replay(connector), Protocol::SoupbintcpItch50)
        }
    };
    let recovers = Some(FeedRecovery { feed, way: recovery_way(name, source)? });
    Ok((kind, InletSettings { recovers, ..InletSettings::trusted(name, protocol, None) }))
}

fn recovery_way(name: &str, source: &RecoverySource) -> Result<RecoveryWay, ApplianceError> {
    let nanos = |time: std::time::Duration| time.as_nanos() as Nanos;
    Ok(match source.protocol {
        RecoveryProtocol::Moldudp64 => RecoveryWay::Requests(RecoverySettings {
            servers: source.servers.clone(),
            round_trip_ns: nanos(source.round_trip),
            backoff_max_ns: nanos(source.backoff_max),
            attempts: source.attempts,
            requests_per_s: source.requests_per_s,
            messages_per_request_max: source.messages_max,
        }),
        RecoveryProtocol::Soupbintcp => {
            let login = SoupLogin::new(&source.username, &source.password)
                .map_err(|error| ApplianceError::Usage(format!("recovery of {name}: {error}")))?;
            RecoveryWay::Replay { login, patience_ns: nanos(source.backoff_max) }
        }
    })
}

fn of_connector(connector: &Connector) -> Result<InletSettings, ApplianceError> {
    let wrong = |problem: &dyn std::fmt::Display| {
        ApplianceError::Usage(format!("connector {}: {problem}", connector.name))
    };
    let login = SoupLogin::new(&connector.username, &connector.password).map_err(|error| wrong(&error))?;
    let session = match connector.session.as_str() {
        "" => CURRENT_SESSION,
        name => soupbin::session_bytes(name)
            .ok_or_else(|| wrong(&"its session has at most 10 letters and digits"))?,
    };
    let session = SoupSession::new(login, session, connector.sequence);
    Ok(InletSettings::trusted(&connector.name, connector.protocol, Some(session)))
}

impl<S: FrameSource, P> Assembly<S, P> {
    /// Opens the listeners, connectors and recoveries of the settings, and gives them to their shards. `bound` is told where
    /// each of them is, as far as it has an address: shard by shard, in the order of its port.
    ///
    /// # Errors
    /// An address can't be had, the kernel has no io_uring, the producers' file can't be used.
    pub fn with_network(
        self,
        settings: &Settings,
        mut bound: impl FnMut(Option<SocketAddr>),
    ) -> Result<Assembly<S, P>, ApplianceError> {
        let ports = open_ports(settings, None, None, &mut Vec::new())?;
        ports.iter().flat_map(|port| port.port.addresses()).for_each(&mut bound);
        Ok(self.with_ports(ports))
    }

    /// Gives shards their ports.
    pub(super) fn with_ports(mut self, ports: Vec<ShardPort>) -> Assembly<S, P> {
        for ShardPort { shard, port, connections, producers, .. } in ports {
            let without: Shard<S> = self.shards.remove(shard);
            self.shards.insert(shard, without.with_port(Box::new(port), connections, producers));
        }
        self
    }
}
