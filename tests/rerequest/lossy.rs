//! `sluice replay --rerequest-loss`: which replies are lost, and that asking again gets everything.

use crate::client::Packet;
use crate::client::{
    FILE_SESSION, Heard, Replay, deletions, hear_line, keep, listener, message_file, request,
};
use crate::program::number;
use nix::sys::signal::Signal;
use std::path::Path;
use std::time::Duration;

/// Numbers that were answered when each was asked for once, in order.
fn answered(file: &Path, folder: &Path, seed: &str) -> Vec<u64> {
    let line = listener();
    let words = ["--speed", "max", "--rerequest-linger", "1h", "--rerequest-loss", "30%"];
    let replay = Replay::to(&line, file, folder, &[&words[..], &["--rerequest-seed", seed]].concat());
    hear_line(&line);
    let socket = listener();
    for number in 1..=200 {
        socket.send_to(&request(FILE_SESSION, number, 1), replay.requests).expect("it is sent");
    }
    // Requests are answered in their order: once a later one has its reply, all are here.
    let marker = listener();
    marker.set_read_timeout(Some(Duration::from_millis(20))).expect("a time limit");
    let mut markers = 0;
    while markers == 0 || marker.recv(&mut [0; 2_000]).is_err() {
        marker.send_to(&request(FILE_SESSION, 1, 1), replay.requests).expect("it is sent");
        markers += 1;
    }
    replay.signal(Signal::SIGINT);
    let (report, _) = replay.end();
    let mut heard = Heard::new();
    let mut datagram = [0; 2_000];
    socket.set_nonblocking(true).expect("a socket");
    while let Ok(bytes) = socket.recv(&mut datagram) {
        keep(&Packet::parse(&datagram[..bytes]), &mut heard);
    }
    // A marker may be asked for once more than the server saw before it ended.
    let lost = number(&report, "/rerequest/lost");
    assert!(lost >= 200 - heard.len() as u64 && lost <= 200 + markers - heard.len() as u64, "{lost}");
    heard.into_keys().collect()
}

#[test]
fn the_seed_decides_which_replies_are_lost() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = message_file(folder.path(), &deletions(200));
    let first = answered(&file, folder.path(), "7");
    assert!((100..180).contains(&first.len()), "{} of 200", first.len());
    assert_eq!(answered(&file, folder.path(), "7"), first);
    assert_ne!(answered(&file, folder.path(), "8"), first);
}

#[test]
fn what_faults_take_from_the_line_is_given_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(50_000);
    let file = message_file(folder.path(), &messages);
    let line = listener();
    let faults = ["--loss", "5%", "--duplicate", "2%", "--reorder", "3%", "--seed", "3"];
    let answers = ["--rerequest-linger", "1h", "--rerequest-loss", "20%"];
    let words = [&["--speed", "max"][..], &faults, &answers].concat();
    let replay = Replay::to(&line, &file, folder.path(), &words);
    let (mut heard, next) = hear_line(&line);
    assert_eq!(next, 50_001);
    let missing = 50_000 - heard.len() as u64;
    assert!(missing > 1_000, "{missing} messages missing");
    let socket = listener();
    // A lost answer is asked for again; no run depends on how long it waits.
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a time limit");
    let mut datagram = [0; 2_000];
    for number in 1..next {
        while !heard.contains_key(&number) {
            socket.send_to(&request(FILE_SESSION, number, 65), replay.requests).expect("it is sent");
            if let Ok(bytes) = socket.recv(&mut datagram) {
                keep(&Packet::parse(&datagram[..bytes]), &mut heard);
            }
        }
    }
    assert!(heard.values().eq(&messages));
    replay.signal(Signal::SIGINT);
    let (report, _) = replay.end();
    assert!(number(&report, "/rerequest/lost") > 0);
    assert_eq!(number(&report, "/rerequest/kept/messages"), 50_000);
    let lost = number(&report, "/faults/lines/0/lost");
    assert!(lost > 20, "{lost} packets lost");
}
