//! Reports from outside: the keys of report.json are a contract, the summary names what does not balance, and
//! decode's other forms agree with it.

use serde_json::{Map, Value, json};
use sluice::event::{FrameReject, MessageReject, Protocol, ShedReason};
use sluice::feed::{NoticeLog, StreamStatus};
use sluice::ledger::{KernelBook, LatencyRecorder, Ledger, LineBook, QueueBook, StreamBook};
use sluice::report::{
    CaptureFacts, CaptureFile, DecodeReport, Exit, HotPath, Latencies, NamedLine, NamedStream, Report,
    ReportInput, Style, TcpFacts, summarize, summarize_decode, tab_separated, to_json, write_json,
    write_plot,
};
use sluice::source::capture::CaptureStats;
use std::time::Duration;

fn stream() -> NamedStream {
    let mut book = StreamBook {
        packets: 20,
        heartbeats: 2,
        messages: 18,
        accepted: 9,
        duplicates: 9,
        epochs: 1,
        gaps: 1,
        missing: 1,
        expected: 10,
        seen: 9,
        ..StreamBook::default()
    };
    (0..17).for_each(|_| book.by_type.add(u16::from(b'Q')));
    book.by_type.add(u16::from(b'T'));
    let mut late = LatencyRecorder::default();
    late.record(100);
    let line = |name: &str, wins, late| NamedLine {
        name: name.to_owned(),
        index: 0,
        book: LineBook { packets: 10, wins, duplicates: 9 - wins, missing: 1, ..LineBook::default() },
        late,
    };
    let lines = vec![line("A", 8, Some(late.percentiles())), line("B", 1, None)];
    NamedStream {
        protocol: Protocol::IexTp,
        name: "tops".to_owned(),
        session: "1150".to_owned(),
        status: StreamStatus::Stale,
        book,
        lines,
    }
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.frames.received = 21;
    ledger.frames.decoded = 20;
    ledger.frames.rejected[FrameReject::NotUdp as usize] = 1;
    ledger.messages.decoded = 20;
    ledger.messages.accepted = 9;
    ledger.messages.duplicate = 9;
    ledger.messages.heartbeat = 2;
    ledger.events.accepted = 9;
    ledger.events.delivered = 9;
    ledger.queues[0] = QueueBook { pushed: 9, popped: 9, given_up: 0, high_water: 4 };
    ledger
}

fn input() -> ReportInput {
    let mut latencies = Latencies::default();
    (1..=1_000).for_each(|n| latencies.wire_to_processed.record(n * 100));
    let mut further = Map::new();
    further.insert("memory".to_owned(), json!({ "resident_bytes": 7 }));
    ReportInput {
        ledger: ledger(),
        streams: vec![stream()],
        latencies,
        hot_path: HotPath { syscalls: Some(3), allocations: None, ..HotPath::default() },
        elapsed: Duration::from_millis(500),
        queue_capacities: Some([16, 32, 64]),
        machine: json!({ "cpus": 2 }),
        config_hash: "0123456789abcdef".to_owned(),
        recovery: Vec::new(),
        further,
        ..ReportInput::default()
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn the_keys_are_the_contract_in_its_order() {
    let text = to_json(&Report::new(input())).expect("writes");
    let report: Value = serde_json::from_str(&text).expect("reads");
    let top = [
        "ledger",
        "streams",
        "queues",
        "latency_ns",
        "hot_path",
        "elapsed_s",
        "events_per_s",
        "machine",
        "config_hash",
        "stream_table",
        "control",
        "routing",
        "memory",
    ];
    assert_eq!(keys(&report), top);
    let ledger = &report["ledger"];
    assert_eq!(keys(ledger)[..5], ["frames", "kernel", "messages", "events", "balanced"]);
    assert_eq!(keys(&ledger["frames"]), ["received", "datagrams", "decoded", "rejected"]);
    assert_eq!(keys(&ledger["messages"])[..2], ["decoded", "accepted"]);
    let stream = &report["streams"][0];
    let stream_keys = [
        "protocol",
        "name",
        "packets",
        "heartbeats",
        "messages",
        "duplicates",
        "epochs",
        "gaps",
        "missing",
        "by_type",
        "lines",
    ];
    assert_eq!(keys(stream)[..11], stream_keys);
    assert_eq!(keys(&stream["lines"][0])[..5], ["name", "packets", "wins", "only", "late_ns"]);
    assert_eq!(keys(&report["queues"]), ["realtime", "transactional", "batch"]);
    assert_eq!(keys(&report["queues"]["realtime"])[..3], ["pushed", "popped", "high_water"]);
    assert_eq!(keys(&report["latency_ns"]), ["wire_to_receive", "receive_to_processed", "wire_to_processed"]);
    let stage = &report["latency_ns"]["wire_to_processed"];
    assert_eq!(keys(stage), ["p50", "p90", "p99", "p999", "max", "count"]);
    assert_eq!(keys(&report["hot_path"]), ["syscalls", "allocations", "minor_faults", "voluntary_switches"]);
}

#[test]
fn the_values_are_those_of_the_books() {
    let report = serde_json::to_value(Report::new(input())).expect("writes");
    let ledger = &report["ledger"];
    assert_eq!(ledger["balanced"], true);
    assert_eq!(ledger["kernel"], json!({}));
    assert_eq!(ledger["frames"]["rejected"]["not_udp"], 1);
    assert_eq!(ledger["frames"]["rejected"].as_object().map(Map::len), Some(FrameReject::COUNT));
    assert_eq!(ledger["messages"]["rejected"].as_object().map(Map::len), Some(MessageReject::COUNT));
    assert_eq!(ledger["events"]["shed"].as_object().map(Map::len), Some(ShedReason::COUNT));
    let stream = &report["streams"][0];
    assert_eq!(stream["protocol"], "iex-tp");
    assert_eq!(stream["by_type"], json!({ "Q": 17, "T": 1 }));
    assert_eq!(stream["lines"][0]["late_ns"]["count"], 1);
    assert_eq!(stream["lines"][1]["late_ns"], Value::Null);
    assert_eq!(
        report["queues"]["realtime"],
        json!({ "pushed": 9, "popped": 9, "high_water": 4, "given_up": 0, "capacity": 16 })
    );
    assert_eq!(report["latency_ns"]["wire_to_processed"]["count"], 1_000);
    assert_eq!(report["latency_ns"]["wire_to_receive"]["count"], 0);
    assert_eq!(report["hot_path"]["syscalls"], 3);
    assert_eq!(report["hot_path"]["allocations"], Value::Null);
    assert_eq!(report["events_per_s"], 18.0);
}

#[test]
fn the_kernel_book_is_written_where_there_is_one() {
    let mut input = input();
    input.ledger.kernel = Some(KernelBook {
        xdp_seen: 30,
        redirected: 25,
        passed: vec![("not_udp", 5)],
        dropped: Vec::new(),
        received: 21,
        lost: vec![("rx_ring_full", 4)],
        notes: vec![("rx_fill_ring_empty", 9)],
    });
    let report = Report::new(input);
    let value = serde_json::to_value(&report).expect("writes");
    let kernel = &value["ledger"]["kernel"];
    assert_eq!(keys(kernel), ["xdp_seen", "redirected", "passed", "dropped", "received", "lost", "notes"]);
    assert_eq!(kernel["lost"]["rx_ring_full"], 4);
    assert_eq!(report.exit_code(), Exit::Done);
    let summary = summarize(&report, Style::PLAIN);
    assert!(summary.contains("rx_ring_full 4") && summary.contains("BALANCED: frames, kernel"), "{summary}");
}

#[test]
fn what_does_not_balance_is_named_and_fails() {
    let balanced = Report::new(input());
    assert_eq!(balanced.exit_code(), Exit::Done);
    let summary = summarize(&balanced, Style::PLAIN);
    assert!(summary.contains("BALANCED") && !summary.contains("DOES NOT BALANCE"), "{summary}");

    let mut lost_event = input();
    lost_event.ledger.events.delivered = 8;
    let report = Report::new(lost_event);
    assert_eq!(report.exit_code(), Exit::Unbalanced);
    let summary = summarize(&report, Style::PLAIN);
    assert!(summary.contains("DOES NOT BALANCE"), "{summary}");
    assert!(
        summary.contains(
            "events accepted = delivered + deduplicated + dead-lettered + shed + in flight: 9 against 8"
        ),
        "{summary}"
    );

    let mut lost_sequence = input();
    lost_sequence.streams[0].book.seen = 8;
    let report = Report::new(lost_sequence);
    assert_eq!(report.exit_code(), Exit::Unbalanced);
    let summary = summarize(&report, Style::PLAIN);
    assert!(summary.contains("stream iex-tp tops: expected = seen + missing: 10 against 9"), "{summary}");
}

#[test]
fn the_summary_has_the_facts_and_colours_only_on_request() {
    let report = Report::new(input());
    let plain = summarize(&report, Style::PLAIN);
    for fact in [
        "iex-tp",
        "tops",
        "1150",
        "Q 17",
        "high water",
        "wire to processed",
        "50.",
        "µs",
        "█",
        "not measured",
        "not_udp 1",
        "9 events in 500 ms (18 events/s), config 0123456789abcdef",
    ] {
        assert!(plain.contains(fact), "no '{fact}' in\n{plain}");
    }
    assert!(!plain.contains('\x1b'));
    let coloured = summarize(&report, Style { colour: true });
    assert!(coloured.contains("\x1b[1;32mBALANCED\x1b[0m"));
}

#[test]
fn names_from_the_wire_do_not_reach_the_terminal_raw() {
    let mut input = input();
    input.streams[0].session = "\x1b[2J\tx".to_owned();
    let report = Report::new(input);
    assert!(!summarize(&report, Style::PLAIN).contains('\x1b'));
    let rows = tab_separated(&report.streams);
    assert!(!rows.contains('\x1b'));
    let widths: Vec<usize> = rows.lines().map(|row| row.split('\t').count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{rows}");
}

#[test]
fn decode_reports_the_same_streams() {
    let ledger = ledger();
    let stats = CaptureStats {
        records: 1_200,
        truncated_tail: 1,
        backwards: 3,
        damaged: Some("at byte 7: a bad block\x07".to_owned()),
        ..CaptureStats::default()
    };
    let file = CaptureFile { file: "a.pcap".to_owned(), seconds: 2.5, stats };
    let capture = CaptureFacts { files: vec![file], tcp: TcpFacts { packets: 9, flows: 2 } };
    let decode = DecodeReport::new(vec![stream()], &ledger, None, capture, NoticeLog::default(), false);
    assert_eq!(decode.exit_code(), Exit::Done);
    let value = serde_json::to_value(&decode).expect("writes");
    assert_eq!(keys(&value)[..4], ["streams", "frames", "messages", "capture"]);
    let run = serde_json::to_value(Report::new(input())).expect("writes");
    assert_eq!(value["streams"], run["streams"]);
    assert_eq!(value["frames"], run["ledger"]["frames"]);
    let text = summarize_decode(&decode, Style::PLAIN);
    assert!(text.contains("BALANCED: frames, messages"), "{text}");
    for fact in [
        "a.pcap: 1,200 records over 2.50 s; 3 stamped earlier than the one before; cut off in its last record; \
         damaged: at byte 7: a bad block?\n",
        "9 packets in 2 conversations",
    ] {
        assert!(text.contains(fact), "no '{fact}' in\n{text}");
    }
    assert_eq!(value["capture"]["files"][0]["stats"]["records"], 1_200);

    let mut short = ledger;
    short.messages.stale = 1;
    let unequal =
        DecodeReport::new(vec![stream()], &short, None, CaptureFacts::default(), NoticeLog::default(), true);
    assert_eq!(unequal.exit_code(), Exit::Unbalanced);
    assert!(summarize_decode(&unequal, Style::PLAIN).contains("DOES NOT BALANCE"));
}

#[test]
fn tab_separated_has_a_row_per_stream_line_and_type() {
    let report = Report::new(input());
    let text = tab_separated(&report.streams);
    let rows: Vec<Vec<&str>> = text.lines().map(|row| row.split('\t').collect()).collect();
    let kinds: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(kinds, ["row", "stream", "line", "line", "type", "type"]);
    let column = |name: &str| rows[0].iter().position(|head| *head == name).expect("a column");
    assert_eq!(rows[1][column("messages")], "18");
    assert_eq!((rows[2][column("key")], rows[2][column("wins")]), ("A", "8"));
    assert_eq!((rows[2][column("late_p50_ns")], rows[3][column("late_p50_ns")]), ("100", "-"));
    assert_eq!((rows[4][column("key")], rows[4][column("messages")]), ("Q", "17"));
}

#[test]
fn reports_and_plots_reach_their_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = Report::new(input());
    let (json_path, plot_path) = (folder.path().join("report.json"), folder.path().join("latency.svg"));
    write_json(&json_path, &report).expect("writes");
    write_plot(&plot_path, &report).expect("draws");
    let text = std::fs::read_to_string(&json_path).expect("reads");
    assert_eq!(text, to_json(&report).expect("writes"));
    assert!(std::fs::read_to_string(&plot_path).expect("reads").contains("wire to processed"));
}
