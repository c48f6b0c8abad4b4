//! A listener of MoldUDP64 that asks by hand; and the replay that it listens to, in a process of its own.

use crate::program::{json_file, text, word};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

/// The name of sessions that are made of message files.
pub(crate) const FILE_SESSION: &[u8; 10] = b"ITCHFILE01";

/// A packet, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) session: [u8; 10],
    pub(crate) sequence: u64,
    pub(crate) count: u16,
    pub(crate) bodies: Vec<Vec<u8>>,
}

impl Packet {
    pub(crate) fn parse(bytes: &[u8]) -> Packet {
        let session = bytes[..10].try_into().expect("ten bytes");
        let sequence = u64::from_be_bytes(bytes[10..18].try_into().expect("eight bytes"));
        let count = u16::from_be_bytes([bytes[18], bytes[19]]);
        let (mut rest, mut bodies) = (&bytes[20..], Vec::new());
        while let Some((length, behind)) = rest.split_first_chunk::<2>() {
            let (body, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)));
            bodies.push(body.to_vec());
            rest = behind;
        }
        assert!(rest.is_empty(), "a piece of a length");
        assert_eq!(bodies.len(), if count == u16::MAX { 0 } else { usize::from(count) });
        Packet { session, sequence, count, bodies }
    }
}

/// A request packet.
pub(crate) fn request(session: &[u8; 10], sequence: u64, count: u16) -> Vec<u8> {
    [&session[..], &sequence.to_be_bytes(), &count.to_be_bytes()].concat()
}

/// A socket with room for a whole session.
pub(crate) fn listener() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let wish = socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20);
    wish.expect("the kernel takes a size");
    socket
}

/// The next packet.
pub(crate) fn hear(socket: &UdpSocket) -> Packet {
    let mut datagram = [0; 1 << 16];
    let bytes = socket.recv(&mut datagram).expect("something comes");
    Packet::parse(&datagram[..bytes])
}

/// Messages by number.
pub(crate) type Heard = BTreeMap<u64, Vec<u8>>;

/// Keeps a packet's messages.
pub(crate) fn keep(packet: &Packet, into: &mut Heard) {
    into.extend((packet.sequence..).zip(packet.bodies.iter().cloned()));
}

/// Hears a line until a heartbeat says that nothing more has come; the messages, and the number that it names.
pub(crate) fn hear_line(socket: &UdpSocket) -> (Heard, u64) {
    let mut heard = Heard::new();
    loop {
        let packet = hear(socket);
        if packet.bodies.is_empty() {
            return (heard, packet.sequence);
        }
        keep(&packet, &mut heard);
    }
}

/// Asks and hears the answer.
pub(crate) fn ask(server: SocketAddr, session: &[u8; 10], sequence: u64, count: u16) -> Packet {
    let socket = listener();
    socket.send_to(&request(session, sequence, count), server).expect("it is sent");
    hear(&socket)
}

/// Order deletions, each with a number of its own.
pub(crate) fn deletions(count: u64) -> Vec<Vec<u8>> {
    let message = |n: u64| [&b"D\0\x07\0\0\x1f\x1a\xcf\x4c\x4e\xb7"[..], &n.to_be_bytes()].concat();
    (1..=count).map(message).collect()
}

/// A message file.
pub(crate) fn message_file(folder: &Path, messages: &[Vec<u8>]) -> PathBuf {
    let mut file = Vec::new();
    for message in messages {
        file.extend((message.len() as u16).to_be_bytes());
        file.extend(message);
    }
    let path = folder.join("messages.bin");
    std::fs::write(&path, file).expect("it can be written");
    path
}

/// A replay that answers requests.
pub(crate) struct Replay {
    child: Child,
    pub(crate) requests: SocketAddr,
    report: PathBuf,
    // Kept open: the replay writes to it.
    errors: BufReader<ChildStderr>,
}

impl Replay {
    /// Starts one with these words behind `replay FILE`.
    pub(crate) fn start(file: &Path, folder: &Path, words: &[&str]) -> Replay {
        Replay::start_at("127.0.0.1:0", file, folder, words)
    }

    /// Starts one that answers at this address.
    pub(crate) fn start_at(address: &str, file: &Path, folder: &Path, words: &[&str]) -> Replay {
        let report = folder.join("report.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["replay", word(file), "--rerequest", address, "--report", word(&report)])
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut errors = BufReader::new(child.stderr.take().expect("standard error"));
        let mut line = String::new();
        errors.read_line(&mut line).expect("a line");
        assert!(line.contains("answering MoldUDP64 requests at "), "{line}");
        let address = line.trim().rsplit(' ').next().and_then(|address| address.parse().ok());
        Replay { child, requests: address.expect("an address"), report, errors }
    }

    /// Starts one that sends to a listener.
    pub(crate) fn to(line: &UdpSocket, file: &Path, folder: &Path, words: &[&str]) -> Replay {
        let to = format!("udp:{}", line.local_addr().expect("it is bound"));
        Replay::start(file, folder, &[&["--to", &to], words].concat())
    }

    /// Asks it to end.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it runs");
    }

    /// Waits for its end, which must be a good one, and returns its report and what it printed.
    pub(crate) fn end(mut self) -> (Value, String) {
        let mut errors = String::new();
        self.errors.read_to_string(&mut errors).expect("standard error");
        let output = self.child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{errors}");
        let report = json_file(&self.report);
        assert_eq!(report["ledger"]["balanced"], true, "{report:#}");
        assert_eq!(report["rerequest"]["balanced"], true, "{report:#}");
        (report, text(&output.stdout))
    }
}
