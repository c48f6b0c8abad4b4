//! Nobody answers: the stream is stale when its time is over, it is said so, and everything else is delivered.

use crate::client::{deletions, message_file};
use crate::foreign_server::foreign_server;
use crate::order::{config, free_address};
use crate::program::number;
use crate::recorder::by_sockets;
use crate::relay::Relay;
use crate::running::Running;
use serde_json::json;
use sluice::event::MessageReject;

/// The configured time: the reorder window, and how long a recovery may take.
const REORDER_NS: u64 = 5_000_000;
const GIVE_UP_NS: u64 = 200_000_000;
/// A turn of a shard that shares its CPU with everything else, generously; the product looks at its deadlines every turn.
const TURN_NS: u64 = 1_000_000_000;

const KEYS: &str = "give_up_ms = 200\nround_trip_ms = 10\nbackoff_max_ms = 40\nmessages_max = 60";

#[test]
fn a_loss_that_nobody_makes_good_is_told_in_time_and_the_rest_is_delivered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = message_file(folder.path(), &deletions(10_000));
    let group = "239.255.71.4:27113";
    // So slow that no more comes within the time than can be held back.
    let words = ["--to", group, "--loss", "0.005", "--seed", "9", "--pps", "1500"];
    let Some(mut server) = foreign_server(&file, &words) else { return };
    // A server that is dead: nobody has that address any more.
    let mut running = Running::start(&config(free_address(), KEYS));
    let line = running.at("itch").strip_prefix("udp:").and_then(|line| line.parse().ok());
    let relay = Relay::start(group.parse().expect("an address"), line.expect("an address"), 0.0, 1);
    let sent = server.send();
    assert!(sent.lost_messages > 0, "{sent:?}");
    running.wait_for_events(10_000 - sent.lost_messages);
    let ended = running.end();
    relay.end();
    let stream = ended.stream();
    let of = |key: &str| number(stream, key);
    assert_eq!((of("/expected"), of("/missing")), (10_000, sent.lost_messages), "{stream:#}");
    assert_eq!([of("/accepted"), of("/seen")], [10_000 - sent.lost_messages; 2], "{stream:#}");
    assert_eq!((of("/recovered"), of("/rejected"), of("/times_stale")), (0, 0, 1), "{stream:#}");
    assert_eq!(stream["status"], "stale", "{stream:#}");
    assert!(number(&ended.report, "/recovery/0/timeouts") > 0, "{:#}", ended.report["recovery"]);
    let lost = ended.told("feed.gap.lost");
    assert!(!lost.is_empty());
    for gap in &lost {
        assert_eq!(gap["reason"], "recovery_gave_up", "{gap:#}");
        let waited = number(gap, "/at_ns") - number(gap, "/opened_ns");
        assert!(waited >= REORDER_NS + GIVE_UP_NS, "not before its time: {gap:#}");
        assert!(waited < REORDER_NS + GIVE_UP_NS + TURN_NS, "within its time: {gap:#}");
    }
    let stale = ended.told("feed.stream.stale");
    assert_eq!(stale.len(), 1, "{stale:#?}");
    assert_eq!((&stale[0]["at_ns"], &stale[0]["last"]), (&lost[0]["at_ns"], &lost[0]["last"]));
    assert_eq!((&stale[0]["stream"], &lost[0]["stream"]), (&json!("itch"), &json!("itch")));
    let counted = &ended.report["control"]["topics"];
    assert_eq!(number(counted, "/feed.stream.stale"), 1, "{:#}", ended.report["control"]);
    assert_eq!(number(counted, "/feed.gap.lost"), lost.len() as u64, "{:#}", ended.report["control"]);
}

/// A line that fills what may be held back before a loss is given up, with nobody who answers: the numbers that were lost
/// on the line, those that were given up, and those that were refused as out of reach meanwhile.
fn outrun(group: &str, keys: &str) -> [u64; 3] {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(10_000);
    let file = message_file(folder.path(), &messages);
    let words = ["--to", group, "--loss", "0.005", "--seed", "8", "--pps", "5000"];
    let Some(mut server) = foreign_server(&file, &words) else { return [0; 3] };
    let mut recorder = by_sockets(&config(free_address(), &format!("{KEYS}\n{keys}")));
    let line = recorder.address.expect("a socket");
    let relay = Relay::start(group.parse().expect("an address"), line, 0.0, 1);
    let sending = std::thread::spawn(move || (server.send(), server));
    recorder.run_until(|recorder| recorder.seen.len() as u64 + recorder.lost == 10_000);
    let (sent, _server) = sending.join().expect("no panic");
    let given_up = recorder.lost;
    let recorded = recorder.end();
    relay.end();
    recorded.assert_in_order(&messages);
    assert_eq!(recorded.stream("itch").book.missing, given_up);
    let refused = recorded.ledger.messages.rejected[MessageReject::BeyondWindow as usize];
    [sent.lost_messages, given_up, refused]
}

#[test]
fn a_line_that_is_faster_than_its_window_loses_no_more_than_was_lost() {
    // 20,000 messages a second, and a window of 4,096: full before the 205 ms are over, but not before the server is known
    // to be silent.
    let [lost, given_up, refused] = outrun("239.255.71.5:27114", "");
    assert_eq!((given_up, refused), (lost, 0));
}

#[test]
fn what_comes_while_a_server_is_not_yet_known_to_be_dead_is_named() {
    // Half of 1,024 places: full before the server is known to be silent. From then on nothing more is refused.
    let queues = "[queues]\nrealtime_capacity = 1024";
    let [lost, given_up, refused] = outrun("239.255.71.6:27115", queues);
    assert_eq!(given_up, lost + refused);
}
