//! Where a load goes, and the sockets that take it there.
//!
//! Invariant: streams never block; whoever has nothing to do waits in one place, [`wait`], and for a bounded time.

use super::LoadError;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Longest time for one connection's handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a load goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP server: host and port.
    Tcp(String),
    /// A UDP address: host and port.
    Udp(String),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl Target {
    /// Whether frames go in a byte stream.
    pub const fn is_stream(&self) -> bool {
        matches!(self, Target::Tcp(_) | Target::Unix(_))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let address = |address: &str| match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
                Ok(address.to_owned())
            }
            _ => Err(format!(
                "'{address}' is no address and port; write 127.0.0.1:9000, [::1]:9000 or host:9000"
            )),
        };
        match text.split_once(':') {
            Some(("tcp", to)) => address(to).map(Target::Tcp),
            Some(("udp", to)) => address(to).map(Target::Udp),
            Some(("unix", path)) if !path.is_empty() => Ok(Target::Unix(PathBuf::from(path))),
            _ => Err("write tcp:ADDR:PORT, udp:ADDR:PORT or unix:PATH".to_owned()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(address) => write!(f, "tcp:{address}"),
            Target::Udp(address) => write!(f, "udp:{address}"),
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A connected stream that does not block.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn connect(target: &Target) -> io::Result<Stream> {
        match target {
            Target::Tcp(address) => {
                let stream = connect_tcp(address)?;
                // Batching is done here; what is due must not wait for an acknowledgement by the peer's kernel.
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                Ok(Stream::Tcp(stream))
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(Stream::Unix(stream))
            }
            Target::Udp(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "datagrams are no stream")),
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn end(&self) {
        // Where that fails, the connection is gone already.
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
        };
    }
}

fn connect_tcp(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A socket that sends datagrams to one address; it blocks while the kernel has no room.
pub(super) fn connect_udp(target: &Target) -> Result<UdpSocket, LoadError> {
    let failed = |source| LoadError::Unreachable { target: target.clone(), source };
    let Target::Udp(address) = target else {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "a stream takes no datagrams")));
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in address.to_socket_addrs().map_err(failed)? {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        match UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Waits until there is something to read, or room to write if that is wanted, or the time is up.
pub(super) fn wait(stream: &Stream, for_room: bool, timeout_ns: u64) {
    let wanted = if for_room { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
    let mut descriptors = [PollFd::new(stream.as_fd(), wanted)];
    let timeout = TimeSpec::from(Duration::from_nanos(timeout_ns));
    // An interruption is as good as the time being up: the caller looks at everything again.
    let _ = ppoll(&mut descriptors, Some(timeout), None);
}

/// Writes what the socket has room for: so many bytes, 0 if it has none.
pub(super) fn write_some(stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        written => written,
    }
}

/// Reads what is there: so many bytes, `None` if there is nothing, an error when the peer closed.
pub(super) fn read_some(stream: &mut Stream, into: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.read(into) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection")),
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_written_alike() {
        for text in
            ["tcp:127.0.0.1:9000", "tcp:[::1]:9000", "udp:localhost:9001", "unix:/run/sluice/ingest.sock"]
        {
            let target: Target = text.parse().expect("is one");
            assert_eq!(target.to_string(), text);
            assert_eq!(target.is_stream(), !text.starts_with("udp"));
        }
        for text in
            ["", "tcp", "tcp:", "tcp:9000", "tcp::9000", "udp:host:0", "udp:host:x", "unix:", "http:a:1"]
        {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
