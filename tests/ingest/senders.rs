//! EventStreamCore's senders, unchanged: each frame arrives once under its priority, however the bytes are cut.

use crate::client::run;
use crate::program::number;
use crate::server::{Config, by_priority, closed, counts, listener, named};
use serde_json::json;

/// Runs a sender against a listener of its own; nothing is lost.
fn all_arrive(way: &str, numbers: &[&str], connections: u64) {
    let config = Config::new(&listener("in", "tcp", "connections_max = 1024"));
    let server = config.start();
    let sent = run("senders.py", &[&[way, &server.at("in")], numbers].concat());
    let report = server.stop();
    assert_eq!(by_priority(&report, "in"), sent["sent"]);
    assert_eq!(number(&report, "/ledger/connections/bytes_taken"), number(&sent, "/bytes"));
    assert_eq!(number(&report, "/ledger/connections/opened"), connections);
    assert_eq!(counts(&report, "/ledger/connections/bytes_lost"), []);
    assert_eq!(counts(&report, "/ledger/messages/rejected"), []);
}

#[test]
fn a_frame_per_send_over_tcp() {
    all_arrive("tcp", &["5000"], 1);
}

#[test]
fn many_threads_at_once() {
    all_arrive("stress", &["16", "500"], 16);
}

#[test]
fn frames_cut_at_every_byte() {
    all_arrive("split", &["20"], 1);
}

#[test]
fn a_thousand_connections() {
    all_arrive("many", &["1000", "10"], 1_000);
}

#[test]
fn a_frame_per_datagram() {
    let config = Config::new(&listener("in", "udp", "receive_buffer_bytes = 4194304"));
    let server = config.start();
    let sent = run("senders.py", &["udp", &server.at("in"), "5000"]);
    let report = server.stop();
    let dropped = number(&report, "/ledger/connections/datagrams_dropped");
    assert_eq!(number(&report, "/ledger/frames/received") + dropped, 5_000);
    assert_eq!(number(&report, "/ledger/messages/accepted") + dropped, 5_000);
    if dropped == 0 {
        assert_eq!(by_priority(&report, "in"), sent["sent"]);
    }
    assert_eq!(counts(&report, "/ledger/frames/rejected"), []);
}

#[test]
fn both_versions_and_words_share_a_connection() {
    let config = Config::new(&listener("in", "tcp", ""));
    let server = config.start();
    run("session.py", &["unacknowledged", &server.at("in")]);
    let report = server.stop();
    // Numbers without a session are only information: none is a duplicate, none is missing.
    assert_eq!(by_priority(&report, "in"), json!({"4": 3, "2": 3}));
    assert_eq!(
        (number(&report, "/ledger/messages/duplicate"), closed(&report)),
        (0, named(&[("peer_closed", 1)]))
    );
}
