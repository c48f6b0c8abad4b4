//! Peers that break off, drip, lie and flood: each is closed by name, every byte has a fate, and the good connection beside
//! them loses nothing.

use crate::client::run;
use crate::program::number;
use crate::server::{Config, by_priority, closed, counts, listener, named};
use serde_json::{Value, json};

/// Runs a hostile client against a listener with these keys: what it did, and the report.
fn against(way: &[&str], keys: &str) -> (Value, Value) {
    let config = Config::new(&listener("in", "tcp", keys));
    let server = config.start();
    let (name, further) = way.split_first().expect("a way");
    let did = run("hostile.py", &[&[*name, &server.at("in")], further].concat());
    let report = server.stop();
    assert_eq!(number(&report, "/ledger/connections/bytes_held"), 0);
    (did, report)
}

#[test]
fn peers_that_break_off_lose_their_last_frame_and_nothing_else() {
    let (did, report) = against(&["broken_off"], "");
    let [good, bad, resets] = ["/good", "/bad", "/resets"].map(|name| number(&did, name));
    assert_eq!(number(&by_priority(&report, "in"), "/4"), good);
    // A reset may take whole frames along that the kernel had not shown yet.
    let arrived = number(&by_priority(&report, "in"), "/0");
    assert!((bad..=bad + 3 * resets).contains(&arrived), "{bad} + 3 * {resets}: {arrived}");
    let expected = [
        ("peer_closed", number(&did, "/closed") + 1),
        ("peer_closed_in_frame", number(&did, "/in_frame")),
        ("peer_reset", resets),
    ];
    assert_eq!(closed(&report), named(&expected));
    let lost = &report["ledger"]["connections"]["bytes_lost"];
    assert_eq!(lost["peer_closed_in_frame"], did["lost"]);
    assert_eq!(counts(&report, "/ledger/messages/rejected"), []);
}

#[test]
fn slow_peers_are_closed_for_the_frame_that_they_do_not_finish() {
    let (did, report) = against(&["slow"], "unfinished_timeout_s = 1");
    assert_eq!(by_priority(&report, "in"), json!({"0": did["bad"], "4": did["good"]}));
    assert_eq!(closed(&report), named(&[("peer_closed", 1), ("unfinished_frame", 3)]));
    // What is skipped is taken: only the two half frames are lost.
    let lost = counts(&report, "/ledger/connections/bytes_lost");
    assert!(matches!(&lost[..], [(name, 20..)] if name == "unfinished_frame"), "{lost:?}");
    assert_eq!(counts(&report, "/ledger/messages/rejected"), named(&[("too_large", 1)]));
}

#[test]
fn quiet_peers_are_closed_where_they_have_to_speak() {
    let (did, report) = against(&["quiet"], "handshake_timeout_s = 1\nidle_timeout_s = 1");
    assert_eq!(by_priority(&report, "in"), json!({"0": did["bad"]}));
    assert_eq!(number(&report, "/ledger/connections/opened"), 2);
    let reasons = closed(&report);
    assert!(reasons.contains(&("idle".to_owned(), 1)), "{reasons:?}");
    assert!(reasons.contains(&("handshake_timeout".to_owned(), 1)), "{reasons:?}");
}

#[test]
fn lengths_beyond_all_limits_end_their_connection_only() {
    let (did, report) = against(&["bombs"], "");
    assert_eq!(by_priority(&report, "in"), json!({"0": did["bad"], "4": did["good"]}));
    let expected = [("frame_too_large", number(&did, "/closed")), ("peer_closed", 2)];
    assert_eq!(closed(&report), named(&expected));
    assert_eq!(
        counts(&report, "/ledger/messages/rejected"),
        named(&[("too_large", number(&did, "/skipped"))])
    );
    assert_eq!(counts(&report, "/ledger/connections/bytes_lost").len(), 1, "all of it under that name");
}

#[test]
fn garbage_is_refused_by_name() {
    for seed in ["1", "2"] {
        let (did, report) = against(&["garbage", seed], "");
        assert_eq!(number(&by_priority(&report, "in"), "/4"), number(&did, "/good"));
        assert!(number(&by_priority(&report, "in"), "/0") >= number(&did, "/bad"));
        let refused: u64 = counts(&report, "/ledger/messages/rejected").iter().map(|(_, count)| count).sum();
        assert!(refused >= number(&did, "/nonsense"), "{refused}");
        assert_eq!(number(&report, "/ledger/connections/opened"), 42);
    }
}

#[test]
fn a_peer_that_takes_no_answer_does_not_keep_its_place() {
    let config = Config::new(&listener("in", "unix", ""));
    let server = config.start();
    let did = run("hostile.py", &["deaf", &server.at("in")]);
    assert_eq!(did["closed"], true);
    assert_eq!(closed(&server.stop()), named(&[("peer_closed", 1)]));
}

#[test]
fn floods_of_connections_are_refused_and_told_why() {
    let keys = "connections_max = 12\nconnections_per_source_max = 8\nallow = ['127.0.0.0/16']";
    let (did, report) = against(&["flood"], keys);
    assert_eq!(by_priority(&report, "in"), json!({"4": did["good"]}));
    let closed = &report["ledger"]["connections"]["closed"];
    assert_eq!((&closed["source_full"], &did["refused"]["source_full"]), (&json!(22), &json!(22)));
    assert_eq!(
        (&closed["source_not_allowed"], &did["refused"]["source_not_allowed"]),
        (&json!(5), &json!(5))
    );
    assert_eq!(did["refused"]["listener_full"], json!(26));
    // Those that came back too early are among them.
    assert!(closed["listener_full"].as_u64() >= Some(26), "{closed:#}");
}
