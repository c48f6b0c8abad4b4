//! The rules of acknowledged sessions, one by one, as docs/native-protocol.md has them.

use crate::client::run;
use crate::program::number;
use crate::server::{Config, closed, counts, listener, named};
use serde_json::{Value, json};

/// Runs one rule's client against a fresh server with room for three producers.
fn rule(name: &str) -> (Value, Value) {
    let config = Config::new(&[&listener("in", "tcp", ""), "[network]\nproducers_max = 3\n"].concat());
    let server = config.start();
    let did = run("session.py", &[name, &server.at("in")]);
    (did, server.stop())
}

/// The one producer of a report: what is processed of it.
fn processed(report: &Value) -> (u64, u64) {
    (number(report, "/producers/0/processed"), number(report, "/producers/0/count"))
}

/// The words that were heard, and the reason's name of the last one.
fn last_word(heard: &Value) -> (Vec<&str>, &str) {
    let heard = heard.as_array().expect("a list");
    let words = heard.iter().map(|word| word["word"].as_str().expect("a word")).collect();
    (words, heard.last().and_then(|word| word["name"].as_str()).unwrap_or_default())
}

#[test]
fn durable_acknowledgements_are_not_promised() {
    let (did, report) = rule("durable");
    assert_eq!(last_word(&did["heard"]), (vec!["error"], "not_offered"));
    assert_eq!(closed(&report), named(&[("not_offered", 1)]));
}

#[test]
fn a_second_connection_supersedes_the_first() {
    let (did, report) = rule("supersede");
    assert_eq!(last_word(&did["first"]), (vec!["error"], "superseded"));
    assert_eq!(did["second"], json!([{"word": "welcome", "producer": 12, "received": 1, "durable": 0}]));
    assert_eq!(processed(&report), (2, 2));
    assert_eq!(closed(&report), named(&[("peer_closed", 1), ("superseded", 1)]));
}

#[test]
fn a_gap_ends_the_connection_and_what_came_before_it_is_received() {
    let (did, report) = rule("gap");
    // The error is the last word, whether or not the event before the gap was acknowledged until then.
    assert_eq!(last_word(&did["heard"]).1, "session_violation", "{did}");
    assert_eq!(processed(&report), (1, 1));
    assert_eq!(closed(&report), named(&[("session_violation", 1)]));
}

#[test]
fn a_damaged_event_is_sent_again() {
    let (did, report) = rule("damaged");
    assert_eq!(last_word(&did["heard"]).1, "bad_frame", "{did}");
    // The welcome names what is processed: event 1 may still be on its way.
    assert!((1..=2).contains(&number(&did, "/following")), "{did}");
    assert_eq!(processed(&report), (3, 3));
    assert_eq!(counts(&report, "/ledger/messages/rejected"), named(&[("checksum", 1)]));
}

#[test]
fn there_are_no_more_producers_than_there_may_be() {
    let (did, report) = rule("full");
    assert_eq!(last_word(&did["heard"]), (vec!["error"], "producers_full"));
    assert_eq!(closed(&report), named(&[("peer_closed", 3), ("producers_full", 1)]));
    assert_eq!(report["producers"].as_array().map(Vec::len), Some(3));
}

#[test]
fn events_sent_twice_are_acknowledged_twice_and_processed_once() {
    let (did, report) = rule("again");
    let three = |word: &str| json!({"word": word, "producer": 15, "received": 3, "durable": 0});
    assert_eq!(did["welcomed"], json!([three("welcome")]));
    let heard = did["heard"].as_array().expect("a list");
    assert!(heard.len() >= 3 && heard.iter().all(|word| *word == three("ack")), "{did}");
    assert_eq!(processed(&report), (3, 3));
    assert_eq!(number(&report, "/ledger/messages/duplicate"), 4);
    assert_eq!(number(&report, "/ledger/events/delivered"), 3);
}

#[test]
fn a_goodbye_is_answered_by_the_rest_of_the_acknowledgements_and_the_end() {
    let (did, report) = rule("goodbye");
    let heard = did["heard"].as_array().expect("a list");
    assert_eq!(heard.last().map(|word| &word["received"]), Some(&json!(500)), "{did}");
    assert_eq!(last_word(&did["late"]).1, "session_violation");
    assert_eq!(processed(&report), (500, 500));
    assert_eq!(closed(&report), named(&[("peer_closed", 1), ("session_violation", 1)]));
}

#[test]
fn frames_that_a_session_forbids_end_it() {
    let (did, report) = rule("forbidden");
    let heard = did["heard"].as_object().expect("by name");
    assert!(heard.values().all(|errors| *errors == json!(["session_violation"])), "{did}");
    assert_eq!(closed(&report), named(&[("session_violation", heard.len() as u64)]));
    // Event 1 of 17 outside of a session is none of the session's.
    assert_eq!(processed(&report), (0, 0));
}
