//! The program itself: 1 % of the packets lost on the line, and nothing is missing in the end, whoever the server is.

use crate::client::{Replay, deletions, message_file};
use crate::foreign_server::foreign_server;
use crate::order::{config, free_address};
use crate::program::{number, total};
use crate::relay::Relay;
use crate::running::{Ended, Running};
use nix::sys::signal::Signal;

/// All of it was accepted once, nothing is missing, and what was lost at first is known to have been recovered.
fn assert_whole(ended: &Ended, count: u64) {
    let stream = ended.stream();
    let of = |key: &str| number(stream, key);
    assert_eq!([of("/expected"), of("/seen"), of("/accepted")], [count; 3], "{stream:#}");
    assert_eq!([of("/missing"), of("/gaps"), of("/times_stale")], [0; 3], "{stream:#}");
    // What came too far ahead of a gap was refused, by that name, and asked for again: nothing else was.
    let refused = &ended.report["ledger"]["messages"]["rejected"];
    let too_far = number(refused, "/beyond_window") + number(refused, "/implausible_sequence");
    assert_eq!((of("/rejected"), total(refused, "")), (too_far, too_far), "{refused:#}");
    assert_eq!(of("/epochs"), 1, "{stream:#}");
    assert_eq!(stream["status"], "synchronized", "{stream:#}");
    assert!(of("/recovered") > 0 && of("/held") > 0, "{stream:#}");
    let events = &ended.report["ledger"]["events"];
    assert_eq!([number(events, "/accepted"), number(events, "/delivered")], [count; 2], "{events:#}");
    let filled: u64 = ended
        .told("feed.gap.filled")
        .iter()
        .map(|told| number(told, "/last") + 1 - number(told, "/first"))
        .sum();
    assert_eq!(filled, of("/recovered"), "every number that came back is in a gap that was told of");
    assert!(ended.told("feed.gap.lost").is_empty() && ended.told("feed.stream.stale").is_empty());
}

#[test]
fn nothing_is_missing_with_a_foreign_server() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = message_file(folder.path(), &deletions(20_000));
    let group = "239.255.71.3:27112";
    let Some(mut server) = foreign_server(&file, &["--to", group]) else { return };
    // No more than one packet of the foreign server has: it numbers a second one as the first.
    let mut running = Running::start(&config(server.requests, "messages_max = 60"));
    let line = running.at("itch").strip_prefix("udp:").and_then(|line| line.parse().ok());
    let line = line.expect("an address");
    let relay = Relay::start(group.parse().expect("an address"), line, 0.01, 12);
    assert_eq!(server.send().messages, 20_000);
    running.wait_for_events(20_000);
    let ended = running.end();
    assert!(relay.end().dropped > 20);
    assert_whole(&ended, 20_000);
    let recovery = &ended.report["recovery"][0];
    assert!(number(recovery, "/requests") > 10, "{recovery:#}");
}

#[test]
fn nothing_is_missing_with_our_own_server_that_loses_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = message_file(folder.path(), &deletions(100_000));
    let requests = free_address();
    let mut running = Running::start(&config(requests, "round_trip_ms = 10"));
    let words = ["--to", &running.at("itch"), "--rerequest-linger", "1h", "--pps", "300"];
    let faults = ["--loss", "1%", "--seed", "6", "--rerequest-loss", "10%"];
    let words = [&words[..], &faults].concat();
    let replay = Replay::start_at(&requests.to_string(), &file, folder.path(), &words);
    running.wait_for_events(100_000);
    replay.signal(Signal::SIGINT);
    let (sent, _) = replay.end();
    let ended = running.end();
    assert_whole(&ended, 100_000);
    assert!(number(&sent, "/faults/lines/0/lost") > 0, "{:#}", sent["faults"]);
    let replies = number(&sent, "/rerequest/replies");
    assert!(replies > 0, "{:#}", sent["rerequest"]);
}
