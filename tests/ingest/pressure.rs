//! Connections that press on each other: a full queue makes its sender wait and no other, and a fast one starves none.

use crate::client::run;
use crate::program::number;
use crate::server::{Config, by_priority, counts, listener};
use serde_json::json;

/// A piece of the flood holds more frames than the batch queue has places, so that it has to wait.
const TINY: &str = "
[queues]
realtime_capacity = 64
transactional_capacity = 64
batch_capacity = 64

[report]
status_interval_s = 0
";

#[test]
fn a_full_queue_makes_its_sender_wait_and_nothing_is_lost() {
    let config = Config::new(&[&listener("in", "tcp", ""), TINY].concat());
    let server = config.start();
    let sent = run("pressure.py", &["blocked", &server.at("in"), "200000", "2000"]);
    let report = server.stop();
    assert_eq!(by_priority(&report, "in"), json!({"0": sent["batch"], "4": sent["realtime"]}));
    assert!(number(&report, "/ledger/connections/blocks") > 0);
    assert!(number(&report, "/ledger/connections/blocked_ns") > 0);
    assert!(number(&report, "/queues/batch/high_water") <= 64);
    assert_eq!(counts(&report, "/ledger/connections/bytes_lost"), []);
    assert_eq!(counts(&report, "/ledger/events/shed"), []);
}

#[test]
fn scarce_buffers_hold_nobody_up() {
    let network = "[network]\nbuffers = 8\nbuffer_bytes = 4096\n";
    let config = Config::new(&[&listener("in", "tcp", ""), network, TINY].concat());
    let server = config.start();
    let sent = run("pressure.py", &["blocked", &server.at("in"), "50000", "1000"]);
    let many = run("senders.py", &["many", &server.at("in"), "200", "10"]);
    let report = server.stop();
    let accepted = number(&sent, "/batch") + number(&sent, "/realtime") + 200 * 10;
    assert_eq!(number(&report, "/ledger/messages/accepted"), accepted, "{many}");
    assert_eq!(counts(&report, "/ledger/connections/bytes_lost"), []);
}

#[test]
fn fast_connections_starve_no_slow_one() {
    let config = Config::new(&listener("in", "tcp", ""));
    let server = config.start();
    // Each event of the slow one is acknowledged before it sends the next; the fast ones go on until it is done.
    let sent = run("pressure.py", &["fair", &server.at("in"), "100", "2"]);
    let report = server.stop();
    assert_eq!(sent["still_sending"], true, "{sent}");
    let meanwhile = sent["meanwhile"].as_array().expect("a list");
    assert!(meanwhile.iter().all(|bytes| bytes.as_u64() > Some(0)), "the fast ones go on, too: {sent}");
    assert_eq!(by_priority(&report, "in"), json!({"0": sent["fast"], "3": sent["slow"]}));
    assert_eq!(report["producers"][0]["count"], sent["slow"]);
}
