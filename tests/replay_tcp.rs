//! `sluice replay --to tcp` against real receivers: each gets its flow's bytes, in order and once, whatever the capture
//! made of them, and the report's books balance.

#[path = "common/program.rs"]
mod program;

use etherparse::PacketBuilder;
use program::{capture, decoded, json_file, number, sluice, text, total, word};
use sluice::feed::FlowEnd;
use sluice::os::monotonic_now;
use sluice::replay::tcp::{TcpReport, TcpSender, TcpWishes, Unsent};
use sluice::source::capture::{CaptureOptions, CaptureReader, Speed};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Accepts connections until told to end, and does with each what the test wants.
struct Receiver {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Receiver {
    fn start(each: impl Fn(TcpStream) -> Vec<u8> + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        // Small, so that a receiver that does not read is noticed soon.
        socket2::SockRef::from(&listener).set_recv_buffer_size(65_536).expect("the kernel takes a size");
        let address = listener.local_addr().expect("it is bound");
        let ended = Arc::new(AtomicBool::new(false));
        let (each, seen) = (Arc::new(each), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let mut readers = Vec::new();
            loop {
                let (stream, _) = listener.accept().expect("it listens");
                if seen.load(Ordering::SeqCst) {
                    return readers
                        .into_iter()
                        .map(|reader: JoinHandle<_>| reader.join().expect("no panic"))
                        .collect();
                }
                let each = Arc::clone(&each);
                readers.push(std::thread::spawn(move || each(stream)));
            }
        });
        Receiver { address, ended, thread }
    }

    /// Reads each connection to its end.
    fn of_bytes() -> Receiver {
        Receiver::start(read_all)
    }

    /// What came over each connection, in the order in which they were made.
    fn end(self) -> Vec<Vec<u8>> {
        self.ended.store(true, Ordering::SeqCst);
        let _wake = TcpStream::connect(self.address).expect("it listens");
        self.thread.join().expect("no panic")
    }
}

fn read_all(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it ends in order");
    bytes
}

fn send(options: &CaptureOptions, wishes: TcpWishes) -> TcpReport {
    let mut sender = TcpSender::open(options, wishes, monotonic_now).expect("it opens");
    let mut told = 0;
    let report =
        sender.run(&AtomicBool::new(false), &mut |so_far| told = so_far.frames).expect("somebody accepts");
    assert!(report.is_balanced(), "{report:#?}");
    assert_eq!(told, report.taken, "the end is told");
    report
}

fn at(speed: Speed, path: &Path) -> CaptureOptions {
    CaptureOptions { speed, ..CaptureOptions::new(vec![path.to_owned()]) }
}

/// A payload and its sequence number.
type Numbered = (u32, Vec<u8>);

/// The payloads of a capture's flows by a reader of its own: sorted by sequence number, repeated bytes left out.
fn by_sorting(path: &Path) -> HashMap<(u16, u16), Vec<u8>> {
    let mut segments: HashMap<(u16, u16), Vec<Numbered>> = HashMap::new();
    let mut reader = CaptureReader::open(path).expect("it opens");
    while let Some(record) = reader.next_record().expect("it is read") {
        let sliced = etherparse::SlicedPacket::from_ethernet(record.bytes).expect("whole frames");
        if let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport
            && !tcp.payload().is_empty()
        {
            let flow = segments.entry((tcp.source_port(), tcp.destination_port())).or_default();
            flow.push((tcp.sequence_number(), tcp.payload().to_vec()));
        }
    }
    let joined = |mut flow: Vec<Numbered>| {
        flow.sort();
        let (first, mut bytes) = (flow[0].0, Vec::new());
        for (sequence, payload) in flow {
            let known = bytes.len() - (sequence - first) as usize;
            bytes.extend_from_slice(payload.get(known..).unwrap_or_default());
        }
        bytes
    };
    segments.into_iter().map(|(ports, flow)| (ports, joined(flow))).collect()
}

fn sorted(mut streams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    streams.sort();
    streams
}

fn fix_messages(stream: &[u8]) -> usize {
    stream.windows(5).filter(|window| window == b"8=FIX").count()
}

#[test]
fn a_real_capture_comes_out_flow_by_flow() {
    let Some(path) = capture("fix-tcp.pcap") else { return };
    let expected = by_sorting(&path);
    let bytes: usize = expected.values().map(Vec::len).sum();
    assert_eq!(number(&decoded(&[word(&path)]), "/capture/tcp/packets"), 1_261);
    for speed in [Speed::Max, Speed::Factor(200.0), Speed::Pps(20_000.0)] {
        let receiver = Receiver::of_bytes();
        let report = send(&at(speed, &path), TcpWishes::new(receiver.address));
        let streams = sorted(receiver.end());
        assert_eq!(streams, sorted(expected.values().cloned().collect()), "{speed}");
        assert_eq!(streams.iter().map(|stream| fix_messages(stream)).sum::<usize>(), 67);
        assert_eq!((report.taken, report.flows_total, report.connections), (1_261, 24, 24));
        assert_eq!((report.sent_bytes, report.missing_bytes), (bytes as u64, 0));
        assert!(
            report
                .flows
                .iter()
                .all(|flow| flow.bytes == flow.sent_bytes && flow.ended == FlowEnd::CaptureEnded)
        );
        let paced = if speed == Speed::Max { 0 } else { report.sent };
        assert_eq!(report.pacing.error.percentiles().count, paced, "{speed}");
    }
    // One direction only.
    let receiver = Receiver::of_bytes();
    let wishes = TcpWishes { flow_port: Some(4_000), ..TcpWishes::new(receiver.address) };
    let report = send(&at(Speed::Max, &path), wishes);
    let to_port = |((_, port), stream): (&(u16, u16), &Vec<u8>)| (*port == 4_000).then(|| stream.clone());
    assert_eq!(sorted(receiver.end()), sorted(expected.iter().filter_map(to_port).collect()));
    assert!(report.skipped.other_port > 0 && report.unsent_bytes.other_port > 0);
}

/// A capture put together frame by frame, 1 ms apart.
struct Made {
    _folder: tempfile::TempDir,
    path: PathBuf,
    file: Vec<u8>,
    frames: u32,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    syn: bool,
    fin: bool,
    rst: bool,
}

const PLAIN: Flags = Flags { syn: false, fin: false, rst: false };
const SYN: Flags = Flags { syn: true, ..PLAIN };
const FIN: Flags = Flags { fin: true, ..PLAIN };

impl Made {
    fn new() -> Made {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("made.pcap");
        let fields = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1];
        Made {
            _folder: folder,
            path,
            file: fields.iter().flat_map(|field| field.to_le_bytes()).collect(),
            frames: 0,
        }
    }

    fn frame(&mut self, frame: &[u8]) {
        let (seconds, ms) = (self.frames / 1_000, self.frames % 1_000);
        for field in [1 + seconds, ms * 1_000_000, frame.len() as u32, frame.len() as u32] {
            self.file.extend(field.to_le_bytes());
        }
        self.file.extend(frame);
        self.frames += 1;
    }

    fn segment(&mut self, port: u16, sequence: u32, flags: Flags, payload: &[u8]) {
        let mut builder = PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(port, 4_000, sequence, 1_024)
            .ack(1);
        builder = if flags.syn { builder.syn() } else { builder };
        builder = if flags.fin { builder.fin() } else { builder };
        builder = if flags.rst { builder.rst() } else { builder };
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).expect("a vector takes anything");
        frame.resize(frame.len().max(60), 0);
        self.frame(&frame);
    }

    fn write(&self) -> &Path {
        std::fs::write(&self.path, &self.file).expect("it can be written");
        &self.path
    }

    /// One flow of so many mebibytes per port, in segments of 1,000 bytes. Eight are more than the kernel takes for a
    /// receiver that does not read.
    fn bulk(ports: &[u16], mebibytes: u32) -> (Made, Vec<u8>) {
        let mut made = Made::new();
        let stream: Vec<u8> =
            (0..mebibytes << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for port in ports {
            made.segment(*port, 0, SYN, b"");
            for (index, part) in stream.chunks(1_000).enumerate() {
                made.segment(*port, 1 + 1_000 * index as u32, PLAIN, part);
            }
            made.segment(*port, 1 + stream.len() as u32, FIN, b"");
        }
        (made, stream)
    }
}

#[test]
fn a_troubled_capture_comes_out_whole_and_in_order() {
    let mut made = Made::new();
    let base = u32::MAX - 6;
    let place = |offset: u32| base.wrapping_add(1).wrapping_add(offset);
    made.segment(7, base, SYN, b"");
    made.segment(7, place(0), PLAIN, b"01234");
    made.segment(8, 500, PLAIN, b"begun before");
    made.segment(7, place(10), PLAIN, b"abc");
    made.segment(7, place(0), PLAIN, b"01234");
    made.segment(7, place(3), PLAIN, b"xx56789xbcdef");
    made.segment(7, place(5), PLAIN, b"");
    made.segment(8, 490, PLAIN, b"older");
    made.segment(7, place(18), FIN, b"kl");
    made.segment(7, place(16), PLAIN, b"ij");
    made.segment(8, 515, PLAIN, b"behind a hole");
    made.segment(7, place(20), PLAIN, b"late");
    made.segment(7, 77, SYN, b"");
    made.segment(7, 78, FIN, b"another");
    made.segment(8, 528, Flags { rst: true, ..PLAIN }, b"");
    let mut udp = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1, 2)
        .write(&mut udp, b"no stream")
        .expect("a vector takes anything");
    made.frame(&udp);
    let path = made.write();
    for speed in [Speed::Max, Speed::Original] {
        let receiver = Receiver::of_bytes();
        let report = send(&at(speed, path), TcpWishes::new(receiver.address));
        let streams: Vec<String> = receiver.end().iter().map(|stream| text(stream)).collect();
        assert_eq!(streams, ["0123456789abcdefijkl", "begun beforebehind a hole", "another"], "{speed}");
        let skipped = report.skipped;
        assert_eq!((report.taken, report.sent, skipped.total()), (16, 8, 8), "{report:#?}");
        assert_eq!((skipped.not_tcp, skipped.no_payload, skipped.duplicate), (1, 4, 1));
        assert_eq!((skipped.before_start, skipped.after_end), (1, 1));
        let unsent = report.unsent_bytes;
        assert_eq!((unsent.duplicate, unsent.before_start, unsent.discarded), (5 + 2 + 3, 5, 4));
        assert_eq!((report.missing_bytes, report.flows_total, report.connections), (3, 3, 3));
        let ends: Vec<FlowEnd> = report.flows.iter().map(|flow| flow.ended).collect();
        assert_eq!(ends, [FlowEnd::Finished, FlowEnd::Finished, FlowEnd::Reset]);
        assert_eq!(report.flows[2].missing_bytes, 3);
    }
    // Each loop has connections of its own.
    let receiver = Receiver::of_bytes();
    let report = send(&CaptureOptions { loops: 3, ..at(Speed::Max, path) }, TcpWishes::new(receiver.address));
    assert_eq!((receiver.end().len(), report.connections, report.taken), (9, 9, 48));
}

#[test]
fn a_slow_receiver_delays_and_loses_nothing() {
    let (made, stream) = Made::bulk(&[1, 2], 8);
    let receiver = Receiver::start(|stream| {
        std::thread::sleep(Duration::from_millis(100));
        read_all(stream)
    });
    let report = send(&at(Speed::Pps(1e9), made.write()), TcpWishes::new(receiver.address));
    assert!(receiver.end() == vec![stream; 2], "all came");
    assert!(report.waits > 0 && report.blocked_ns > 0);
    assert!(report.pacing.error.percentiles().max >= 50_000_000, "the delay shows");
}

#[test]
fn receivers_that_answer_block_nobody() {
    let (made, stream) = Made::bulk(&[1, 2], 8);
    let receiver = Receiver::start(|mut stream| {
        let (mut bytes, mut piece) = (Vec::new(), [0; 4_096]);
        loop {
            match stream.read(&mut piece).expect("it ends in order") {
                0 => return bytes,
                read => {
                    bytes.extend(&piece[..read]);
                    stream.write_all(&piece[..read]).expect("the answer is taken");
                }
            }
        }
    });
    let report = send(&at(Speed::Max, made.write()), TcpWishes::new(receiver.address));
    assert!(receiver.end() == vec![stream; 2], "all came");
    assert_eq!((report.answered_bytes, report.connections_unanswered), (16 << 20, 0));
}

#[test]
fn a_receiver_that_goes_away_is_named() {
    let (made, _) = Made::bulk(&[1, 2], 8);
    let path = made.write();
    let hang_up = |mut stream: TcpStream| {
        let mut first = vec![0; 1_000];
        stream.read_exact(&mut first).expect("the first bytes come");
        first
    };
    let receiver = Receiver::start(hang_up);
    let report = send(&at(Speed::Max, path), TcpWishes::new(receiver.address));
    assert_eq!((receiver.end().len(), report.connections_lost), (2, 2));
    assert!(report.unsent_bytes.peer_closed > 0 && report.skipped.peer_closed > 0);
    assert!(
        report
            .flows
            .iter()
            .all(|flow| flow.unsent == Some(Unsent::PeerClosed) && flow.bytes > flow.sent_bytes)
    );

    let receiver = Receiver::start(hang_up);
    let to = format!("tcp:{}", receiver.address);
    let output = sluice(&["replay", word(path), "--to", &to, "--speed", "max"]);
    receiver.end();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("closed 2 connections"), "{}", text(&output.stderr));
}

#[test]
fn a_reset_behind_the_end_is_no_success() {
    let mut made = Made::new();
    made.segment(1, 0, FIN, b"never read");
    let receiver = Receiver::start(|stream| {
        // Bytes that nobody has read make a reset of the close.
        stream.peek(&mut [0]).expect("something came");
        Vec::new()
    });
    let report = send(&at(Speed::Max, made.write()), TcpWishes::new(receiver.address));
    receiver.end();
    assert_eq!((report.sent_bytes, report.connections_lost), (10, 1));
}

#[test]
fn flows_beyond_the_limit_are_refused_by_name() {
    let mut made = Made::new();
    for port in 1..=3 {
        made.segment(port, 0, PLAIN, b"first");
    }
    made.segment(1, 5, FIN, b"second");
    made.segment(3, 5, PLAIN, b"second");
    made.segment(4, 5, PLAIN, b"fourth");
    let receiver = Receiver::of_bytes();
    let wishes = TcpWishes { connections_max: 2, ..TcpWishes::new(receiver.address) };
    let report = send(&at(Speed::Max, made.write()), wishes);
    let streams: Vec<String> = receiver.end().iter().map(|stream| text(stream)).collect();
    // The third flow has no connection, and gets none in its middle either.
    assert_eq!(streams, ["firstsecond", "first", "fourth"]);
    assert_eq!((report.connections_refused, report.connections_high_water), (1, 2));
    assert_eq!((report.skipped.connection_limit, report.unsent_bytes.connection_limit), (2, 11));
}

#[test]
fn a_stop_ends_it_with_balanced_books() {
    let (made, _) = Made::bulk(&[1], 1);
    let receiver = Receiver::of_bytes();
    let options = at(Speed::Original, made.write());
    let mut sender =
        TcpSender::open(&options, TcpWishes::new(receiver.address), monotonic_now).expect("it opens");
    let stop = AtomicBool::new(false);
    let report = sender.run(&stop, &mut |_| stop.store(true, Ordering::Relaxed)).expect("somebody accepts");
    assert!(report.stopped && report.is_balanced() && report.sent < 1_000, "{report:#?}");
    assert_eq!(receiver.end()[0].len() as u64, report.sent_bytes);
}

#[test]
fn the_program_reports_and_names_who_is_missing() {
    let (made, stream) = Made::bulk(&[1], 1);
    let path = made.write();
    let receiver = Receiver::of_bytes();
    let to = format!("tcp:{}", receiver.address);
    let file = path.with_extension("json");
    let words =
        ["replay", word(path), "--to", &to, "--speed", "max", "--report", word(&file), "--flow-port", "4000"];
    let output = sluice(&words);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout)
            .starts_with("sent 1049 segments, 1048576 bytes over 1 connections to 127.0.0.1:")
    );
    assert_eq!(receiver.end(), [stream]);
    let report = json_file(&file);
    assert_eq!(report.pointer("/ledger/balanced"), Some(&serde_json::Value::Bool(true)));
    let frames = number(&report, "/ledger/frames/sent") + total(&report, "/ledger/frames/rejected");
    assert_eq!((frames, number(&report, "/ledger/frames/received")), (1_051, 1_051));
    assert_eq!(number(&report, "/ledger/payload_bytes/sent"), 1 << 20);
    assert_eq!(number(&report, "/flows/told/0/sent_bytes"), 1 << 20);

    // The port was just free, and nobody listens on it now.
    let output = sluice(&words);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains(&to[4..]) && message.contains("sluice run"), "{message}");
}
