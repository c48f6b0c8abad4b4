//! The foreign server behind a line that loses packets: everything can be recovered from it by asking packet by packet.

use crate::client::{Heard, ask, deletions, hear_line, keep, listener, message_file};
use crate::foreign_server::foreign_server;
use crate::relay::Relay;

const SESSION: &[u8; 10] = b"FOREIGN001";

#[test]
fn what_the_line_loses_the_foreign_server_gives_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(20_000);
    let file = message_file(folder.path(), &messages);
    // A group and port of this test alone.
    let group = "239.255.71.1:27101";
    let Some(mut server) = foreign_server(&file, &["--to", group, "--loss", "0.01", "--seed", "3"]) else {
        return;
    };
    let line = listener();
    let relay =
        Relay::start(group.parse().expect("an address"), line.local_addr().expect("it is bound"), 0.01, 4);
    let listening = std::thread::spawn(move || hear_line_to(&line, 20_001));
    let sent = server.send();
    assert_eq!((sent.messages, sent.packets), (20_000, 5_000));
    assert!(sent.lost_packets > 20 && sent.lost_messages == 4 * sent.lost_packets, "{sent:?}");
    let mut heard = listening.join().expect("no panic");
    let relayed = relay.end();
    assert!(relayed.dropped > 20 && relayed.passed > relayed.dropped, "{relayed:?}");
    let missing = messages.len() - heard.len();
    assert!(missing as u64 > sent.lost_messages, "{missing} messages missing");
    for number in 1..=20_000 {
        if !heard.contains_key(&number) {
            keep(&ask(server.requests, SESSION, number, 4), &mut heard);
        }
    }
    assert!(heard.values().eq(&messages));
}

/// Hears a line until a heartbeat names this number.
fn hear_line_to(line: &std::net::UdpSocket, end: u64) -> Heard {
    let mut heard = Heard::new();
    loop {
        let (more, next) = hear_line(line);
        heard.extend(more);
        if next == end {
            return heard;
        }
    }
}
