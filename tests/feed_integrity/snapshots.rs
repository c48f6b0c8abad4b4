//! A stream that has lost something is stale until a whole loop of snapshots covers the loss.

use crate::program::{decoded, number, word};
use crate::venues::cme;
use serde_json::Value;
use sluice::replay::synthetic::{Packet, pcap_bytes};
use std::net::{Ipv4Addr, SocketAddrV4};

const BEGIN_NS: u64 = 1_700_000_000_000_000_000;
const MS: u64 = 1_000_000;

const CONFIG: &str = "
[[feed]]
name = 'live'
protocol = 'cme-mdp3'
lines = [{ name = 'A', destination = '224.0.31.1:14310' }]

[[feed]]
name = 'snapshots'
protocol = 'cme-mdp3'
snapshot_of = 'live'
lines = [{ name = 'A', destination = '224.0.31.43:14310' }]
";

fn live(at_ms: u64, sequence: u64) -> Packet {
    let time_ns = BEGIN_NS + at_ms * MS;
    let destination = SocketAddrV4::new(Ipv4Addr::new(224, 0, 31, 1), 14_310);
    Packet { time_ns, destination, payload: cme(time_ns, sequence, &[sequence], false) }
}

/// A snapshot of one of three instruments (template 52, a root block of 59 bytes and an empty group) that covers what
/// the live stream sent up to `through`.
fn snapshot(at_ms: u64, sequence: u32, through: u32) -> Packet {
    let time_ns = BEGIN_NS + at_ms * MS;
    let mut block = [through.to_le_bytes(), 3u32.to_le_bytes()].concat();
    block.resize(59, 0);
    let mut payload = [&sequence.to_le_bytes()[..], &time_ns.to_le_bytes()].concat();
    payload.extend((2 + 8 + 59 + 3u16).to_le_bytes());
    payload.extend([59u16, 52, 1, 9].map(u16::to_le_bytes).concat());
    payload.extend(block);
    payload.extend([32, 0, 0]);
    let destination = SocketAddrV4::new(Ipv4Addr::new(224, 0, 31, 43), 14_310);
    Packet { time_ns, destination, payload }
}

/// What is found when the live stream loses 103 and 104, and these snapshots come then.
fn found(snapshots: &[(u32, u32)]) -> Value {
    let mut packets: Vec<Packet> =
        [101, 102, 105, 106].into_iter().zip(1..).map(|(number, at)| live(at, number)).collect();
    packets
        .extend(snapshots.iter().zip(100..).map(|((number, through), at)| snapshot(at, *number, *through)));
    packets.push(live(500, 107));
    let folder = tempfile::tempdir().expect("a folder");
    let (capture, config) = (folder.path().join("a.pcap"), folder.path().join("a.toml"));
    std::fs::write(&capture, pcap_bytes(&packets)).expect("writes");
    std::fs::write(&config, CONFIG).expect("writes");
    decoded(&[word(&capture), "--config", word(&config), "--explain-gaps"])
}

fn live_status(found: &Value) -> &Value {
    let streams = found["streams"].as_array().expect("streams");
    &streams.iter().find(|stream| stream["name"] == "live").expect("the live one")["status"]
}

#[test]
fn a_loop_of_snapshots_makes_a_stale_stream_fresh() {
    // Two of before the loss, then a whole loop.
    let found = found(&[(11, 102), (12, 103), (13, 106), (14, 104), (15, 106)]);
    assert_eq!(live_status(&found), "synchronized", "{found:#}");
    assert_eq!(number(&found, "/control/topics/feed.stream.stale"), 1);
    assert_eq!(number(&found, "/control/topics/feed.stream.fresh"), 1);
    assert_eq!(found["gaps"].as_array().map(Vec::len), Some(1));
    assert_eq!((&found["gaps"][0]["first"], &found["gaps"][0]["last"]), (&103.into(), &104.into()));
}

#[test]
fn part_of_a_loop_or_one_with_a_gap_does_not() {
    for snapshots in [
        &[(11, 106), (12, 106)][..],
        &[(11, 106), (12, 106), (14, 106), (15, 106)],
        &[(11, 106), (12, 103), (13, 106), (14, 106)],
    ] {
        let found = found(snapshots);
        assert_eq!(live_status(&found), "stale", "{snapshots:?}");
        assert!(found["control"]["topics"]["feed.stream.fresh"].is_null());
    }
}
