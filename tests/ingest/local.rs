//! Sockets of this machine: Unix sockets and who may have their path, datagrams of every shape, groups.

use crate::client::run;
use crate::program::number;
use crate::server::{Config, by_priority, closed, counts, listener, named};
use serde_json::json;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

#[test]
fn the_20_byte_messages_of_a_foreign_engine() {
    let config = Config::new(&listener("in", "unix", "protocol = 'engine20'"));
    let server = config.start();
    run("local.py", &["engine20", &server.at("in"), "701"]);
    let report = server.stop();
    let expected = json!({"0": 101, "1": 100, "2": 100, "3": 100, "4": 100, "5": 100, "6": 100});
    assert_eq!(by_priority(&report, "in"), expected);
    assert_eq!(counts(&report, "/ledger/connections/bytes_lost"), []);
}

#[test]
fn a_socket_file_has_its_mode_and_is_gone_at_the_end() {
    let config = Config::new(&listener("in", "unix", "mode = '0620'"));
    let server = config.start();
    let there = std::fs::metadata(config.file("in.sock")).expect("the socket file");
    assert!(there.file_type().is_socket());
    assert_eq!(there.permissions().mode() & 0o7777, 0o620);
    let sent = run("senders.py", &["tcp", &server.at("in"), "500"]);
    assert_eq!(by_priority(&server.stop(), "in"), sent["sent"]);
    assert!(!config.file("in.sock").exists());
}

#[test]
fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
    let config = Config::new(&listener("in", "unix", ""));
    config.start().kill();
    assert!(config.file("in.sock").exists(), "a kill leaves it");
    let server = config.start();
    let (code, said) = config.refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a process answers on") && said.contains("in.sock"), "{said}");
    let sent = run("senders.py", &["tcp", &server.at("in"), "500"]);
    assert_eq!(by_priority(&server.stop(), "in"), sent["sent"], "the first one was not disturbed");
}

#[test]
fn a_killed_process_is_followed_at_once_at_the_same_address() {
    let config = Config::new(&listener("in", "tcp", ""));
    let server = config.start();
    let at = server.at("in");
    server.kill();
    let address = at.strip_prefix("tcp:").expect("an address");
    let config = Config::new(&listener("in", "tcp", &format!("address = '{address}'")));
    for _ in 0..3 {
        config.start().kill();
    }
    let server = config.start();
    let sent = run("senders.py", &["tcp", &at, "100"]);
    assert_eq!(by_priority(&server.stop(), "in"), sent["sent"]);
}

#[test]
fn what_is_not_ours_is_not_removed() {
    let config = Config::new(&listener("in", "unix", ""));
    std::fs::write(config.file("in.sock"), "a file").expect("written");
    let (code, said) = config.refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it is no socket"), "{said}");
    assert_eq!(std::fs::read(config.file("in.sock")).expect("there"), b"a file");
    std::fs::remove_file(config.file("in.sock")).expect("ours");
    // One that listens, and whose process never accepts.
    let foreign = UnixListener::bind(config.file("in.sock")).expect("free");
    let (code, said) = config.refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a process answers on"), "{said}");
    drop(foreign);
}

#[test]
fn datagrams_of_every_shape_have_one_fate_each() {
    let config = Config::new(&listener("in", "udp", ""));
    let server = config.start();
    let sent = run("local.py", &["datagrams", &server.at("in")]);
    let report = server.stop();
    assert_eq!(number(&report, "/ledger/connections/datagrams_dropped"), 0);
    assert_eq!(number(&report, "/ledger/frames/received"), number(&sent, "/datagrams"));
    assert_eq!(by_priority(&report, "in"), json!({"2": 2, "4": sent["sent"]}));
    assert_eq!(counts(&report, "/ledger/frames/rejected"), named(&[("packet_too_short", 2)]));
    let refused: u64 = counts(&report, "/ledger/messages/rejected").iter().map(|(_, count)| count).sum();
    assert_eq!(
        refused,
        number(&sent, "/wrong"),
        "the two short ones aside, and the two beside good frames: each one"
    );
}

#[test]
fn senders_that_are_not_allowed_are_refused() {
    let elsewhere = "allow = ['10.0.0.0/8']";
    let tables = [listener("datagrams", "udp", elsewhere), listener("stream", "tcp", elsewhere)].concat();
    let config = Config::new(&tables);
    let server = config.start();
    run("senders.py", &["udp", &server.at("datagrams"), "5"]);
    let heard = run("session.py", &["durable", &server.at("stream")]);
    let report = server.stop();
    assert_eq!(heard["heard"][0]["name"], "source_not_allowed");
    assert_eq!(counts(&report, "/ledger/frames/rejected"), named(&[("source_not_allowed", 5)]));
    assert_eq!(closed(&report), named(&[("source_not_allowed", 1)]));
    assert_eq!(number(&report, "/ledger/messages/decoded"), 0);
}

#[test]
fn a_group_is_joined() {
    let keys = "address = '0.0.0.0:0'\ngroups = ['239.255.77.1']\ninterface = 'lo'";
    let config = Config::new(&listener("in", "udp", keys));
    let server = config.start();
    let sent = run("senders.py", &["multicast", &server.at("in"), "239.255.77.1", "100"]);
    let report = server.stop();
    assert_eq!(by_priority(&report, "in"), sent["sent"]);
}
