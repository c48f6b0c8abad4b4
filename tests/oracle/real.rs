//! The real captures.

use crate::program::{capture, decoded, number, word};
use crate::replay::replayed;
use serde_json::{Value, json};

/// What independent decoders found in a capture.
struct Oracle {
    file: &'static str,
    frames: u64,
    protocol: &'static str,
    packets: u64,
    heartbeats: u64,
    messages: u64,
    duplicates: u64,
    /// Ranges of missing numbers, and numbers from the first to the last.
    gaps: u64,
    expected: u64,
    by_type: Value,
    /// Lines with their packets and wins.
    lines: &'static [(&'static str, u64, u64)],
}

/// What holds of most captures, or nothing.
const PLAIN: Oracle = Oracle {
    file: "",
    frames: 0,
    protocol: "moldudp64-itch50",
    packets: 0,
    heartbeats: 0,
    messages: 0,
    duplicates: 0,
    gaps: 0,
    expected: 0,
    by_type: Value::Null,
    lines: &[],
};

fn cme() -> Oracle {
    Oracle {
        file: "cme-mdp3-ab.pcapng",
        frames: 10_000,
        protocol: "cme-mdp3",
        packets: 10_000,
        messages: 2 * 10_273,
        duplicates: 10_273,
        expected: 10_614 - 5_615 + 1,
        by_type: json!({ "12": 18, "32": 19_138, "35": 614, "37": 388, "42": 388 }),
        lines: &[("A", 5_000, 750), ("B", 5_000, 4_250)],
        ..PLAIN
    }
}

fn iex() -> Oracle {
    Oracle {
        file: "iex-tops16.pcap.gz",
        frames: 13_022,
        protocol: "iex-tp",
        packets: 13_022,
        heartbeats: 237,
        messages: 57_674,
        expected: 57_674,
        by_type: json!({
            "A": 642, "B": 3, "D": 10, "H": 7_803, "O": 7_801, "P": 7_802, "Q": 27_217, "S": 6, "T": 6_390,
        }),
        lines: &[("A", 13_022, 57_674)],
        ..PLAIN
    }
}

fn miax() -> Oracle {
    Oracle {
        file: "miax-tom-mach.pcap",
        frames: 20_560,
        protocol: "miax-mach",
        packets: 20_560,
        heartbeats: 60,
        messages: 50_892,
        expected: 24_415_367 - 24_364_476 + 1,
        by_type: json!({ "1": 60, "B": 25_905, "O": 24_912, "T": 15 }),
        lines: &[("A", 20_560, 50_892)],
        ..PLAIN
    }
}

fn ice() -> Oracle {
    Oracle {
        file: "ice-impact.pcap",
        frames: 8_680,
        protocol: "ice-impact",
        packets: 8_680,
        heartbeats: 2_334,
        messages: 31_893,
        expected: 31_893,
        by_type: json!({ "E": 11_738, "F": 6_160, "G": 290, "J": 279, "M": 2_510, "N": 6, "T": 10_910 }),
        lines: &[("A", 8_680, 31_893)],
        ..PLAIN
    }
}

fn mold() -> Oracle {
    Oracle {
        file: "moldudp64-nasdaq-38msgs.pcap",
        frames: 2,
        packets: 2,
        messages: 39,
        gaps: 1,
        // From number 14,764,496 (one D) to the last of the 38 from 19,009,117 on.
        expected: 4_244_659,
        by_type: json!({ "A": 36, "D": 1, "F": 2 }),
        lines: &[("A", 2, 39)],
        ..PLAIN
    }
}

fn artificial() -> Oracle {
    Oracle {
        file: "itch50-artificial.bin.gz",
        frames: 342,
        packets: 342,
        messages: 12_012,
        expected: 12_012,
        by_type: json!({
            "A": 4_997, "D": 1_745, "E": 198, "F": 3, "H": 3, "P": 5_000, "R": 3, "S": 6, "U": 12, "X": 45,
        }),
        lines: &[("A", 342, 12_012)],
        ..PLAIN
    }
}

fn head() -> Oracle {
    Oracle {
        file: "itch50-head1000.bin",
        frames: 31,
        packets: 31,
        messages: 1_000,
        expected: 1_000,
        by_type: json!({ "H": 3, "R": 993, "S": 1, "Y": 3 }),
        lines: &[("A", 31, 1_000)],
        ..PLAIN
    }
}

fn oracles() -> [Oracle; 7] {
    [cme(), iex(), miax(), ice(), mold(), artificial(), head()]
}

fn check(oracle: &Oracle, found: &Value) {
    let file = oracle.file;
    let frames = found.get("frames").unwrap_or(&found["ledger"]["frames"]);
    assert_eq!(
        (number(frames, "/received"), number(frames, "/decoded")),
        (oracle.frames, oracle.frames),
        "{file}"
    );
    let streams = found["streams"].as_array().expect("streams");
    assert_eq!(streams.len(), 1, "{file}");
    let stream = &streams[0];
    assert_eq!(stream["protocol"], oracle.protocol, "{file}");
    assert_eq!(stream["by_type"], oracle.by_type, "{file}");
    let accepted = oracle.messages - oracle.duplicates;
    let seen = oracle.lines.iter().map(|(_, _, wins)| wins).sum::<u64>();
    for (key, expected) in [
        ("packets", oracle.packets),
        ("heartbeats", oracle.heartbeats),
        ("messages", oracle.messages),
        ("duplicates", oracle.duplicates),
        ("accepted", accepted),
        ("stale", 0),
        ("rejected", 0),
        ("epochs", 1),
        ("gaps", oracle.gaps),
        ("expected", oracle.expected),
        ("seen", seen),
        ("missing", oracle.expected - seen),
    ] {
        assert_eq!(stream[key], expected, "{file}: {key}");
    }
    let lines = stream["lines"].as_array().expect("lines").iter();
    let lines: Vec<_> =
        lines.map(|l| (l["name"].clone(), number(l, "/packets"), number(l, "/wins"))).collect();
    let expected: Vec<_> =
        oracle.lines.iter().map(|(name, packets, wins)| (json!(name), *packets, *wins)).collect();
    assert_eq!(lines, expected, "{file}");
}

#[test]
fn every_capture_decodes_to_its_oracle_counts() {
    for oracle in oracles() {
        let Some(path) = capture(oracle.file) else { return };
        let found = decoded(&[word(&path)]);
        check(&oracle, &found);
        let stats = &found["capture"]["files"][0]["stats"];
        assert_eq!((number(stats, "/records"), number(stats, "/truncated_tail")), (oracle.frames, 0));
        assert!(stats["damaged"].is_null());
    }
}

#[test]
fn every_capture_replays_to_the_same_streams() {
    for oracle in oracles() {
        let Some(path) = capture(oracle.file) else { return };
        let report = replayed(&[word(&path)]);
        check(&oracle, &report);
        assert_eq!(report["streams"], decoded(&[word(&path)])["streams"], "{}", oracle.file);
    }
}

#[test]
fn cme_lines_are_judged_by_file_order_or_by_time() {
    let Some(path) = capture("cme-mdp3-ab.pcapng") else { return };
    let path = word(&path);
    // By the venue's groups: A is 224.0.31.64, B is 224.0.32.64.
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("cme.toml");
    let feed = "[[feed]]\nname = \"cme\"\nprotocol = \"cme-mdp3\"\nlines = [\n\
        { name = \"A\", destination = \"224.0.31.64:14340\" },\n{ name = \"B\", destination = \"224.0.32.64:15340\" },\n]\n";
    std::fs::write(&config, feed).expect("writes");
    let config = word(&config);
    let wins = |found: &Value| {
        let lines = found["streams"][0]["lines"].as_array().expect("lines").clone();
        lines
            .iter()
            .map(|l| (l["name"].as_str().expect("a name").to_owned(), number(l, "/wins")))
            .collect::<Vec<_>>()
    };
    let named = |a: u64, b: u64| vec![("A".to_owned(), a), ("B".to_owned(), b)];
    let in_file_order = decoded(&[path, "--config", config]);
    assert_eq!(wins(&in_file_order), named(750, 4_250));
    assert_eq!(number(&in_file_order, "/capture/files/0/stats/backwards"), 581);
    assert_eq!(wins(&replayed(&[path, "--config", config])), named(750, 4_250));
    let by_time = replayed(&[path, "--config", config, "--sort-window", "4096"]);
    assert_eq!(wins(&by_time), named(193, 4_807));
    assert_eq!(by_time["streams"][0]["duplicates"], 10_273);
}

#[test]
fn loops_are_epochs_and_not_duplicates() {
    for oracle in oracles().into_iter().filter(|oracle| oracle.frames > 2) {
        let Some(path) = capture(oracle.file) else { return };
        let report = replayed(&[word(&path), "--loop", "3"]);
        let stream = &report["streams"][0];
        for (key, expected) in [
            ("epochs", 3),
            ("messages", 3 * oracle.messages),
            ("duplicates", 3 * oracle.duplicates),
            ("expected", 3 * oracle.expected),
            ("missing", 0),
            ("stale", 0),
        ] {
            assert_eq!(stream[key], expected, "{}: {key}", oracle.file);
        }
    }
}

#[test]
fn a_part_by_time_and_a_small_memory_change_nothing_else() {
    let Some(path) = capture("iex-tops16.pcap.gz") else { return };
    let path = word(&path);
    let first = replayed(&[path, "--until", "100s"]);
    let rest = replayed(&[path, "--from", "100s"]);
    let frames = |report: &Value| number(report, "/ledger/frames/received");
    assert_eq!(frames(&first) + frames(&rest), 13_022);
    assert!(frames(&first) > 0 && frames(&rest) > 0);
    assert_eq!(number(&first, "/streams/0/accepted") + number(&rest, "/streams/0/accepted"), 57_674);
    // Two blocks of 4 MiB hold it or not: the counts are the same.
    let streamed = replayed(&[path, "--memory-cap", "1", "--loop", "4"]);
    assert_eq!(streamed["streams"][0]["accepted"], 4 * 57_674);
    assert_eq!(streamed["streams"][0]["epochs"], 4);
}

#[test]
fn several_captures_are_one_input() {
    let Some(iex) = capture("iex-tops16.pcap.gz") else { return };
    let (Some(ice), Some(miax)) = (capture("ice-impact.pcap"), capture("miax-tom-mach.pcap")) else { return };
    let files = [word(&iex), word(&ice), word(&miax)];
    let together = decoded(&files)["streams"].as_array().expect("streams").clone();
    let one_by_one: Vec<Value> = files.iter().map(|file| decoded(&[file])["streams"][0].clone()).collect();
    assert_eq!(together, one_by_one);
    assert_eq!(replayed(&files)["streams"], json!(together));
}
