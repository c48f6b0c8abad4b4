//! A stop drains: what senders had handed to the kernel is processed, whoever is still there.

use crate::client::{Client, run};
use crate::program::number;
use crate::server::{Config, Server, by_priority, counts, listener, named};
use serde_json::Value;

#[test]
fn a_stop_right_behind_a_burst_takes_all_of_it() {
    let config = Config::new(&listener("in", "tcp", ""));
    let server = config.start();
    // One of its connections never says anything, half of the others are gone already.
    let mut client = Client::start("senders.py", &["burst", &server.at("in"), "200", "50"]);
    let sent = client.hear();
    let report = server.stop();
    assert_eq!(by_priority(&report, "in"), sent["sent"]);
    assert_eq!(number(&report, "/ledger/connections/bytes_taken"), number(&sent, "/bytes"));
    assert_eq!(number(&report, "/ledger/connections/opened"), 201);
}

#[test]
fn connections_that_only_the_kernel_has_seen_are_taken() {
    let config = Config::new(&listener("in", "tcp", ""));
    let server = config.start();
    server.signal("STOP");
    let mut client = Client::start("senders.py", &["burst", &server.at("in"), "100", "20"]);
    let sent = client.hear();
    server.signal("TERM");
    server.signal("CONT");
    let report = server.stopped();
    assert_eq!(by_priority(&report, "in"), sent["sent"]);
    assert_eq!(number(&report, "/ledger/connections/opened"), 101);
}

#[test]
fn datagrams_that_only_the_kernel_has_seen_are_taken() {
    let config = Config::new(&listener("in", "udp", "receive_buffer_bytes = 4194304"));
    let server = config.start();
    server.signal("STOP");
    run("senders.py", &["udp", &server.at("in"), "500"]);
    server.signal("TERM");
    server.signal("CONT");
    let report = server.stopped();
    let dropped = number(&report, "/ledger/connections/datagrams_dropped");
    assert_eq!(number(&report, "/ledger/messages/accepted") + dropped, 500);
}

/// Stops a server in the middle of a flood.
fn stop_in_a_flood(source: &str) -> Value {
    let config = Config::new(&listener("in", source, ""));
    let server: Server<'_> = config.start();
    let mut client = Client::start("senders.py", &["flat_out", &server.at("in")]);
    client.hear();
    let report = server.stop();
    assert_eq!(client.hear()["closed"], true, "the sender learns that nobody is there");
    report
}

#[test]
fn a_sender_that_never_ends_does_not_hold_up_a_stop() {
    for source in ["tcp", "unix"] {
        let report = stop_in_a_flood(source);
        assert_eq!(number(&report, "/ledger/connections/bytes_held"), 0);
        // At most the frame that the stop cut in two is lost.
        let lost = counts(&report, "/ledger/connections/bytes_lost");
        assert!(lost.iter().all(|(_, bytes)| *bytes < 108), "{lost:?}");
        assert!(number(&by_priority(&report, "in"), "/0") >= 1_000);
    }
}

#[test]
fn sessions_survive_a_stop() {
    let tables = [&listener("in", "tcp", ""), "[network]\nproducers_file = 'FOLDER/producers'\n"].concat();
    let config = Config::new(&tables);
    let server = config.start();
    run("session.py", &["again", &server.at("in")]);
    let before = server.stop();
    let report = config.start().stop();
    assert_eq!(report["producers"], before["producers"]);
    assert_eq!(counts(&before, "/ledger/connections/closed"), named(&[("peer_closed", 2)]));
}
