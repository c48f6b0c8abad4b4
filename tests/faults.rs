//! `sluice replay` with faults: the same seed gives the same run, what both lines lost is what is missing, and wrong
//! options are named.

use program::{capture, json_file, number, sluice, text, word};
use serde_json::Value;
use sluice::source::capture::{CaptureOptions, CaptureSource, FaultPlan, PerLine};
use sluice::source::{Budget, Frame, FrameSource};
use std::collections::{BTreeMap, BTreeSet};

#[path = "common/program.rs"]
#[expect(dead_code, reason = "these tests need a part of it")]
mod program;

fn cme() -> Option<String> {
    Some(word(&capture("cme-mdp3-ab.pcapng")?).to_owned())
}

/// Report and summary of a replay with these words, which ends well.
fn replayed(words: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let report = path.to_str().expect("a plain path");
    let output = sluice(&[&["replay", "--report", report], words].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    (json_file(&path), text(&output.stdout))
}

fn line<'a>(report: &'a Value, name: &str) -> &'a Value {
    let lines = report["faults"]["lines"].as_array().expect("lines");
    lines.iter().find(|line| line["name"] == name).expect("the line came")
}

/// What is handed over with this loss on both lines: sequence numbers by port, and the messages of each packet.
fn handed_over(path: &str, loss: f64, seed: u64) -> (BTreeMap<u16, BTreeSet<u32>>, BTreeMap<u32, u64>) {
    let loss = PerLine { all: Some(loss), lines: Vec::new() };
    let faults = Some(FaultPlan { seed, loss, ..FaultPlan::default() });
    let options = CaptureOptions { faults, ..CaptureOptions::new(vec![path.into()]) };
    let mut source = CaptureSource::open(&options).expect("it opens");
    let (mut numbers, mut messages) = (BTreeMap::<u16, BTreeSet<u32>>::new(), BTreeMap::new());
    while !source.exhausted() {
        source.poll(1, Budget { frames: 256, bytes: usize::MAX }, &mut |frame: Frame<'_>| {
            let packet = etherparse::SlicedPacket::from_ethernet(frame.bytes).expect("a whole frame");
            let Some(etherparse::TransportSlice::Udp(udp)) = packet.transport else { return };
            let payload = udp.payload();
            let number = u32::from_le_bytes(*payload.first_chunk().expect("a packet header"));
            assert!(numbers.entry(udp.destination_port()).or_default().insert(number), "twice on a line");
            // Behind the packet header of 12 bytes, each message begins with its size.
            let (mut at, mut found) = (12, 0);
            while let Some(size) = payload.get(at..at + 2) {
                at += usize::from(u16::from_le_bytes([size[0], size[1]])).max(2);
                found += 1;
            }
            messages.insert(number, found);
        });
    }
    (numbers, messages)
}

#[test]
fn what_both_lines_lost_is_exactly_what_is_missing() {
    let Some(path) = cme() else { return };
    for seed in [1, 2, 3] {
        let (numbers, messages) = handed_over(&path, 0.01, seed);
        let (report, summary) = replayed(&[&path, "--loss", "1%", "--seed", &seed.to_string()]);
        assert!(summary.contains(&format!("--seed {seed}")), "{summary}");
        assert_eq!(report["ledger"]["balanced"], true);
        let both = 5_000 - messages.len() as u64;
        assert_eq!(number(&report, "/ledger/messages/accepted"), messages.values().sum::<u64>());
        let lines: Vec<u64> = numbers.values().map(|line| line.len() as u64).collect();
        assert_eq!(lines.len(), 2);
        for (name, delivered) in ["A", "B"].iter().zip(&lines) {
            let line = line(&report, name);
            assert_eq!((number(line, "/seen"), number(line, "/delivered")), (5_000, *delivered));
            assert_eq!(number(line, "/lost"), 5_000 - delivered);
        }
        assert_eq!(number(&report, "/ledger/frames/received"), lines.iter().sum::<u64>());
        // Holes at either end of the capture can't be seen by sequence; these seeds lose none there.
        let (first, last) = (messages.keys().next(), messages.keys().next_back());
        assert_eq!(last.expect("one") - first.expect("one") + 1, 5_000, "seed {seed}");
        let streams = report["streams"].as_array().expect("streams");
        let missing: u64 = streams.iter().map(|stream| number(stream, "/missing")).sum();
        assert_eq!(missing, both, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let Some(path) = cme() else { return };
    let words = [
        &path,
        "--loss",
        "2%",
        "--loss-burst",
        "B=4",
        "--duplicate",
        "0.01",
        "--reorder",
        "1%",
        "--delay",
        "B=50us",
        "--corrupt",
        "0.1%",
        "--dead",
        "A=1s..2s",
        "--loop",
        "2",
        "--seed",
    ];
    let run = |seed: &str| replayed(&[&words[..], &[seed]].concat()).0;
    let (one, two, other) = (run("9"), run("9"), run("10"));
    for key in ["streams", "faults"] {
        assert_eq!(one[key], two[key]);
        assert_ne!(one[key], other[key]);
    }
    assert_eq!(one["ledger"]["frames"], two["ledger"]["frames"]);
    assert_eq!(one["ledger"]["messages"], two["ledger"]["messages"]);
    assert_eq!(one["ledger"]["balanced"], true);
    let delivered = |name| number(line(&one, name), "/delivered");
    assert_eq!(number(&one, "/ledger/frames/received"), delivered("A") + delivered("B"));
    for name in ["A", "B"] {
        let line = line(&one, name);
        let n = |key: &str| line[key].as_u64().expect("a count");
        assert_eq!(n("seen"), 10_000);
        assert_eq!(n("seen") + n("duplicated"), n("delivered") + n("lost") + n("dead"));
        assert!(n("lost") > 0 && n("duplicated") > 0 && n("reordered") > 0 && n("corrupted") > 0);
        assert_eq!(n("delayed") > 0, name == "B");
    }
}

#[test]
fn a_dead_line_is_made_up_for_by_the_other() {
    let Some(path) = cme() else { return };
    let (report, summary) = replayed(&[&path, "--dead", "B=0s..", "--delay", "A=1ms"]);
    assert_eq!(number(&report, "/ledger/messages/accepted"), 10_273);
    assert_eq!(number(line(&report, "B"), "/dead"), 5_000);
    assert_eq!(number(line(&report, "A"), "/delayed"), 5_000);
    assert!(summary.contains("5000 lost while dead"), "{summary}");
}

#[test]
fn the_sender_has_the_same_faults() {
    let Some(path) = cme() else { return };
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = format!("udp:{}", receiver.local_addr().expect("an address"));
    let faults = ["--loss", "B=10%", "--duplicate", "A=10%", "--seed", "5"];
    let (inline, _) = replayed(&[&[&path[..]], &faults[..]].concat());
    let (sent, summary) = replayed(&[&[&path, "--to", &to, "--speed", "max"], &faults[..]].concat());
    assert_eq!(inline["faults"], sent["faults"]);
    let delivered = number(line(&sent, "A"), "/delivered") + number(line(&sent, "B"), "/delivered");
    assert_eq!(number(&sent, "/ledger/frames/received"), delivered);
    assert!(summary.contains("faults with --seed 5\n  line "), "{summary}");
}

#[test]
fn lines_of_a_config_go_by_their_names() {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/config/lab-veth.toml");
    for (words, named) in [
        (
            ["--loss", "A=1%"],
            "--loss names line 'A', which several feeds have: write one of cme/A, iex-tops/A",
        ),
        (
            ["--dead", "C=1s..2s"],
            "--dead names line 'C', which is not configured: there are cme/A, cme/B, iex-tops/A",
        ),
    ] {
        for to in ["inline", "udp:127.0.0.1:9"] {
            let output =
                sluice(&[&["replay", "a.pcap", "--config", config, "--to", to], &words[..]].concat());
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{message}");
            assert!(message.contains(named), "no '{named}' in {message}");
        }
    }
    let Some(path) = cme() else { return };
    let (report, _) = replayed(&[&path, "--config", config, "--dead", "B=0..", "--loss", "cme/A=1%"]);
    let lines = report["faults"]["lines"].as_array().expect("lines");
    let names: BTreeSet<_> = lines.iter().map(|line| line["name"].as_str().expect("a name")).collect();
    assert_eq!(names, BTreeSet::from(["B", "cme/A"]));
    assert_eq!(number(line(&report, "B"), "/dead"), 5_000);
    assert!((10..200).contains(&number(line(&report, "cme/A"), "/lost")));
}

#[test]
fn wrong_options_exit_with_2_and_absent_lines_with_1() {
    for (words, named) in [
        (&["--loss", "2"][..], "0.01"),
        (&["--loss=-1%"], "0.01"),
        (&["--loss", "NaN"], "0.01"),
        (&["--loss", "=1%"], "before '='"),
        (&["--loss", "Z=1%"], "letter from A to H"),
        (&["--loss", "1%", "--loss", "2%"], "given twice for all lines"),
        (&["--loss", "A=1%", "--loss", "A=2%"], "given twice for line A"),
        (&["--loss", "90%", "--loss-burst", "2"], "--loss-burst 9.00"),
        (&["--loss-burst", "2"], "--loss-burst"),
        (&["--loss-burst", "0.5", "--loss", "1%"], "--loss-burst"),
        (&["--delay", "1.5"], "1.5us"),
        (&["--delay", "B=1parsec"], "parsec"),
        (&["--dead", "B=20s..10s"], "ends before it begins"),
        (&["--dead", "B=20s"], "FROM..UNTIL"),
        (&["--seed", "3"], "--seed"),
        (&["--to", "tcp:127.0.0.1:9", "--corrupt", "1%"], "--corrupt"),
        (&["--to", "soup:127.0.0.1:9", "--reorder", "1%"], "--reorder"),
    ] {
        let output = sluice(&[&["replay", "a.pcap"], words].concat());
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {message}");
        assert!(message.contains(named), "{words:?}: no '{named}' in {message}");
    }
    let Some(path) = cme() else { return };
    let output = sluice(&["replay", &path, "--loss", "C=1%", "--dead", "1.2.3.4:5=1s..2s"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("no packet came: C, 1.2.3.4:5; the captures have these: "), "{message}");
}

/// Replays captures with every packet damaged, some late, some twice.
fn survives_damage(names: &[&str]) {
    for name in names {
        let Some(path) = capture(name) else { return };
        let (report, _) =
            replayed(&[word(&path), "--corrupt", "100%", "--reorder", "20%", "--duplicate", "20%"]);
        assert_eq!(report["ledger"]["balanced"], true, "{name}");
        let lines = report["faults"]["lines"].as_array().expect("lines");
        let sum = |key: &str| lines.iter().map(|line| line[key].as_u64().expect("a count")).sum::<u64>();
        // A heartbeat's payload may be empty only in protocols that none of these captures is of.
        assert_eq!(sum("corrupted"), sum("seen"), "{name}");
        let others = number(&report, "/faults/other_frames");
        assert_eq!(number(&report, "/ledger/frames/received"), sum("delivered") + others, "{name}");
    }
}

#[test]
fn damage_to_every_packet_is_survived() {
    survives_damage(&["cme-mdp3-ab.pcapng", "itch50-head1000.bin"]);
}

#[test]
fn damage_to_sequence_numbers_is_survived() {
    survives_damage(&["ice-impact.pcap", "iex-tops16.pcap.gz", "miax-tom-mach.pcap"]);
}
