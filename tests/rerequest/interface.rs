//! `sluice replay --to iface:… --rerequest`: heartbeats behind the last frame go onto the interface too, with whole headers.

use crate::client::{FILE_SESSION, Replay, ask, deletions, hear, hear_line, message_file};
use crate::program::number;
use crate::rig::{RX, Rig, TX, is_root, run};
use nix::sys::signal::Signal;
use std::net::UdpSocket;
use std::process::Command;

#[test]
fn a_line_on_an_interface_ends_in_heartbeats() {
    if !is_root("a_line_on_an_interface_ends_in_heartbeats") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(200);
    let file = message_file(folder.path(), &messages);
    let rig = Rig::new(1);
    // The capture's sender is none that a route leads back to.
    run("ip", &format!("netns exec {} sysctl -qw net.ipv4.conf.all.rp_filter=0", rig.rx_namespace()));
    run("ip", &format!("netns exec {} sysctl -qw net.ipv4.conf.{RX}.rp_filter=0", rig.rx_namespace()));
    let line = rig.in_rx(|| UdpSocket::bind("10.9.0.2:27102").expect("a port is free"));
    let shown = Command::new("ip").args(["-n", rig.rx_namespace(), "-o", "link", "show", RX]).output();
    let shown = crate::program::text(&shown.expect("ip runs").stdout);
    let mac = shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).expect("an address");
    let words =
        ["--to", &format!("iface:{TX}"), "--dst-ip", "10.9.0.2", "--dst-port", "27102", "--dst-mac", mac];
    let words = [&words[..], &["--speed", "max", "--rerequest-linger", "1h"]].concat();
    let report = rig.in_tx(|| {
        run("ip", "link set lo up");
        let replay = Replay::start(&file, folder.path(), &words);
        let (heard, next) = hear_line(&line);
        assert!(heard.values().eq(&messages));
        assert_eq!((next, hear(&line).sequence), (201, 201));
        assert_eq!(ask(replay.requests, FILE_SESSION, 200, 1).bodies, messages[199..]);
        replay.signal(Signal::SIGINT);
        replay.end().0
    });
    assert!(number(&report, "/rerequest/heartbeats") >= 2);
    assert_eq!(number(&report, "/rerequest/replies"), 1);
}
