//! Listening sockets, made at boot. Invariant: what is not ours is not removed: a Unix socket's file is replaced only if
//! nobody answers on it.

use super::error::NetError;
use super::settings::Requester;
use crate::config::{ListenSource, Listener};
use crate::os;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Connections that the kernel queues for us before it refuses: its own usual maximum (net.core.somaxconn).
pub(super) const BACKLOG: i32 = 4_096;

/// Bytes of answers that may wait, with what the kernel adds to each: some 1,000 packets of 1,500 bytes.
const REQUEST_BUFFER_BYTES: usize = 4 << 20;

/// A socket that listens, or takes datagrams.
#[derive(Debug)]
pub(super) struct ListeningSocket {
    pub(super) file: OwnedFd,
    /// Where it is bound; none for Unix sockets.
    pub(super) address: Option<SocketAddr>,
    /// In words.
    pub(super) place: String,
    /// The file of a Unix socket, removed at the end.
    pub(super) path: Option<PathBuf>,
}

/// Opens a listener's socket.
pub(super) fn listen(listener: &Listener) -> Result<ListeningSocket, NetError> {
    match &listener.source {
        ListenSource::Tcp { address } => tcp(listener, *address),
        ListenSource::Unix { path, mode } => unix(listener, path, *mode),
        ListenSource::Udp { address, groups, interface } => {
            udp(listener, *address, groups, interface.as_deref())
        }
    }
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

fn bound(socket: Socket, scheme: &str, detail: &str) -> io::Result<ListeningSocket> {
    let address = socket.local_addr()?.as_socket();
    let place = address.map_or_else(String::new, |address| [scheme, &address.to_string(), detail].concat());
    Ok(ListeningSocket { file: socket.into(), address, place, path: None })
}

fn receive_buffer(socket: &Socket, listener: &Listener) -> io::Result<()> {
    listener.receive_buffer_bytes.map_or(Ok(()), |bytes| socket.set_recv_buffer_size(bytes))
}

fn tcp(listener: &Listener, address: SocketAddr) -> Result<ListeningSocket, NetError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // Set before listening: connections inherit it, and the window is scaled by it.
        receive_buffer(&socket, listener)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        bound(socket, "tcp:", "")
    };
    os::patiently(open, is_in_use).map_err(|source| NetError::Listen {
        name: listener.name.clone(),
        what: "listen on",
        address: address.to_string(),
        source,
    })
}

fn udp(
    listener: &Listener,
    address: SocketAddr,
    groups: &[IpAddr],
    interface: Option<&str>,
) -> Result<ListeningSocket, NetError> {
    let failed = |source| NetError::Listen {
        name: listener.name.clone(),
        what: "receive datagrams on",
        address: address.to_string(),
        source,
    };
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // Others may listen to the same groups.
        socket.set_reuse_address(!groups.is_empty())?;
        receive_buffer(&socket, listener)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let socket = os::patiently(open, is_in_use).map_err(failed)?;
    groups.iter().try_for_each(|group| join(listener, &socket, *group, interface))?;
    let joined: String = groups.iter().map(|group| format!(" + {group}")).collect();
    bound(socket, "udp:", &joined).map_err(failed)
}

/// Opens a socket for requests to servers.
pub(super) fn request_socket(requester: &Requester) -> Result<ListeningSocket, NetError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(requester.local), Type::DGRAM, Some(Protocol::UDP))?;
        // Answers come in bursts. The kernel gives as much of it as it allows.
        socket.set_recv_buffer_size(REQUEST_BUFFER_BYTES)?;
        socket.bind(&requester.local.into())?;
        bound(socket, "udp:", "")
    };
    os::patiently(open, is_in_use).map_err(|source| NetError::Listen {
        name: requester.name.clone(),
        what: "ask for lost messages from",
        address: requester.local.to_string(),
        source,
    })
}

fn join(
    listener: &Listener,
    socket: &Socket,
    group: IpAddr,
    interface: Option<&str>,
) -> Result<(), NetError> {
    let found = interface.map(os::Interface::find).transpose();
    let index = found
        .map_err(|source| NetError::Interface { name: listener.name.clone(), source })?
        .map_or(0, |interface| interface.index);
    os::join_group(socket, group, None, index).map_err(|source| NetError::Join {
        name: listener.name.clone(),
        group: group.to_string(),
        interface: interface.unwrap_or("the interface that the routing table names").to_owned(),
        source,
    })
}

fn unix(listener: &Listener, path: &Path, mode: u32) -> Result<ListeningSocket, NetError> {
    let failed = |what| {
        move |source| NetError::Unix { name: listener.name.clone(), what, path: path.to_owned(), source }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed("make the folder of"))?;
    }
    os::patiently(|| make_way(listener, path), |error| matches!(error, NetError::UnixInUse { .. }))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("open a socket for"))?;
    receive_buffer(&socket, listener).map_err(failed("set the receive buffer of"))?;
    let address = SockAddr::unix(path).map_err(failed("use the path"))?;
    socket.bind(&address).map_err(failed("bind to"))?;
    // Before it listens, so that nobody gets in with other rights.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
    socket.listen(BACKLOG).map_err(failed("listen on"))?;
    let place = format!("unix:{}", path.display());
    Ok(ListeningSocket { file: socket.into(), address: None, place, path: Some(path.to_owned()) })
}

/// Removes the socket file of a process that is gone.
fn make_way(listener: &Listener, path: &Path) -> Result<(), NetError> {
    let failed = |what| {
        move |source| NetError::Unix { name: listener.name.clone(), what, path: path.to_owned(), source }
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("look at")(error)),
        Ok(there) if !there.file_type().is_socket() => {
            Err(failed("replace")(io::Error::new(io::ErrorKind::AlreadyExists, "it is no socket")))
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed("remove the stale socket"))
            }
            Ok(_) => Err(NetError::UnixInUse { name: listener.name.clone(), path: path.to_owned() }),
            Err(error) => Err(failed("ask whether anybody answers on")(error)),
        },
    }
}
