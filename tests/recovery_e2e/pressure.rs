//! Losses at full speed, where windows, queues and places for what is held back reach their limits: nothing hangs, the
//! books balance, and what is lost is named.

use crate::client::{Replay, deletions, message_file};
use crate::order::{config, free_address};
use crate::program::number;
use crate::recorder::by_sockets;
use nix::sys::signal::Signal;
use std::net::UdpSocket;
use std::ops::Range;

const COUNT: u64 = 100_000;

/// Queues in which little is held back: half of the smallest one's places.
const SMALL_QUEUES: &str =
    "[queues]\nrealtime_capacity = 1024\ntransactional_capacity = 1024\nbatch_capacity = 1024\n";

/// 5 % are lost, at full speed, and every number ends as one that was seen in its place, as one that was named as lost, or,
/// having come, as one that a full queue had no place for.
fn run_with(keys: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(COUNT);
    let file = message_file(folder.path(), &messages);
    let requests = free_address();
    let mut recorder = by_sockets(&config(requests, keys));
    let to = format!("udp:{}", recorder.address.expect("a socket"));
    let words = ["--to", &to, "--speed", "max", "--loss", "5%", "--seed", "7", "--rerequest-linger", "1h"];
    let replay = Replay::start_at(&requests.to_string(), &file, folder.path(), &words);
    recorder.run_until(|recorder| recorder.seen.len() as u64 + recorder.lost + recorder.shed() >= COUNT);
    let lost = recorder.lost;
    replay.signal(Signal::SIGINT);
    let (sent, _) = replay.end();
    let recorded = recorder.end();
    recorded.assert_in_order(&messages);
    let book = &recorded.stream("itch").book;
    let events = &recorded.ledger.events;
    let shed: u64 = events.shed.iter().chain(&events.dead_lettered).sum();
    assert_eq!(recorded.seen.len() as u64 + lost + shed, COUNT, "{book:#?}");
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

/// A MoldUDP64 packet with the messages of these numbers, or a heartbeat.
fn packet(numbers: Range<u64>, messages: &[Vec<u8>]) -> Vec<u8> {
    let count = (numbers.end - numbers.start) as u16;
    let mut packet = [&b"SESSION001"[..], &numbers.start.to_be_bytes(), &count.to_be_bytes()].concat();
    for number in numbers {
        let body = &messages[number as usize - 1];
        packet.extend((body.len() as u16).to_be_bytes());
        packet.extend(body);
    }
    packet
}

#[test]
fn what_is_held_back_is_delivered_when_a_heartbeat_names_a_far_number() {
    let messages = deletions(100);
    // Without a recovery, and with one whose server is dead.
    let lines = config(free_address(), "give_up_ms = 50");
    let (alone, _) = lines.split_once("[listen.recovery]").expect("it is there");
    for config in [alone, &lines] {
        let mut recorder = by_sockets(config);
        let out = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let line = recorder.address.expect("a socket");
        let send = |numbers| {
            out.send_to(&packet(numbers, &messages), line).expect("it is sent");
        };
        send(1..2);
        send(5..11);
        // One alone is not believed.
        send(50_000..50_000);
        send(50_000..50_000);
        recorder.run_until(|recorder| recorder.lost == 50_000 - 1 - 7);
        let recorded = recorder.end();
        recorded.assert_in_order(&messages);
        assert_eq!(recorded.seen.len(), 7);
        assert_eq!(recorded.stream("itch").book.missing, 50_000 - 1 - 7);
    }
}
