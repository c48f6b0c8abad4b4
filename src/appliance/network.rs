//! The ports of a live run: which shard has which listeners, connectors and streams, and what its intake knows of them.
//!
//! Invariant: inlets of a port and of its intake are the same list in the same order.

use super::{ApplianceError, Assembly};
use crate::agents::Shard;
use crate::config::{Connector, Listener, Settings};
use crate::event::Protocol;
use crate::feed::{
    CURRENT_SESSION, ConnectionSettings, InletSettings, ProducerStore, Producers, SoupLogin, SoupSession,
};
use crate::os;
use crate::sink::ProducerFile;
use crate::source::FrameSource;
use crate::source::net::{GivenStream, InletKind, InletSpec, NetPort, NetReport, NetSettings};
use crate::wire::soupbin;
use std::os::unix::net::UnixStream;

/// Files that are open beside connections: sockets of lanes and inlets, maps, rings, what the program reads and writes.
const OTHER_FILES: u64 = 512;

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
    listeners.chain(connectors).chain(host).max().unwrap_or_default()
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
        let mut kinds: Vec<InletKind> = Vec::new();
        let listeners = settings.listeners.iter().filter(|listener| listener.shard == shard);
        kinds.extend(listeners.cloned().map(InletKind::Listener));
        let connectors = settings.connectors.iter().filter(|connector| connector.shard == shard);
        kinds.extend(connectors.cloned().map(InletKind::Connector));
        if settings.host.shard == shard
            && let Some(stream) = host.take()
        {
            kinds.push(InletKind::Given(GivenStream { name: "host".to_owned(), stream }));
        }
        if !kinds.is_empty() {
            ports.push(open_port(settings, shard, kinds, node, remarks)?);
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
    kinds: Vec<InletKind>,
    node: Option<u32>,
    remarks: &mut Vec<String>,
) -> Result<ShardPort, ApplianceError> {
    let inlets = kinds.iter().map(inlet_settings).collect::<Result<Vec<_>, _>>()?;
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

fn inlet_settings(kind: &InletKind) -> Result<InletSettings, ApplianceError> {
    match kind {
        InletKind::Listener(listener) => Ok(listener.into()),
        InletKind::Connector(connector) => of_connector(connector),
        InletKind::Given(given) => Ok(InletSettings::trusted(&given.name, Protocol::Native, None)),
    }
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

impl<S: FrameSource> Assembly<S> {
    /// Gives shards their ports.
    pub(super) fn with_ports(mut self, ports: Vec<ShardPort>) -> Assembly<S> {
        for ShardPort { shard, port, connections, producers, .. } in ports {
            let without: Shard<S> = self.shards.remove(shard);
            self.shards.insert(shard, without.with_port(Box::new(port), connections, producers));
        }
        self
    }
}
