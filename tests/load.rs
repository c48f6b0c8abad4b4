//! `sluice send` from outside: what it says it sent is what a server got, over real sockets, whatever becomes of the
//! connections.

#[path = "common/program.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod program;

use program::{number, sluice, text};
use serde_json::Value;
use sluice::event::{CloseReason, MessageReject, Protocol};
use sluice::wire::native_v2::{self, EventFrame, encode_control};
use sluice::wire::{Control, Flow, Message, Run, StreamVisitor, Visitor, decode, decode_stream};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Events of a connection, in order, and what else was in it.
#[derive(Default)]
struct Heard {
    bodies: Vec<Vec<u8>>,
    refused: usize,
    hello: Option<(u64, bool)>,
    goodbye: bool,
}

impl Visitor for Heard {
    fn run(&mut self, _: &Run) {}

    fn message(&mut self, message: &Message<'_>) {
        self.bodies.push(message.body.to_vec());
    }

    fn refuse(&mut self, _: MessageReject) {
        self.refused += 1;
    }
}

impl StreamVisitor for Heard {
    fn offer(&mut self, message: &Message<'_>) -> Flow {
        self.message(message);
        Flow::Taken
    }

    fn control(&mut self, control: Control<'_>) -> Result<(), CloseReason> {
        match control {
            Control::Native(native_v2::Control::Hello { producer, durable, .. }) => {
                self.hello = Some((producer, durable));
            }
            Control::Native(native_v2::Control::Goodbye) => self.goodbye = true,
            Control::Native(native_v2::Control::Heartbeat) => {}
            other => panic!("a producer says {other:?}"),
        }
        Ok(())
    }
}

/// Reads a stream to its end.
fn read_all(mut stream: impl Read) -> Heard {
    let (mut heard, mut kept, mut bytes) = (Heard::default(), Vec::new(), vec![0; 1 << 16]);
    loop {
        let read = stream.read(&mut bytes).expect("the sender closes properly");
        if read == 0 {
            assert!(kept.is_empty(), "the stream ends between two frames");
            return heard;
        }
        kept.extend_from_slice(&bytes[..read]);
        let progress = decode_stream(Protocol::Native, &kept, 1 << 20, &mut heard);
        kept.drain(..progress.consumed);
    }
}

/// Runs `sluice send --json` with these words; its report and exit code.
fn send(words: &[&str]) -> (Value, Option<i32>) {
    report_of(&sluice(&[&["send", "--json"], words].concat()))
}

fn report_of(output: &Output) -> (Value, Option<i32>) {
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|_| panic!("no report: {}", text(&output.stderr))), output.status.code())
}

fn tcp() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, format!("tcp:{address}"))
}

#[test]
fn version_1_over_tcp_arrives_whole() {
    let (listener, to) = tcp();
    let server = thread::spawn(move || {
        let connections: Vec<TcpStream> =
            (0..2).map(|_| listener.accept().expect("a connection").0).collect();
        let readers: Vec<_> = connections.into_iter().map(|c| thread::spawn(|| read_all(c))).collect();
        readers.into_iter().map(|reader| reader.join().expect("it reads")).collect::<Vec<Heard>>()
    });
    let (report, code) = send(&["--to", &to, "--count", "100001", "--producers", "2", "--mix"]);
    let heard = server.join().expect("it reads");
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(heard.iter().map(|heard| heard.bodies.len()).sum::<usize>(), 100_001);
    assert!(heard.iter().all(|heard| heard.refused == 0 && heard.hello.is_none()));
    assert_eq!((number(&report, "/sent"), number(&report, "/latency_ns/count")), (100_001, 100_001));
    let trades = heard.iter().flat_map(|heard| &heard.bodies);
    let trades = trades.filter(|body| body[3..].starts_with(b"market.trade")).count();
    assert_eq!(number(&report, "/by_topic/market.trade/sent"), trades as u64);
    assert_eq!(report["by_topic"].as_object().map(serde_json::Map::len), Some(7));
}

#[test]
fn a_rate_and_a_duration_make_an_exact_number_over_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ingest.sock");
    let listener = UnixListener::bind(&path).expect("it binds");
    let server = thread::spawn(move || read_all(listener.accept().expect("a connection").0));
    let to = format!("unix:{}", path.display());
    let words = ["--to", &to, "--rate", "5000", "--duration", "200ms", "--version", "2", "--topic", "t"];
    let (report, code) = send(&words);
    let heard = server.join().expect("it reads");
    assert_eq!((code, heard.bodies.len()), (Some(0), 1_000), "{report:#}");
    let events: Vec<EventFrame<'_>> =
        heard.bodies.iter().map(|body| native_v2::read_event(body).expect("an event")).collect();
    assert!(events.iter().zip(1..).all(|(event, n)| event.sequence == n && event.producer == 1));
    // The times are those of the schedule, to the nanosecond.
    assert!(events.windows(2).all(|pair| pair[1].time_ns - pair[0].time_ns == 200_000));
    assert!(report["elapsed_s"].as_f64() >= Some(0.199), "{report:#}");
}

#[test]
fn datagrams_carry_one_frame_of_version_1_or_several_of_version_2() {
    for version in ["1", "2"] {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let to = format!("udp:{}", socket.local_addr().expect("it is bound"));
        let server = thread::spawn(move || {
            let (mut heard, mut datagrams, mut bytes) = (Heard::default(), 0, vec![0; 1 << 16]);
            while heard.bodies.len() < 200 {
                let read = socket.recv(&mut bytes).expect("a datagram");
                decode(Protocol::Native, &bytes[..read], &mut heard).expect("it is whole");
                datagrams += 1;
            }
            (heard, datagrams)
        });
        let words = ["--to", &to, "--version", version, "--burst", "20/10", "--duration", "100ms"];
        let (report, code) = send(&words);
        let (heard, datagrams) = server.join().expect("it reads");
        assert_eq!((code, number(&report, "/sent"), heard.refused), (Some(0), 200, 0), "{report:#}");
        // Eleven frames of 120 bytes fit; a burst of twenty makes two datagrams, several that are late may make less.
        let expected = if version == "1" { 200..=200 } else { 19..=20 };
        assert!(expected.contains(&datagrams), "{datagrams} datagrams of version {version}");
    }
}

#[test]
fn a_server_that_stands_still_shows_in_the_latency_and_not_in_the_schedule() {
    let (listener, to) = tcp();
    let server = thread::spawn(move || {
        let connection = listener.accept().expect("a connection").0;
        thread::sleep(Duration::from_millis(400));
        read_all(connection)
    });
    // Ten times what the sockets hold, due within a tenth of a second.
    let words = ["--to", &to, "--rate", "10000", "--duration", "100ms", "--payload", "65000"];
    let (report, code) = send(&words);
    assert_eq!((code, server.join().expect("it reads").bodies.len()), (Some(0), 1_000));
    assert!(number(&report, "/latency_ns/p50") > 200_000_000, "{report:#}");
}

#[test]
fn nobody_there_is_told() {
    let (listener, to) = tcp();
    drop(listener);
    let output = sluice(&["send", "--to", &to, "--count", "5", "--give-up", "0s"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains(&to) && told.contains("is a server listening"), "{told}");
    assert!(text(&output.stdout).contains("5 not sent"), "{}", text(&output.stdout));
}

/// What a session server does wrong.
#[derive(Clone, Copy, Default)]
struct Faults {
    /// Connections that are dropped after so many events, the last few of them not acknowledged.
    drops: usize,
    /// Forget the last so many numbers at each drop.
    forgets: u64,
    /// Acknowledge nothing behind this number.
    silent_behind: Option<u64>,
    /// Answer every hello with this error.
    error: Option<CloseReason>,
}

/// What the server processed: the bodies of each producer, in order of their numbers from 1.
type Producers = Arc<Mutex<BTreeMap<u64, Vec<Vec<u8>>>>>;

/// A minimal server of acknowledged sessions, as docs/native-protocol.md has it.
struct Server {
    to: String,
    producers: Producers,
}

impl Server {
    fn start(faults: Faults) -> Server {
        let (listener, to) = tcp();
        let producers = Producers::default();
        let server = Server { to, producers: Arc::clone(&producers) };
        let drops = Arc::new(Mutex::new(faults.drops));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (producers, drops) = (Arc::clone(&producers), Arc::clone(&drops));
                let _: JoinHandle<()> = thread::spawn(move || serve(connection, faults, &producers, &drops));
            }
        });
        server
    }

    /// How many events of each producer were processed, once each.
    fn processed(&self) -> Vec<usize> {
        self.producers.lock().expect("nobody panicked").values().map(Vec::len).collect()
    }
}

fn serve(mut connection: TcpStream, faults: Faults, producers: &Producers, drops: &Mutex<usize>) {
    let (mut heard, mut kept, mut bytes) = (Heard::default(), Vec::new(), vec![0; 4_096]);
    let mut welcomed = None;
    let mut events = 0;
    loop {
        let Ok(read @ 1..) = connection.read(&mut bytes) else { return };
        kept.extend_from_slice(&bytes[..read]);
        let progress = decode_stream(Protocol::Native, &kept, 1 << 20, &mut heard);
        kept.drain(..progress.consumed);
        let Some((producer, _)) = heard.hello else { continue };
        let mut answer = Vec::new();
        if let Some(reason) = faults.error {
            let text = reason.name().as_bytes();
            encode_control(&native_v2::Control::Error { code: reason as u8, text }, producer, &mut answer);
            let _ = connection.write_all(&answer);
            return;
        }
        let mut all = producers.lock().expect("nobody panicked");
        let known = all.entry(producer).or_default();
        if welcomed.is_none() {
            welcomed = Some(known.len());
            let received = known.len() as u64;
            encode_control(
                &native_v2::Control::Welcome { received, durable: received },
                producer,
                &mut answer,
            );
        }
        for body in heard.bodies.drain(..) {
            let event = native_v2::read_event(&body).expect("an event");
            assert_eq!(
                (event.producer, event.sequence),
                (producer, known.len() as u64 + 1),
                "the next number"
            );
            known.push(body);
            events += 1;
        }
        let mut left = drops.lock().expect("nobody panicked");
        if *left > 0 && events > 500 {
            *left -= 1;
            known.truncate(known.len() - faults.forgets as usize);
            return;
        }
        let received = known.len() as u64;
        let received = faults.silent_behind.map_or(received, |last| received.min(last));
        encode_control(&native_v2::Control::Ack { received, durable: received }, producer, &mut answer);
        drop((left, all));
        if connection.write_all(&answer).is_err() || heard.goodbye {
            return;
        }
    }
}

#[test]
fn sessions_prove_every_event_across_lost_connections() {
    let server = Server::start(Faults { drops: 9, ..Faults::default() });
    let words =
        ["--to", &server.to, "--session", "--mix", "--producers", "3", "--count", "30000", "--window", "64"];
    let (report, code) = send(&words);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(server.processed(), [10_000; 3]);
    assert_eq!((number(&report, "/sent"), number(&report, "/acknowledged")), (30_000, 30_000));
    assert_eq!(number(&report, "/latency_ns/count"), 30_000);
    let of_all = |name: &str| {
        let producers = report["producers"].as_array().expect("a list").iter();
        producers.map(|producer| number(producer, name)).sum::<u64>()
    };
    assert_eq!(of_all("/connections"), 12);
    assert!(of_all("/window_full") > 0, "{report:#}");
}

#[test]
fn a_second_sender_goes_on_behind_the_first() {
    let server = Server::start(Faults::default());
    for first in [1, 101] {
        let words = ["--to", &server.to, "--session", "--durable", "--count", "100", "--producer-id", "7"];
        let (report, code) = send(&words);
        assert_eq!((code, number(&report, "/producers/0/first_sequence")), (Some(0), first), "{report:#}");
        assert_eq!(number(&report, "/acknowledged"), 100);
    }
    assert_eq!(server.processed(), [200]);
}

#[test]
fn a_server_that_forgets_what_it_acknowledged_is_caught() {
    let server = Server::start(Faults { drops: 1, forgets: 450, ..Faults::default() });
    let words = ["--to", &server.to, "--session", "--count", "5000", "--window", "16"];
    let output = sluice(&[&["send"], &words[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("what it promised is lost"), "{}", text(&output.stderr));
}

#[test]
fn what_is_not_acknowledged_is_named() {
    let server = Server::start(Faults { silent_behind: Some(40), ..Faults::default() });
    let words = ["--to", &server.to, "--session", "--count", "100", "--drain", "200ms"];
    let (report, code) = send(&words);
    assert_eq!((code, number(&report, "/acknowledged")), (Some(1), 40), "{report:#}");
    let gap = &report["producers"][0]["unacknowledged"];
    assert_eq!((number(gap, "/from"), number(gap, "/to")), (41, 100));
    assert_eq!(report["complete"], false);
}

#[test]
fn errors_that_would_come_again_end_the_producer() {
    for (reason, named) in
        [(CloseReason::NotOffered, "--durable"), (CloseReason::Superseded, "--producer-id")]
    {
        let server = Server::start(Faults { error: Some(reason), ..Faults::default() });
        let words = ["send", "--to", &server.to, "--session", "--durable", "--count", "5"];
        let output = sluice(&words);
        assert_eq!(output.status.code(), Some(1));
        let told = text(&output.stderr);
        assert!(told.contains(reason.name()) && told.contains(named), "{told}");
    }
}

#[test]
fn an_interrupted_sender_waits_for_what_is_under_way() {
    let server = Server::start(Faults::default());
    let child = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["send", "--json", "--session", "--rate", "2000", "--to", &server.to])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    while server.processed().first().is_none_or(|events| *events < 100) {
        thread::sleep(Duration::from_millis(5));
    }
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    let (report, code) = report_of(&child.wait_with_output().expect("it ends"));
    assert_eq!((code, &report["stopped"]), (Some(0), &Value::Bool(true)), "{report:#}");
    let sent = number(&report, "/sent");
    assert_eq!((number(&report, "/acknowledged"), server.processed()), (sent, vec![sent as usize]));
}
