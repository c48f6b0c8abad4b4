//! MoldUDP64 re-requests over loopback: what servers answer comes to the feed, and what they answer wrongly does not.

use crate::program::number;
use crate::server::{Config, listener};
use crate::venue::{COUNT, LINE, Rerequest, SESSION, Temper, assert_whole, packet, send_line, stream, udp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

/// In order, with queues that have room for all that is held back behind the first gap: half of the smallest one's places.
const IN_ORDER: &str = "
[listen.integrity]
delivery = 'in-order'

[queues]
realtime_capacity = 4096
transactional_capacity = 4096
batch_capacity = 4096
";

/// A listener with these servers and further keys of its recovery.
fn feed(servers: &[&Rerequest], keys: &str) -> Config {
    let addresses: Vec<String> = servers.iter().map(|server| format!("'{}'", server.address)).collect();
    let addresses = addresses.join(", ");
    let recovery = format!("[listen.recovery]\nprotocol = 'moldudp64'\nservers = [{addresses}]\n{keys}\n");
    Config::new(&(listener("itch", "udp", LINE) + &recovery))
}

/// Single ones, pairs, and a long run.
fn lost() -> BTreeSet<u64> {
    let scattered = (2..COUNT).filter(|number| number % 37 == 0 || number % 41 < 2);
    scattered.chain(300..370).collect()
}

/// What was lost is missing, and the stream is otherwise as it was.
fn assert_lost(report: &Value, lost: &BTreeSet<u64>) {
    let stream = stream(report);
    let counts = ["/expected", "/missing", "/epochs"].map(|key| number(stream, key));
    assert_eq!(counts, [COUNT, lost.len() as u64, 1], "{stream:#}\n{:#}", report["recovery"]);
}

#[test]
fn what_a_line_lost_comes_back() {
    let lost = lost();
    let server = Rerequest::start(Temper::Prompt);
    let config = feed(&[&server], "");
    let run = config.start();
    send_line(udp(&run.at("itch")), COUNT, &lost);
    server.wait_for(&lost);
    let report = run.stop();
    assert_whole(&report);
    let recovery = &report["recovery"][0];
    let requests = number(recovery, "/requests");
    assert!((1..lost.len() as u64).contains(&requests), "near ones are asked for together: {recovery:#}");
    assert!(number(recovery, "/replies") >= requests, "{recovery:#}");
    assert_eq!((recovery["name"].as_str(), recovery["timeouts"].as_u64()), (Some("itch"), Some(0)));
    assert_eq!(recovery["servers"][0]["address"], json!(server.address.to_string()));
    let lines = stream(&report)["lines"].as_array().expect("lines").clone();
    let line = lines.iter().find(|line| line["name"] == "recovery").expect("a line of its own");
    assert_eq!(number(line, "/wins"), lost.len() as u64, "{line:#}");
    assert_eq!(number(stream(&report), "/recovered"), lost.len() as u64, "{:#}", stream(&report));
}

#[test]
fn what_comes_back_is_delivered_in_its_place() {
    let lost = lost();
    let server = Rerequest::start(Temper::Prompt);
    let config = feed(&[&server], IN_ORDER);
    let run = config.start();
    send_line(udp(&run.at("itch")), COUNT, &lost);
    server.wait_for(&lost);
    let report = run.stop();
    assert_whole(&report);
    let stream = stream(&report);
    assert!(number(stream, "/held") > 0, "{stream:#}");
    assert_eq!((number(stream, "/stale"), number(stream, "/times_stale")), (0, 0), "{stream:#}");
}

#[test]
fn what_nobody_brings_is_given_up_in_time() {
    let lost = BTreeSet::from([50, 51, 200]);
    let server = Rerequest::start(Temper::Silent);
    let keys = "round_trip_ms = 5\nbackoff_max_ms = 20\ngive_up_ms = 200\n";
    let config = feed(&[&server], &format!("{keys}{IN_ORDER}"));
    let run = config.start();
    send_line(udp(&run.at("itch")), COUNT, &lost);
    server.wait_for(&lost);
    // It is asked every 20 ms for as long as there is hope.
    while server.asked.recv_timeout(Duration::from_millis(500)).is_ok() {}
    let report = run.stop();
    assert_lost(&report, &lost);
    assert_eq!(stream(&report)["status"], "stale", "{:#}", stream(&report));
    assert!(number(stream(&report), "/held") > 0, "{:#}", stream(&report));
    assert_eq!(number(&report, "/ledger/messages/accepted"), COUNT - lost.len() as u64);
}

#[test]
fn a_server_that_gives_one_datagram_a_time_is_asked_for_the_rest() {
    let lost: BTreeSet<u64> = (101..=165).collect();
    let server = Rerequest::start(Temper::OneDatagram);
    let config = feed(&[&server], "round_trip_ms = 5");
    let run = config.start();
    send_line(udp(&run.at("itch")), COUNT, &lost);
    while server.asked.recv().expect("it serves").numbers != (161..166) {}
    let report = run.stop();
    assert_whole(&report);
    assert_eq!(number(&report, "/recovery/0/timeouts"), 0, "{:#}", report["recovery"]);
}

#[test]
fn answers_that_come_late_are_taken_and_their_copies_counted() {
    let lost: BTreeSet<u64> = (101..=120).collect();
    let server = Rerequest::start(Temper::Late(Duration::from_millis(50)));
    let config = feed(&[&server], "");
    let run = config.start();
    send_line(udp(&run.at("itch")), COUNT, &lost);
    server.wait_for(&lost);
    server.wait_for(&lost);
    let report = run.stop();
    assert_whole(&report);
    assert!(number(stream(&report), "/duplicates") >= 20, "{:#}", stream(&report));
}

#[test]
fn wrong_answers_change_nothing_and_are_counted() {
    for (temper, reason) in [
        (Temper::WrongSession, "/not_asked_for"),
        (Temper::Ahead, "/not_asked_for"),
        (Temper::Noise, "/packet_too_short"),
    ] {
        let lost = BTreeSet::from([50, 51, 200]);
        let server = Rerequest::start(temper);
        let config = feed(&[&server], "round_trip_ms = 5");
        let run = config.start();
        send_line(udp(&run.at("itch")), COUNT, &lost);
        server.wait_for(&lost);
        let report = run.stop();
        assert_lost(&report, &lost);
        let rejected = number(&report["ledger"]["frames"]["rejected"], reason);
        assert!(rejected > 0, "{temper:?}: {:#}", report["ledger"]["frames"]);
    }
}

#[test]
fn a_silent_server_is_left_for_the_next() {
    let lost = lost();
    let silent = Rerequest::start(Temper::Silent);
    let alive = Rerequest::start(Temper::Prompt);
    let config = feed(&[&silent, &alive], "round_trip_ms = 10\nattempts = 2");
    let run = config.start();
    send_line(udp(&run.at("itch")), COUNT, &lost);
    alive.wait_for(&lost);
    let report = run.stop();
    assert_whole(&report);
    let recovery = &report["recovery"][0];
    assert!(number(recovery, "/servers/0/timeouts") > 0, "{recovery:#}");
    assert_eq!([number(recovery, "/servers/0/replies"), number(recovery, "/server_switches")], [0, 1]);
    assert_eq!(number(recovery, "/servers/1/timeouts"), 0, "{recovery:#}");
}

#[test]
fn without_a_server_the_line_goes_on_and_the_loss_is_told() {
    let lost = lost();
    let nobody = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let silent = Rerequest::start(Temper::Silent);
    let keys = format!("servers = ['{nobody}', '{}']", silent.address);
    let recovery = format!("[listen.recovery]\nprotocol = 'moldudp64'\nround_trip_ms = 5\n{keys}\n");
    let config = Config::new(&(listener("itch", "udp", LINE) + &recovery));
    let run = config.start();
    send_line(udp(&run.at("itch")), COUNT, &lost);
    silent.wait_for(&lost);
    let report = run.stop();
    assert_lost(&report, &lost);
    assert!(number(&report, "/recovery/0/timeouts") > 0);
}

#[test]
fn strangers_are_not_heard() {
    let lost = BTreeSet::from([50, 51, 200]);
    let server = Rerequest::start(Temper::Silent);
    let config = feed(&[&server], "local = '127.0.0.1:0'");
    let run = config.start();
    send_line(udp(&run.at("itch")), COUNT, &lost);
    let asked = server.asked.recv().expect("a request");
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    stranger.send_to(&packet(SESSION, asked.numbers), asked.from).expect("sent");
    // A round trip later, so that it was looked at.
    server.wait_for(&lost);
    let report = run.stop();
    assert_lost(&report, &lost);
    assert_eq!(number(&report["ledger"]["frames"]["rejected"], "/source_not_allowed"), 1);
}
