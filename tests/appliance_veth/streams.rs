//! What was sent is what was received: every frame, and the streams that a decode of the captures finds.

use crate::live::{IEX, ITCH, Lab, feeds, streams_of};
use crate::program::{capture, decoded, number, text, total, word};
use crate::rig::is_root;
use sluice::replay::synthetic::{iex_session, itch_session};
use std::path::PathBuf;

/// Slow enough for nothing to be lost on a machine that does other things, too.
const PACE: [&str; 2] = ["--pps", "20000"];

/// Everything of the captures that Ethernet carries; made-up ones where there are none.
fn captures(lab: &Lab) -> (Vec<PathBuf>, String) {
    let files = ["cme-mdp3-ab.pcapng", "iex-tops16.pcap.gz", "moldudp64-nasdaq-38msgs.pcap"];
    let files = files.into_iter().chain(["miax-tom-mach.pcap", "ice-impact.pcap"]);
    let real: Vec<PathBuf> = files.map_while(capture).collect();
    let real_feeds = feeds(&[
        ("cme", "cme-mdp3", &["224.0.31.64:14340", "224.0.32.64:15340"]),
        ("iex-tops", "iex-tp", &["224.67.0.199:16642"]),
        ("totalview", "moldudp64-itch50", &["233.54.12.111:26477"]),
        ("miax-tom", "miax-mach", &["224.0.105.2:51002"]),
        ("ice", "ice-impact", &["233.156.208.100:20100"]),
    ]);
    if real.is_empty() {
        let itch = lab.capture("itch.pcap", &itch_session(1, 20_000).packets);
        let iex = lab.capture("iex.pcap", &iex_session(2, 20_000).packets);
        return (vec![itch, iex], feeds(&[ITCH, IEX]));
    }
    (real, real_feeds)
}

#[test]
fn captures_arrive_whole() {
    if !is_root("captures_arrive_whole") {
        return;
    }
    let lab = Lab::new(1);
    let (files, feeds) = captures(&lab);
    let config = lab.config(&feeds);
    let mut running = lab.start(&config, &[]);
    let sent: u64 = files.iter().map(|file| lab.send(file, &PACE)).sum();
    running.wait_for_frames(sent);
    running.signal("TERM");
    let report = running.end();
    assert_eq!(lab.sent_by_the_kernel(), sent);
    assert_eq!(number(&report, "/ledger/kernel/xdp_seen"), sent);
    assert_eq!(number(&report, "/ledger/frames/received"), sent);
    assert_eq!(number(&report, "/ledger/frames/decoded"), sent);
    assert_eq!(number(&report, "/latency_ns/wire_to_receive/count"), sent, "every frame is stamped");
    let words: Vec<&str> = files.iter().map(|file| word(file)).chain(["--config", word(&config)]).collect();
    let decoded = decoded(&words);
    assert_eq!(number(&decoded, "/frames/decoded"), sent);
    assert_eq!(streams_of(&report), streams_of(&decoded));
}

#[test]
fn rewritten_frames_arrive_as_rewritten() {
    if !is_root("rewritten_frames_arrive_as_rewritten") {
        return;
    }
    let lab = Lab::new(1);
    let session = itch_session(3, 4_000);
    let file = lab.capture("itch.pcap", &session.packets);
    // All of it to one address and port: a third feed, on one line.
    let moved = ("moved", "moldudp64-itch50", &["233.99.0.7:4711"][..]);
    let mut running = lab.start(&lab.config(&feeds(&[ITCH, moved])), &[]);
    let tagged = lab.send(&file, &[&PACE[..], &["--vlan", "77", "--src-mac", "02:00:00:00:00:09"]].concat());
    let moved = ["--dst-ip", "233.99.0.7", "--dst-port", "4711", "--vlan", "strip"];
    let moved = lab.send(&file, &[&PACE[..], &moved].concat());
    running.wait_for_frames(tagged + moved);
    running.signal("TERM");
    let report = running.end();
    let streams = streams_of(&report);
    assert_eq!(streams.len(), 2);
    for stream in &streams {
        let counts = ["/accepted", "/duplicates", "/missing"].map(|key| number(stream, key));
        assert_eq!(counts, [4_000, 4_000, 0], "{stream:#}");
    }
    assert_eq!(number(&streams[0], "/lines/0/wins"), session.counts.lines[0].wins);
    assert_eq!(number(&streams[1], "/lines/0/wins"), 4_000);
}

#[test]
fn two_queues_on_two_shards() {
    if !is_root("two_queues_on_two_shards") {
        return;
    }
    let lab = Lab::new(2);
    let itch = lab.capture("itch.pcap", &itch_session(4, 4_000).packets);
    let iex = lab.capture("iex.pcap", &iex_session(5, 4_000).packets);
    let config = lab.config(&format!("ring_entries = 4096\n{}[threads]\nshards = 2\n", feeds(&[ITCH, IEX])));
    let topology = lab.at_rx(&["run", "--config", word(&config), "--print-topology"]);
    let told = text(&topology.stdout);
    assert_eq!(topology.status.code(), Some(0), "{}", text(&topology.stderr));
    for line in ["veth-rx queue 0: shard-0", "veth-rx queue 1: shard-1", "realtime", "batch"] {
        assert!(told.contains(line), "no '{line}' in {told}");
    }
    let mut running = lab.start(&config, &[]);
    let sent = lab.send(&itch, &[&PACE[..], &["--queue", "0"]].concat())
        + lab.send(&iex, &[&PACE[..], &["--queue", "1"]].concat());
    running.wait_for_frames(sent);
    running.signal("INT");
    let report = running.end();
    assert_eq!(number(&report, "/ledger/frames/decoded"), sent);
    let words = [word(&itch), word(&iex), "--config", word(&config)];
    assert_eq!(streams_of(&report), streams_of(&decoded(&words)));
}

#[test]
fn frames_of_no_feed_go_to_the_kernel_and_are_counted() {
    if !is_root("frames_of_no_feed_go_to_the_kernel_and_are_counted") {
        return;
    }
    let lab = Lab::new(1);
    let itch = lab.capture("itch.pcap", &itch_session(6, 2_000).packets);
    let iex = lab.capture("iex.pcap", &iex_session(7, 2_000).packets);
    let mut running = lab.start(&lab.config(&feeds(&[ITCH])), &[]);
    let foreign = lab.send(&iex, &PACE);
    let own = lab.send(&itch, &PACE);
    running.wait_for_frames(own);
    running.signal("TERM");
    let report = running.end();
    assert_eq!(number(&report, "/ledger/kernel/xdp_seen"), foreign + own);
    assert_eq!(number(&report, "/ledger/kernel/passed/no_rule"), foreign);
    assert_eq!(total(&report, "/ledger/kernel/passed"), foreign);
    assert_eq!(number(&report, "/ledger/frames/received"), own);
    assert_eq!(report["streams"].as_array().map(Vec::len), Some(1));
}
