//! In order: what a lossy line and a server bring together reaches processors in the order of its numbers, each once.

use crate::client::{Replay, deletions, message_file};
use crate::foreign_server::foreign_server;
use crate::recorder::by_sockets;
use crate::relay::Relay;
use nix::sys::signal::Signal;
use sluice::event::Marks;
use std::net::{SocketAddr, UdpSocket};

/// A listener that delivers in order and asks `server`; `more` are further keys of its recovery.
pub(crate) fn config(server: SocketAddr, more: &str) -> String {
    format!(
        "[[listen]]\nname = 'itch'\nsource = 'udp'\naddress = '127.0.0.1:0'\nprotocol = 'moldudp64-itch50'\n\
         receive_buffer_bytes = 4194304\n[listen.integrity]\ndelivery = 'in-order'\n\
         [listen.recovery]\nprotocol = 'moldudp64'\nservers = ['{server}']\n{more}\n"
    )
}

/// An address that is free a moment before it is used.
pub(crate) fn free_address() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port")
}

#[test]
fn a_foreign_server_brings_back_what_the_line_lost_in_its_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(20_000);
    let file = message_file(folder.path(), &messages);
    let group = "239.255.71.2:27111";
    let Some(mut server) = foreign_server(&file, &["--to", group]) else { return };
    // The crate answers a request that takes several packets with packets that all have the first one's number. So no more
    // is asked for than one packet of it has: 1,400 bytes, 21 for each of these messages.
    let mut recorder = by_sockets(&config(server.requests, "messages_max = 60"));
    let line = recorder.address.expect("a socket");
    let relay = Relay::start(group.parse().expect("an address"), line, 0.01, 11);
    let sending = std::thread::spawn(move || (server.send(), server));
    recorder.run_until(|recorder| recorder.seen.len() == 20_000);
    let (sent, _server) = sending.join().expect("no panic");
    assert_eq!(sent.messages, 20_000);
    let recorded = recorder.end();
    assert!(relay.end().dropped > 20);
    recorded.assert_whole(&messages);
    let book = &recorded.stream("itch").book;
    assert_eq!((book.missing, book.gaps, book.times_stale), (0, 0, 0), "{book:#?}");
    assert!(book.recovered > 50 && book.held > 0, "{book:#?}");
    let recovered = recorded.seen.iter().filter(|seen| Marks(seen.marks).has(Marks::RECOVERED)).count();
    assert!(recovered > 0, "what was asked for is marked");
}

#[test]
fn our_own_server_brings_it_back_even_when_it_loses_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(50_000);
    let file = message_file(folder.path(), &messages);
    let requests = free_address();
    let mut recorder = by_sockets(&config(requests, "round_trip_ms = 10"));
    let to = format!("udp:{}", recorder.address.expect("a socket"));
    let requests = requests.to_string();
    let faults = ["--pps", "300", "--loss", "1%", "--seed", "5", "--rerequest-loss", "10%"];
    let words = ["--to", &to, "--rerequest-linger", "1h"];
    let replay = Replay::start_at(&requests, &file, folder.path(), &[&words[..], &faults].concat());
    recorder.run_until(|recorder| recorder.seen.len() == 50_000);
    replay.signal(Signal::SIGINT);
    let (report, _) = replay.end();
    let recorded = recorder.end();
    recorded.assert_whole(&messages);
    let book = &recorded.stream("itch").book;
    assert_eq!((book.missing, book.gaps, book.times_stale), (0, 0, 0), "{book:#?}");
    assert!(book.recovered > 0 && book.held > 0, "{book:#?}");
    assert!(report["rerequest"]["replies"].as_u64() > Some(0), "{:#}", report["rerequest"]);
}
