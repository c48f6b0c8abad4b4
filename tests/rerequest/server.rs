//! `sluice replay --rerequest`: ranges, refusals, and the end of the line.

use crate::client::{FILE_SESSION, Replay, ask, deletions, hear, hear_line, listener, message_file, request};
use crate::program::{capture, decoded, number, sluice, text, total, word};
use nix::sys::signal::Signal;

#[test]
fn every_range_is_answered_with_what_was_sent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(1_000);
    let file = message_file(folder.path(), &messages);
    let line = listener();
    let replay = Replay::to(&line, &file, folder.path(), &["--speed", "max", "--rerequest-linger", "1h"]);
    let (heard, next) = hear_line(&line);
    assert_eq!((next, heard.len()), (1_001, 1_000));
    assert!(heard.values().eq(&messages));
    let mut given = 0;
    for (first, count, expected) in [
        (1, 1, 1),
        (1, 10, 10),
        (500, 65, 65),
        // As many as fit 1,400 bytes: 65 blocks of 21 bytes behind 20 of header.
        (500, 66, 65),
        (1, u16::MAX, 65),
        (990, 100, 11),
        (1_000, 1, 1),
    ] {
        let reply = ask(replay.requests, FILE_SESSION, first, count);
        assert_eq!((&reply.session, reply.sequence, reply.count), (FILE_SESSION, first, expected));
        let from = first as usize - 1;
        assert_eq!(reply.bodies, messages[from..from + usize::from(expected)]);
        given += u64::from(expected);
    }
    // A line that has ended goes on with heartbeats.
    assert_eq!((hear(&line).count, hear(&line).sequence), (0, 1_001));
    replay.signal(Signal::SIGINT);
    let (report, printed) = replay.end();
    let rerequest = &report["rerequest"];
    assert_eq!((number(rerequest, "/requests"), number(rerequest, "/replies")), (7, 7));
    assert_eq!((number(rerequest, "/messages"), number(rerequest, "/kept/messages")), (given, 1_000));
    assert!(number(rerequest, "/heartbeats") >= 3);
    assert_eq!(total(rerequest, "/refused"), 0);
    // What was sent in order is one thing, heartbeats and replies another.
    assert_eq!(number(&report, "/sent/frames"), number(&report, "/ledger/frames/received"));
    assert!(printed.contains("answered 7 of 7 requests at 127.0.0.1:"), "{printed}");
}

#[test]
fn only_what_was_sent_so_far_is_given() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = message_file(folder.path(), &deletions(100_000));
    let line = listener();
    let replay = Replay::to(&line, &file, folder.path(), &["--pps", "5"]);
    let socket = listener();
    for _ in 0..3 {
        let packet = hear(&line);
        let last = packet.sequence + u64::from(packet.count) - 1;
        socket.send_to(&request(FILE_SESSION, 100_000, 1), replay.requests).expect("it is sent");
        socket.send_to(&request(FILE_SESSION, last, 1), replay.requests).expect("it is sent");
        // Requests are heard in their order, so the first one got no answer.
        let reply = hear(&socket);
        assert_eq!((reply.sequence, reply.bodies.last()), (last, packet.bodies.last()));
    }
    replay.signal(Signal::SIGTERM);
    let (report, printed) = replay.end();
    assert_eq!(number(&report, "/rerequest/refused/not_sent"), 3);
    assert_eq!(number(&report, "/rerequest/replies"), 3);
    assert!(printed.contains("refused 3: 3 not_sent"), "{printed}");
}

#[test]
fn hostile_requests_are_counted_by_name_and_change_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(100);
    let file = message_file(folder.path(), &messages);
    let line = listener();
    let replay = Replay::to(&line, &file, folder.path(), &["--speed", "max", "--rerequest-linger", "1h"]);
    hear_line(&line);
    let socket = listener();
    let send = |datagram: &[u8]| {
        socket.send_to(datagram, replay.requests).expect("it is sent");
    };
    let mut state = 1_u64;
    for length in (0..1_400).step_by(50) {
        let noise: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        send(&noise);
    }
    let whole = request(FILE_SESSION, 1, 1);
    (0..20).for_each(|cut| send(&whole[..cut]));
    send(&[&whole[..], &[0]].concat());
    send(&vec![0; 60_000]);
    send(&request(b"ANOTHER001", 1, 1));
    send(&[0xff; 20]);
    send(&request(FILE_SESSION, 1, 0));
    send(&request(FILE_SESSION, 0, u16::MAX));
    send(&request(FILE_SESSION, 101, 1));
    send(&request(FILE_SESSION, u64::MAX, u16::MAX));
    // Whoever asks rightly is answered all the same; an earlier answer would come first.
    send(&request(FILE_SESSION, 40, u16::MAX));
    assert_eq!(hear(&socket).bodies, messages[39..]);
    replay.signal(Signal::SIGINT);
    let (report, _) = replay.end();
    let refused = |name: &str| number(&report, &format!("/rerequest/refused/{name}"));
    assert_eq!(refused("malformed"), 28 + 20 + 2);
    assert_eq!((refused("unknown_session"), refused("nothing_asked")), (2, 1));
    assert_eq!((refused("not_in_capture"), refused("not_sent")), (1, 2));
    assert_eq!(number(&report, "/rerequest/requests"), 50 + 6 + 1);
}

#[test]
fn a_real_capture_is_given_again_under_its_own_numbers() {
    let Some(file) = capture("moldudp64-nasdaq-38msgs.pcap") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let line = listener();
    let replay = Replay::to(&line, &file, folder.path(), &["--speed", "max", "--rerequest-linger", "1h"]);
    let mut packets = Vec::new();
    while packets.last().is_none_or(|packet: &crate::client::Packet| packet.count > 0) {
        packets.push(hear(&line));
    }
    let heartbeat = packets.pop().expect("there is one");
    let last = packets.last().expect("the capture has packets");
    let messages = packets.iter().map(|packet| u64::from(packet.count)).sum::<u64>();
    assert_eq!(number(&decoded(&[word(&file)]), "/streams/0/messages"), messages);
    assert_eq!(
        (heartbeat.session, heartbeat.sequence),
        (last.session, last.sequence + u64::from(last.count))
    );
    for packet in &packets {
        let again = ask(replay.requests, &packet.session, packet.sequence, packet.count);
        assert_eq!(again.bodies[..], packet.bodies[..again.bodies.len()]);
    }
    replay.signal(Signal::SIGINT);
    let (report, _) = replay.end();
    assert_eq!(number(&report, "/rerequest/replies"), packets.len() as u64);
}

#[test]
fn an_address_that_is_taken_is_told_before_anything_is_sent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = message_file(folder.path(), &deletions(1));
    let taken = listener();
    let address = taken.local_addr().expect("it is bound").to_string();
    let line = listener();
    let to = format!("udp:{}", line.local_addr().expect("it is bound"));
    let output = sluice(&["replay", word(&file), "--to", &to, "--rerequest", &address]);
    assert_ne!(output.status.code(), Some(0));
    let told = text(&output.stderr);
    assert!(told.contains(&address) && told.contains("port that is free"), "{told}");
    line.set_nonblocking(true).expect("a socket");
    assert!(line.recv(&mut [0; 100]).is_err(), "nothing was sent");
}

#[test]
fn it_ends_by_itself_when_nobody_asks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = message_file(folder.path(), &deletions(10));
    let line = listener();
    let replay = Replay::to(&line, &file, folder.path(), &["--rerequest-linger", "250ms"]);
    let (report, _) = replay.end();
    assert_eq!(number(&report, "/rerequest/requests"), 0);
}
