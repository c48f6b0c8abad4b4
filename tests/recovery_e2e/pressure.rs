//! Losses at full speed, where windows, queues and places for what is held back reach their limits: nothing hangs, the
//! books balance, and what is lost is named.

use crate::client::{Replay, deletions, message_file};
use crate::order::{config, free_address};
use crate::program::number;
use crate::recorder::by_sockets;
use nix::sys::signal::Signal;

const COUNT: u64 = 100_000;

/// Queues in which little is held back: half of the smallest one's places.
const SMALL_QUEUES: &str =
    "[queues]\nrealtime_capacity = 1024\ntransactional_capacity = 1024\nbatch_capacity = 1024\n";

/// 5 % are lost, at full speed, and every number ends as one that was seen in its place or as one that was named as lost.
fn run_with(keys: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(COUNT);
    let file = message_file(folder.path(), &messages);
    let requests = free_address();
    let mut recorder = by_sockets(&config(requests, keys));
    let to = format!("udp:{}", recorder.address.expect("a socket"));
    let words = ["--to", &to, "--speed", "max", "--loss", "5%", "--seed", "7", "--rerequest-linger", "1h"];
    let replay = Replay::start_at(&requests.to_string(), &file, folder.path(), &words);
    recorder.run_until(|recorder| recorder.seen.len() as u64 + recorder.lost >= COUNT);
    let lost = recorder.lost;
    replay.signal(Signal::SIGINT);
    let (sent, _) = replay.end();
    let recorded = recorder.end();
    recorded.assert_in_order(&messages);
    let book = &recorded.stream("itch").book;
    assert_eq!(recorded.seen.len() as u64 + lost, COUNT, "{book:#?}");
    assert_eq!((book.expected, book.missing), (COUNT, lost), "{book:#?}\n{:#?}", recorded.ledger.messages);
    assert_eq!(book.accepted, book.seen, "{book:#?}");
    assert_eq!(book.times_stale > 0, lost > 0, "{book:#?}");
    assert!(number(&sent, "/faults/lines/0/lost") > 0);
}

#[test]
fn with_the_usual_limits() {
    run_with("");
}

#[test]
fn with_few_places_for_what_is_held_back() {
    run_with(&format!("round_trip_ms = 10\n{SMALL_QUEUES}"));
}

#[test]
fn with_a_server_that_is_slow_to_be_asked() {
    run_with(&format!("requests_per_s = 20\ngive_up_ms = 100\n{SMALL_QUEUES}"));
}
