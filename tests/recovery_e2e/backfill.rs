//! A late start: what the session had before is asked for, and everything from number 1 on is delivered in its place.

use crate::client::{Packet, Replay, deletions, hear, listener, message_file};
use crate::order::{config, free_address};
use crate::recorder::by_sockets;
use nix::sys::signal::Signal;
use std::net::UdpSocket;

const COUNT: u64 = 40_000;

#[test]
fn a_session_that_has_begun_long_ago_is_delivered_from_its_first_message() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(COUNT);
    let file = message_file(folder.path(), &messages);
    let requests = free_address();
    // The line is heard by the test first, which passes it on as soon as there is somebody.
    let line = listener();
    let to = format!("udp:{}", line.local_addr().expect("it is bound"));
    let words = ["--to", &to, "--pps", "500", "--rerequest-linger", "1h"];
    let replay = Replay::start_at(&requests.to_string(), &file, folder.path(), &words);
    let mut before = 0;
    while before < 20_000 {
        before += u64::from(hear(&line).count);
    }
    // Five times the window is before, and the line goes on meanwhile.
    let mut recorder = by_sockets(&config(requests, "backfill = true"));
    let address = recorder.address.expect("a socket");
    let passing = std::thread::spawn(move || {
        let out = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let mut datagram = [0; 2_000];
        loop {
            let bytes = line.recv(&mut datagram).expect("something comes");
            // Nobody is there any more when the test is over.
            let _ = out.send_to(&datagram[..bytes], address);
            let packet = Packet::parse(&datagram[..bytes]);
            if packet.bodies.is_empty() && packet.sequence == COUNT + 1 {
                return;
            }
        }
    });
    recorder.run_until(|recorder| recorder.seen.len() as u64 == COUNT);
    passing.join().expect("no panic");
    replay.signal(Signal::SIGINT);
    replay.end();
    let recorded = recorder.end();
    recorded.assert_whole(&messages);
    let book = &recorded.stream("itch").book;
    assert_eq!((book.expected, book.missing, book.times_stale), (COUNT, 0, 0), "{book:#?}");
    assert!(book.recovered >= before, "{book:#?}");
}
