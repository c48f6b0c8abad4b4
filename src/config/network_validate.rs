//! The checks of listeners, connectors and what belongs to them: key by key, and against each other.
//!
//! Invariant: as in [`super::validate`]; and no text of this file shows a password.

use super::file::{ConfigFile, Endpoint};
use super::network_file::{ConnectTable, ListenKind, ListenTable, SOCKET_PATH};
use super::validate::{Found, first_repeated, refuse};
use super::wishes::UringMode;
use crate::event::{Prefix, Protocol};
use crate::limits::{CACHE_LINE_BYTES, PAYLOAD_BYTES_MAX, SEQUENCE_NUMBER_MAX};
use std::collections::HashMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

/// Connections of one listener: memory is set aside for each at boot.
pub(super) const CONNECTIONS_MAX: u32 = 16_384;
/// A cache line: no protocol's useful frame is refused by it.
pub(super) const FRAME_BYTES_MIN: u32 = 64;
/// The largest event slot and its header.
pub(super) const FRAME_BYTES_MAX: u32 = (PAYLOAD_BYTES_MAX + CACHE_LINE_BYTES) as u32;
/// A day.
pub(super) const IDLE_S_MAX: u32 = 86_400;
/// Below a page the kernel goes its own way.
pub(super) const RECEIVE_BUFFER_MIN: u32 = 4_096;
/// The kernel doubles what it is given, in a signed 32-bit number.
pub(super) const RECEIVE_BUFFER_MAX: u32 = (1 << 30) - 1;
/// A buffer ring of fewer ends its multishot receives all the time.
pub(super) const BUFFERS_MIN: u32 = 8;
/// The kernel's limit for a provided-buffer ring.
pub(super) const BUFFERS_MAX: u32 = 32_768;
/// A page.
pub(super) const BUFFER_BYTES_MIN: u32 = 4_096;
/// More is no faster, and holds up other connections.
pub(super) const BUFFER_BYTES_MAX: u32 = 1 << 20;
/// Producers of acknowledged sessions: the table is allocated at boot.
pub(super) const PRODUCERS_MAX: u32 = 65_536;
/// Ten minutes.
pub(super) const RECONNECT_MS_MAX: u32 = 600_000;
/// SoupBinTCP's login packet: 6 bytes of user name, 10 of password, 10 of session.
pub(super) const USERNAME_BYTES_MAX: usize = 6;
const PASSWORD_BYTES_MAX: usize = 10;
/// As [`USERNAME_BYTES_MAX`].
pub(super) const SESSION_BYTES_MAX: usize = 10;

/// Memory of all receive buffers of a shard.
const BUFFER_BYTES_TOTAL_MAX: u64 = 1 << 30;
/// Listeners, and connectors: each is an inlet with books of its own, and books are allocated at boot.
const INLETS_MAX: usize = 256;
/// Prefixes are looked through one by one.
const PREFIXES_MAX: usize = 256;
/// net.ipv4.igmp_max_memberships, unless somebody raised it.
const GROUPS_MAX: usize = 20;
/// sun_path without its terminating zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// A venue has two servers for a session, seldom more.
const SERVERS_MAX: usize = 8;
/// Topics begin with it; they fit the smallest slots together with their figures.
const TOPICS_PREFIX_BYTES_MAX: usize = 32;

/// Checks an address to bind to.
pub(super) fn own_address(endpoint: &Endpoint, (): &()) -> garde::Result {
    let socket = endpoint.0;
    match socket.ip().to_canonical().is_multicast() {
        true => refuse(format!(
            "is {socket}, a multicast group; write the wildcard, such as \"{}\", and list the group in groups",
            wildcard_of(socket)
        )),
        false => Ok(()),
    }
}

fn wildcard_of(socket: SocketAddr) -> SocketAddr {
    match socket {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], socket.port())),
        SocketAddr::V6(_) => SocketAddr::from(([0u16; 8], socket.port())),
    }
}

/// Checks the path of a socket file.
pub(super) fn socket_path(path: &str, (): &()) -> garde::Result {
    if (1..=SOCKET_PATH_BYTES_MAX).contains(&path.len()) && !path.contains('\0') {
        return Ok(());
    }
    refuse(format!(
        "has {} bytes; allowed: a path of 1 to {SOCKET_PATH_BYTES_MAX} bytes (the kernel's limit), none of them zero",
        path.len()
    ))
}

/// Checks a list of multicast groups.
pub(super) fn groups(list: &Option<Vec<IpAddr>>, (): &()) -> garde::Result {
    let Some(list) = list else { return Ok(()) };
    if list.len() > GROUPS_MAX {
        return refuse(format!(
            "has {} groups; allowed: up to {GROUPS_MAX}, the kernel's limit for a socket",
            list.len()
        ));
    }
    if let Some(wrong) = list.iter().find(|group| !group.is_multicast()) {
        return refuse(format!(
            "has {wrong}, which is no multicast group; allowed: such as 239.1.1.1 or ff0e::1"
        ));
    }
    match first_repeated(list) {
        None => Ok(()),
        Some((group, _, _)) => refuse(format!("has {group} twice; list each group once")),
    }
}

/// Checks how many prefixes there are.
pub(super) fn prefix_count(list: &Option<Vec<Prefix>>, (): &()) -> garde::Result {
    match list.as_ref().map_or(0, Vec::len) {
        0..=PREFIXES_MAX => Ok(()),
        count => refuse(format!("has {count} prefixes; allowed: up to {PREFIXES_MAX}; write wider ones")),
    }
}

/// Checks how many servers there are, and that they differ.
pub(super) fn server_count(list: &[Endpoint], (): &()) -> garde::Result {
    if !(1..=SERVERS_MAX).contains(&list.len()) {
        return refuse(format!("has {} servers; allowed: 1 to {SERVERS_MAX} of one session", list.len()));
    }
    if let Some(wrong) = list.iter().find(|server| server.0.ip().to_canonical().is_multicast()) {
        return refuse(format!("has {}, a multicast group; allowed: addresses of servers", wrong.0));
    }
    match first_repeated(list) {
        None => Ok(()),
        Some((server, _, _)) => refuse(format!("has {} twice; list each server once", server.0)),
    }
}

/// Checks the protocol of a connector.
pub(super) fn connected_protocol(protocol: &Protocol, (): &()) -> garde::Result {
    match protocol {
        Protocol::SoupbintcpItch50 => Ok(()),
        _ => refuse(format!(
            "is \"{protocol}\"; allowed: \"soupbintcp-itch50\"; what others send by themselves is for [[listen]]"
        )),
    }
}

/// Checks a text that fills up to `bytes_max` bytes of a SoupBinTCP login.
pub(super) fn soup_field(bytes_max: usize) -> impl Fn(&str, &()) -> garde::Result {
    move |text, ()| match fits_login(text, bytes_max) {
        true => Ok(()),
        false => {
            refuse(format!("is {text:?}; allowed: up to {bytes_max} printable ASCII characters, no space"))
        }
    }
}

/// Checks a password, which no message shows.
pub(super) fn password(text: &str, (): &()) -> garde::Result {
    match fits_login(text, PASSWORD_BYTES_MAX) {
        true => Ok(()),
        false => refuse(password_refusal(text)),
    }
}

fn fits_login(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && text.bytes().all(|b| b.is_ascii_graphic())
}

fn password_refusal(text: &str) -> String {
    format!(
        "has {} characters; allowed: up to {PASSWORD_BYTES_MAX} printable ASCII characters, no space",
        text.chars().count()
    )
}

/// Checks a sequence number to begin with.
pub(super) fn sequence(number: &u64, (): &()) -> garde::Result {
    match *number <= SEQUENCE_NUMBER_MAX {
        true => Ok(()),
        false => refuse(format!("is {number}; allowed: 0 (only new ones) to {SEQUENCE_NUMBER_MAX}")),
    }
}

/// Checks what topics begin with.
pub(super) fn topics_prefix(text: &str, (): &()) -> garde::Result {
    let shaped = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if (1..=TOPICS_PREFIX_BYTES_MAX).contains(&text.len()) && shaped {
        return Ok(());
    }
    refuse(format!("is {text:?}; allowed: 1 to {TOPICS_PREFIX_BYTES_MAX} ASCII letters, digits and - _ ."))
}

/// What is wrong with keys that are right by themselves.
pub(super) fn together(file: &ConfigFile, found: &mut Found) {
    for (index, listen) in file.listen.iter().enumerate() {
        let mut found_here = Vec::new();
        foreign_keys(listen, &mut found_here);
        own_keys(listen, &mut found_here);
        found
            .extend(found_here.into_iter().map(|(key, problem)| (format!("listen[{index}].{key}"), problem)));
    }
    for (index, connect) in file.connect.iter().enumerate() {
        connector_keys(index, connect, found);
    }
    inlet_count(file, found);
    addresses_are_distinct(&file.listen, found);
    shards_are_there(file, found);
    native_listeners_share_a_shard(&file.listen, found);
    network_keys(file, found);
}

type FoundHere = Vec<(&'static str, String)>;

/// Why a key means nothing for a source, and what to do instead; `None` where it has a meaning.
const fn foreign(source: ListenKind, key: Key) -> Option<&'static str> {
    match (source, key) {
        (ListenKind::Tcp | ListenKind::Udp, Key::Path | Key::Mode) => {
            Some("it belongs to source = \"unix\"; write address, or change the source")
        }
        (ListenKind::Unix, Key::Address) => {
            Some("a Unix socket has a path; write path, or change the source")
        }
        (ListenKind::Tcp | ListenKind::Unix, Key::Groups | Key::Interface) => {
            Some("multicast is for source = \"udp\"; remove it, or change the source")
        }
        (ListenKind::Tcp | ListenKind::Unix, Key::Integrity | Key::Recovery) => {
            Some("byte streams lose nothing; remove it, or change the source")
        }
        (ListenKind::Unix, Key::ConnectionsPerSource) => {
            Some("a Unix socket's peers have no addresses; write connections_max")
        }
        (ListenKind::Unix, Key::Allow) => {
            Some("a Unix socket's peers have no addresses; mode says who may connect")
        }
        (ListenKind::Unix, Key::ReceiveBuffer) => {
            Some("a Unix socket's room is its sender's (SO_SNDBUF); remove it")
        }
        (ListenKind::Udp, Key::Connections | Key::ConnectionsPerSource) => {
            Some("datagrams have no connections; remove it, or use allow to say who may send")
        }
        (ListenKind::Udp, Key::Idle | Key::Handshake | Key::Unfinished) => {
            Some("datagrams have no connections that could time out; remove it")
        }
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Key {
    Address,
    Path,
    Mode,
    Groups,
    Interface,
    Connections,
    ConnectionsPerSource,
    Allow,
    Idle,
    Handshake,
    Unfinished,
    ReceiveBuffer,
    Integrity,
    Recovery,
}

fn foreign_keys(listen: &ListenTable, found: &mut FoundHere) {
    let written = [
        (Key::Address, "address", listen.address.is_some()),
        (Key::Path, "path", listen.path.is_some()),
        (Key::Mode, "mode", listen.mode.is_some()),
        (Key::Groups, "groups", listen.groups.is_some()),
        (Key::Interface, "interface", listen.interface.is_some()),
        (Key::Connections, "connections_max", listen.connections_max.is_some()),
        (
            Key::ConnectionsPerSource,
            "connections_per_source_max",
            listen.connections_per_source_max.is_some(),
        ),
        (Key::Allow, "allow", listen.allow.is_some()),
        (Key::Idle, "idle_timeout_s", listen.idle_timeout_s.is_some()),
        (Key::Handshake, "handshake_timeout_s", listen.handshake_timeout_s.is_some()),
        (Key::Unfinished, "unfinished_timeout_s", listen.unfinished_timeout_s.is_some()),
        (Key::ReceiveBuffer, "receive_buffer_bytes", listen.receive_buffer_bytes.is_some()),
        (Key::Integrity, "integrity", listen.integrity.is_some()),
        (Key::Recovery, "recovery", listen.recovery.is_some()),
    ];
    for (key, name, _) in written.into_iter().filter(|(_, _, is_written)| *is_written) {
        if let Some(advice) = foreign(listen.source, key) {
            found.push((name, format!("means nothing with source = \"{}\": {advice}", listen.source.name())));
        }
    }
}

fn own_keys(listen: &ListenTable, found: &mut FoundHere) {
    if listen.source != ListenKind::Unix && listen.address.is_none() {
        let source = listen.source.name();
        found.push((
            "address",
            format!("is missing; source = \"{source}\" needs one, such as address = \"127.0.0.1:9000\""),
        ));
    }
    if let Some(problem) = protocol_problem(listen.source, listen.protocol) {
        found.push(("protocol", problem));
    }
    let groups = listen.groups.as_deref().unwrap_or_default();
    if listen.source != ListenKind::Udp {
        return;
    }
    if listen.interface.is_some() && groups.is_empty() {
        found.push(("interface", "joins no group; list groups, or remove it".to_owned()));
    }
    let Some(address) = listen.address.map(|endpoint| endpoint.0) else { return };
    if let Some(group) = groups.iter().find(|group| group.is_ipv4() != address.is_ipv4()) {
        found.push((
            "groups",
            format!("has {group}, and the address is {address}; groups are of the address' family"),
        ));
    }
    if !groups.is_empty() && !address.ip().is_unspecified() {
        found.push((
            "address",
            format!(
                "is {address}, and a socket bound to that gets no group's datagrams; write \"{}\", and name the \
                 interface to join at in interface",
                wildcard_of(address)
            ),
        ));
    }
}

fn protocol_problem(source: ListenKind, protocol: Protocol) -> Option<String> {
    match (source, protocol) {
        (_, Protocol::SoupbintcpItch50) => Some(format!(
            "is \"{protocol}\", whose servers are connected to; write a [[connect]] table with servers instead"
        )),
        (_, Protocol::Native) => None,
        (ListenKind::Udp, Protocol::Engine20 | Protocol::Fix) => Some(format!(
            "is \"{protocol}\", which is spoken in byte streams; write source = \"tcp\" or \"unix\""
        )),
        (ListenKind::Udp, _) | (_, Protocol::Engine20 | Protocol::Fix) => None,
        (ListenKind::Tcp | ListenKind::Unix, _) => Some(format!(
            "is \"{protocol}\", which comes in datagrams; allowed: \"native\", \"engine20\" or \"fix\"; write \
             source = \"udp\", or a [[feed]] on an [[interface]]"
        )),
    }
}

fn connector_keys(index: usize, connect: &ConnectTable, found: &mut Found) {
    let key = |name: &str| format!("connect[{index}].{name}");
    if connect.reconnect_min_ms > connect.reconnect_max_ms {
        found.push((
            key("reconnect_min_ms"),
            format!(
                "is {}, and reconnect_max_ms is {}; write the longer wait there",
                connect.reconnect_min_ms, connect.reconnect_max_ms
            ),
        ));
    }
    if !connect.password.is_empty() && connect.password_file.is_some() {
        found.push((key("password_file"), "stands beside password; keep one of them".to_owned()));
    }
}

fn inlet_count(file: &ConfigFile, found: &mut Found) {
    let counts = [("listen", file.listen.len()), ("connect", file.connect.len())];
    for (table, count) in counts.into_iter().filter(|(_, count)| *count > INLETS_MAX) {
        found.push((
            format!("{table}[{INLETS_MAX}]"),
            format!("is one of {count}; allowed: up to {INLETS_MAX} [[{table}]] tables"),
        ));
    }
}

/// Two sockets of one kind can't have the same address, nor a wildcard and an address of its family at one port.
fn addresses_are_distinct(listen: &[ListenTable], found: &mut Found) {
    let mut paths: HashMap<&str, usize> = HashMap::new();
    let mut sockets: HashMap<(ListenKind, u16), Vec<(IpAddr, usize)>> = HashMap::new();
    for (index, table) in listen.iter().enumerate() {
        if table.source == ListenKind::Unix {
            let path = table.path.as_deref().unwrap_or(SOCKET_PATH);
            if let Some(first) = paths.insert(path, index) {
                found.push((
                    format!("listen[{index}].path"),
                    format!("is \"{path}\", as is listen[{first}].path; each listener needs its own"),
                ));
            }
            continue;
        }
        // Port 0 is another one each time.
        let Some(address) = table.address.map(|endpoint| endpoint.0).filter(|a| a.port() != 0) else {
            continue;
        };
        let ip = address.ip().to_canonical();
        let others = sockets.entry((table.source, address.port())).or_default();
        let clash = others.iter().find(|(other, _)| {
            let wildcard = ip.is_unspecified() || other.is_unspecified();
            *other == ip || (wildcard && other.is_ipv4() == ip.is_ipv4())
        });
        if let Some((_, first)) = clash {
            found.push((
                format!("listen[{index}].address"),
                format!(
                    "is {address}, which listen[{first}].address has already; each listener needs its own port or address"
                ),
            ));
        }
        others.push((ip, index));
    }
}

fn shards_are_there(file: &ConfigFile, found: &mut Found) {
    let shards = file.threads.shards;
    let listen = file.listen.iter().enumerate().map(|(i, t)| (format!("listen[{i}].shard"), t.shard));
    let connect = file.connect.iter().enumerate().map(|(i, t)| (format!("connect[{i}].shard"), t.shard));
    let host = [("host.shard".to_owned(), file.host.shard)];
    for (key, shard) in listen.chain(connect).chain(host).filter(|(_, shard)| *shard >= shards.max(1)) {
        let last = shards.saturating_sub(1);
        found.push((key, format!("is {shard}; allowed: 0 to {last}, since threads.shards is {shards}")));
    }
}

/// One table of producers, with one writer, tells what of a session was received already.
fn native_listeners_share_a_shard(listen: &[ListenTable], found: &mut Found) {
    let has_sessions =
        |table: &ListenTable| table.source != ListenKind::Udp && table.protocol == Protocol::Native;
    let mut sessions = listen.iter().enumerate().filter(|(_, table)| has_sessions(table));
    let Some((first, one)) = sessions.next() else { return };
    for (index, table) in sessions.filter(|(_, table)| table.shard != one.shard) {
        found.push((
            format!("listen[{index}].shard"),
            format!(
                "is {}, but listen[{first}] is on shard {}; acknowledged sessions have one table of producers, so that \
                 all tcp and unix listeners with protocol = \"native\" share a shard; write shard = {}",
                table.shard, one.shard, one.shard
            ),
        ));
    }
}

fn network_keys(file: &ConfigFile, found: &mut Found) {
    let network = &file.network;
    if network.sqpoll_cpu.is_some() && network.mode != UringMode::Sqpoll {
        found.push((
            "network.sqpoll_cpu".to_owned(),
            format!("means nothing with mode = \"{}\"; write mode = \"sqpoll\", or remove it", network.mode),
        ));
    }
    let total = u64::from(network.buffers) * u64::from(network.buffer_bytes);
    let each_allowed = network.buffers <= BUFFERS_MAX && network.buffer_bytes <= BUFFER_BYTES_MAX;
    if each_allowed && total > BUFFER_BYTES_TOTAL_MAX {
        found.push((
            "network.buffers".to_owned(),
            format!(
                "is {}, which with buffer_bytes = {} makes {} MiB for each shard; allowed: up to {} MiB together",
                network.buffers,
                network.buffer_bytes,
                total >> 20,
                BUFFER_BYTES_TOTAL_MAX >> 20
            ),
        ));
    }
}

/// Reads the password files of a checked file into their tables.
pub(super) fn read_passwords(file: &mut ConfigFile, found: &mut Found) {
    for (index, connect) in file.connect.iter_mut().enumerate() {
        let Some(path) = &connect.password_file else { continue };
        match read_password(path) {
            Ok(password) => connect.password = password,
            Err(problem) => {
                found.push((format!("connect[{index}].password_file"), format!("is \"{path}\", {problem}")));
            }
        }
    }
}

/// A password file's first line is the password; there is no other.
pub(super) fn read_password(path: &str) -> Result<String, String> {
    let mut text = String::new();
    std::fs::File::open(path)
        // A few bytes more than are allowed tell a wrong file from a right one, whatever its size.
        .and_then(|file| file.take(4 * PASSWORD_BYTES_MAX as u64).read_to_string(&mut text))
        .map_err(|cause| {
            format!("which cannot be read: {cause}; write a file with the password in its one line")
        })?;
    let password = text.trim_end_matches(['\n', '\r']);
    match fits_login(password, PASSWORD_BYTES_MAX) {
        true => Ok(password.to_owned()),
        false => Err(format!("and what it holds {}", password_refusal(password))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::is_stream_protocol;

    #[test]
    fn every_protocol_has_one_way_in() {
        for protocol in Protocol::ALL {
            let listens = |source| protocol_problem(source, protocol).is_none();
            assert_eq!(listens(ListenKind::Tcp), listens(ListenKind::Unix));
            let connects = connected_protocol(&protocol, &()).is_ok();
            assert_eq!(listens(ListenKind::Tcp) || connects, is_stream_protocol(protocol), "{protocol}");
            let in_datagrams = protocol == Protocol::Native || !is_stream_protocol(protocol);
            assert_eq!(listens(ListenKind::Udp), in_datagrams, "{protocol}");
        }
    }

    #[test]
    fn passwords_are_not_told() {
        for wrong in ["secret-and-long", "a b", "pässword"] {
            let problem = password(wrong, &()).expect_err("refused").to_string();
            assert!(!problem.contains(wrong) && problem.contains("up to 10"), "{problem}");
        }
    }
}
