//! `sluice replay --to soup`: what clients get that log in by hand, over real sockets.

use crate::program::{capture, decoded, json_file, number, sluice, text, total, word};
use serde_json::Value;
use sluice::event::{MessageReject, Protocol};
use sluice::replay::synthetic::{itch_session, write_pcap};
use sluice::wire::{Message, Run, Visitor, decode};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server in a process of its own, and where it listens.
struct Server {
    child: Child,
    address: String,
    report: PathBuf,
    // Kept open: the server writes to it.
    errors: BufReader<std::process::ChildStderr>,
}

impl Server {
    fn start(file: &Path, folder: &Path, words: &[&str]) -> Server {
        let report = folder.join("report.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["replay", word(file), "--to", "soup:127.0.0.1:0", "--report", word(&report)])
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut errors = BufReader::new(child.stderr.take().expect("standard error"));
        let mut line = String::new();
        errors.read_line(&mut line).expect("a line");
        let address = line.trim().rsplit(' ').next().expect("an address").to_owned();
        assert!(line.contains("serving SoupBinTCP session"), "{line}");
        Server { child, address, report, errors }
    }

    /// Waits for its end, which must be a good one, and returns its report and what it printed.
    fn end(mut self) -> (Value, String) {
        let mut errors = String::new();
        self.errors.read_to_string(&mut errors).expect("standard error");
        let output = self.child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{errors}");
        let report = json_file(&self.report);
        assert_eq!(report["ledger"]["balanced"], true, "{report:#}");
        (report, text(&output.stdout))
    }

    fn client(&self) -> Client {
        Client { socket: TcpStream::connect(&self.address).expect("it listens") }
    }
}

/// A client that knows packets and nothing else.
struct Client {
    socket: TcpStream,
}

impl Client {
    fn log_in(&mut self, user: &str, password: &str, session: &str, sequence: u64) -> (u8, Vec<u8>) {
        let login = format!("L{user:<6}{password:<10}{session:>10}{sequence:>20}");
        assert_eq!(login.len(), 47);
        self.socket.write_all(&47u16.to_be_bytes()).expect("it reads");
        self.socket.write_all(login.as_bytes()).expect("it reads");
        self.packet().expect("an answer")
    }

    /// Logs in to the current session and checks the answer.
    fn enter(&mut self, sequence: u64) {
        let answer = self.log_in("", "", "", sequence);
        assert_eq!(answer, (b'A', format!("SLUICE0001{sequence:>20}").into_bytes()));
    }

    /// The next packet; nothing when the server has closed.
    fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut prefix = [0; 2];
        self.socket.read_exact(&mut prefix).ok()?;
        let mut packet = vec![0; usize::from(u16::from_be_bytes(prefix))];
        self.socket.read_exact(&mut packet).expect("a whole packet");
        Some((packet[0], packet.split_off(1)))
    }

    /// The next messages, heartbeats left out.
    fn messages(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while messages.len() < count {
            match self.packet() {
                Some((b'S', body)) => messages.push(body),
                Some((b'H', _)) => {}
                other => panic!("{other:?} after {} messages", messages.len()),
            }
        }
        messages
    }

    /// All messages up to the end of the session, behind which the server closes.
    fn rest(mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        loop {
            match self.packet() {
                Some((b'S', body)) => messages.push(body),
                Some((b'H', _)) => {}
                Some((b'Z', body)) => {
                    assert_eq!((body.len(), self.packet()), (0, None));
                    return messages;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Order deletions, each with a number of its own.
fn deletions(count: u64) -> Vec<Vec<u8>> {
    let message = |n: u64| [&b"D\0\x07\0\0\x1f\x1a\xcf\x4c\x4e\xb7"[..], &n.to_be_bytes()].concat();
    (1..=count).map(message).collect()
}

/// Writes messages as a message file.
fn message_file(folder: &Path, messages: &[Vec<u8>]) -> PathBuf {
    let path = folder.join("messages.bin");
    let framed: Vec<u8> = messages
        .iter()
        .flat_map(|message| [&(message.len() as u16).to_be_bytes()[..], message].concat())
        .collect();
    std::fs::write(&path, framed).expect("it can be written");
    path
}

/// The messages of a message file.
fn messages_of(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).expect("it can be read");
    let (mut rest, mut messages) = (&bytes[..], Vec::new());
    while let Some((prefix, behind)) = rest.split_first_chunk::<2>() {
        let (message, behind) = behind.split_at(usize::from(u16::from_be_bytes(*prefix)));
        messages.push(message.to_vec());
        rest = behind;
    }
    messages
}

/// One client takes everything, another one leaves in the middle and comes back.
fn serves_and_takes_up(file: &Path, folder: &Path) {
    let expected = messages_of(file);
    assert_eq!(expected.len(), 1_000);
    let server = Server::start(file, folder, &["--speed", "max", "--wait-clients", "2"]);
    let (mut steady, mut leaving) = (server.client(), server.client());
    steady.enter(1);
    leaving.enter(1);
    assert!(leaving.messages(400) == expected[..400]);
    drop(leaving);
    let mut back = server.client();
    let answer = back.log_in("", "", "SLUICE0001", 401);
    assert_eq!(answer, (b'A', b"SLUICE0001                 401".to_vec()));
    assert!(back.rest() == expected[400..], "exactly the rest");
    assert!(steady.rest() == expected, "every message, byte by byte");
    let (report, printed) = server.end();
    assert_eq!(number(&report, "/ledger/released"), 1_000);
    assert_eq!(number(&report, "/ledger/messages/accepted"), 1_000);
    assert_eq!((number(&report, "/served/connections"), number(&report, "/served/served_whole")), (3, 2));
    let clients = report["served"]["clients"].as_array().expect("clients");
    let came_back = clients.iter().find(|client| client["first_sequence"] == 401).expect("it is told of");
    assert_eq!((number(came_back, "/last_sequence"), number(came_back, "/messages")), (1_000, 600));
    assert_eq!(came_back["closed"], "end_of_session");
    assert!(printed.contains("released 1000 messages of session SLUICE0001"), "{printed}");
}

#[test]
fn clients_get_every_message_and_take_up_where_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = message_file(folder.path(), &deletions(1_000));
    serves_and_takes_up(&file, folder.path());
}

#[test]
fn a_real_message_file_is_served() {
    let Some(file) = capture("itch50-head1000.bin") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    serves_and_takes_up(&file, folder.path());
}

#[test]
fn a_client_that_is_alone_may_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let expected = deletions(1_000);
    let file = message_file(folder.path(), &expected);
    let server = Server::start(&file, folder.path(), &["--speed", "max"]);
    // It leaves with all the rest unread, for the server has sent it long ago.
    let mut first = server.client();
    first.enter(1);
    assert!(first.messages(10) == expected[..10]);
    std::thread::sleep(std::time::Duration::from_millis(200));
    drop(first);
    let mut second = server.client();
    assert_eq!(second.log_in("", "", "SLUICE0001", 11).0, b'A');
    assert!(second.rest() == expected[10..]);
    let (report, _) = server.end();
    assert_eq!((number(&report, "/served/connections"), number(&report, "/served/served_whole")), (2, 1));
}

#[test]
fn strangers_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = message_file(folder.path(), &deletions(10));
    let words = ["--soup-user", "reader", "--soup-password", "secret", "--soup-session", "MORNING"];
    let server = Server::start(&file, folder.path(), &[&words[..], &["--speed", "max"]].concat());
    for (user, password, session, code) in [
        ("reader", "wrong", "", b'A'),
        ("writer", "secret", "", b'A'),
        ("", "", "", b'A'),
        ("reader", "secret", "EVENING", b'S'),
    ] {
        let mut client = server.client();
        assert_eq!(client.log_in(user, password, session, 1), (b'J', vec![code]), "{user} {session}");
        assert_eq!(client.packet(), None);
    }
    // Neither is what is no login, in front of one.
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\0", b"\0\x01S", b"\0\x06Uorder"] {
        let mut client = server.client();
        client.socket.write_all(garbage).expect("it reads");
        assert_eq!(client.packet(), None);
    }
    let mut client = server.client();
    assert_eq!(client.log_in("READER", "secret", "MORNING", 3).0, b'A');
    assert_eq!(client.rest(), deletions(10)[2..]);
    let (report, _) = server.end();
    assert_eq!(number(&report, "/served/closed/login_refused"), 4);
    assert_eq!((number(&report, "/served/connections"), total(&report, "/served/closed")), (9, 9));
    assert_eq!(number(&report, "/served/messages_sent"), 8);
}

/// One client logs in and never reads, another one takes everything; then `before_end` may ask for more. Returns the
/// report.
fn beside_a_stuck_client(words: &[&str], before_end: impl Fn(&Server)) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    // Twice what the sockets' buffers hold, and several times the memory of a small cap.
    let messages = deletions(1_000_000);
    let file = message_file(folder.path(), &messages);
    let words = [&["--speed", "max", "--wait-clients", "2"], words].concat();
    let server = Server::start(&file, folder.path(), &words);
    let (mut stuck, mut reader) = (server.client(), server.client());
    stuck.enter(1);
    reader.enter(1);
    let mut stream = BufReader::with_capacity(1 << 16, reader.socket);
    let mut packet = [0; 22];
    for (index, message) in messages.iter().enumerate() {
        loop {
            stream.read_exact(&mut packet[..3]).expect("a packet");
            if packet[2] == b'S' {
                break;
            }
            // While the stuck client is waited for.
            assert_eq!(packet[..3], [0, 1, b'H']);
        }
        stream.read_exact(&mut packet[3..]).expect("a whole packet");
        assert!(packet[3..] == *message, "message {}", index + 1);
    }
    let mut end = Vec::new();
    stream.read_to_end(&mut end).expect("the server closes");
    assert_eq!(end, [0, 1, b'Z']);
    before_end(&server);
    drop((stuck, stream));
    let (report, _) = server.end();
    let clients = report["served"]["clients"].as_array().expect("clients");
    let whole = |client: &&Value| number(client, "/messages") == 1_000_000;
    assert_eq!(clients.iter().filter(whole).count(), 1, "{report:#}");
    report
}

#[test]
fn a_client_that_does_not_read_stops_nobody() {
    let report = beside_a_stuck_client(&[], |_| {});
    assert_eq!((number(&report, "/served/connections"), number(&report, "/served/waits")), (2, 0));
}

#[test]
fn memory_is_bounded_and_a_client_that_does_not_read_is_closed_for_it() {
    let report = beside_a_stuck_client(&["--memory-cap", "1"], |server| {
        let mut late = server.client();
        assert_eq!(late.log_in("", "", "", 1), (b'J', vec![b'S']), "the first messages are gone");
    });
    assert_eq!(number(&report, "/served/closed/slow_reader"), 1, "{report:#}");
    assert!(number(&report, "/served/dropped") > 500_000 && number(&report, "/served/waits") > 0);
}

#[derive(Default)]
struct Numbered(BTreeMap<u64, Vec<u8>>);

impl Visitor for Numbered {
    fn run(&mut self, _: &Run) {}

    fn message(&mut self, message: &Message<'_>) {
        self.0.insert(message.sequence, message.body.to_vec());
    }

    fn refuse(&mut self, reason: MessageReject) {
        panic!("{reason:?}");
    }
}

#[test]
fn a_capture_of_two_lines_is_served_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = itch_session(7, 5_000);
    let file = folder.path().join("made-up.pcap");
    write_pcap(&file, &session.packets).expect("it can be written");
    let mut sent = Numbered::default();
    for packet in &session.packets {
        decode(Protocol::Moldudp64Itch50, &packet.payload, &mut sent).expect("a good packet");
    }
    let server = Server::start(&file, folder.path(), &["--speed", "max"]);
    let mut client = server.client();
    client.enter(1);
    let mut got = client.rest();
    let mut expected: Vec<Vec<u8>> = sent.0.into_values().collect();
    got.sort_unstable();
    expected.sort_unstable();
    assert!(got == expected, "{} of {} messages", got.len(), expected.len());
    let (report, _) = server.end();
    assert!(number(&report, "/ledger/messages/duplicate") > 0);
    assert_eq!(number(&report, "/ledger/released"), got.len() as u64);
    let decoded = decoded(&[word(&file)]);
    assert_eq!(number(&decoded, "/streams/0/accepted"), got.len() as u64);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = message_file(folder.path(), &deletions(10));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = sluice(&["replay", word(&file), "--to", &format!("soup:{address}")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
}

#[test]
fn waiting_clients_get_heartbeats_and_a_signal_ends_it_cleanly() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = message_file(folder.path(), &deletions(10));
    let server = Server::start(&file, folder.path(), &["--wait-clients", "2"]);
    let mut client = server.client();
    client.enter(1);
    assert_eq!(client.packet(), Some((b'H', Vec::new())));
    let signalled = Command::new("kill").args(["-INT", &server.child.id().to_string()]).status();
    assert!(signalled.expect("kill is there").success());
    while let Some(packet) = client.packet() {
        assert_eq!(packet.0, b'H');
    }
    let (report, _) = server.end();
    assert_eq!(report["served"]["stopped"], true);
    assert_eq!((number(&report, "/served/closed/stopped"), number(&report, "/ledger/released")), (1, 0));
}
