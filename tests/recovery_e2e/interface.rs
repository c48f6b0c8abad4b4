//! A feed that comes by XDP: what is lost on the wire is asked for through the kernel's own network on the same interface.

use crate::client::{Replay, deletions, message_file};
use crate::program::number;
use crate::recorder::Recorder;
use crate::rig::{RX, Rig, TX, is_root, run};
use nix::sys::signal::Signal;
use sluice::config::Settings;
use sluice::source::xdp::{AttachWish, LaneSettings, Steering, SteeringSettings, XdpSource};

const COUNT: u64 = 50_000;

/// The interface, the feed on it, and its server at the other end.
fn config() -> String {
    format!(
        "[[interface]]\nname = '{RX}'\nattach = 'native'\nzero_copy = 'never'\n\
         [[feed]]\nname = 'itch'\nprotocol = 'moldudp64-itch50'\n\
         lines = [{{ name = 'A', destination = '233.252.0.1:26477' }}]\n\
         [feed.integrity]\ndelivery = 'in-order'\n\
         [feed.recovery]\nprotocol = 'moldudp64'\nservers = ['10.9.0.1:27120']\nround_trip_ms = 10\n"
    )
}

/// A rig whose ends find each other's addresses, as hosts on a network do.
fn neighbours() -> Rig {
    let rig = Rig::new(1);
    rig.in_rx(|| run("ip", &format!("link set {RX} arp on")));
    rig.in_tx(|| run("ip", &format!("link set {TX} arp on")));
    rig
}

fn lane(text: &str) -> (Steering, XdpSource) {
    let settings = Settings::from_text(text, "the test").unwrap_or_else(|error| panic!("{error}"));
    let steering = Steering::attach(&SteeringSettings {
        interface: RX.to_owned(),
        rules: settings.lines_by(RX).map(|line| line.destination).collect(),
        hardware_time: true,
        napi_threads: false,
        mode: AttachWish::NativeOnly,
    });
    let steering = steering.unwrap_or_else(|error| panic!("{error}"));
    let source = XdpSource::open(&steering, &LaneSettings::of_queue(0));
    (steering, source.unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn what_an_interface_did_not_bring_comes_back_in_its_place() {
    if !is_root("what_an_interface_did_not_bring_comes_back_in_its_place") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = deletions(COUNT);
    let file = message_file(folder.path(), &messages);
    let rig = neighbours();
    let recorded = rig.in_rx(|| {
        let text = config();
        let (steering, source) = lane(&text);
        let mut recorder = Recorder::start(&text, vec![source]);
        let to = format!("iface:{TX}");
        let line = ["--to", &to, "--dst-ip", "233.252.0.1", "--dst-port", "26477", "--pps", "500"];
        let faults = ["--loss", "1%", "--seed", "3", "--rerequest-loss", "10%", "--rerequest-linger", "1h"];
        let words = [&line[..], &faults].concat();
        let replay = rig.in_tx(|| Replay::start_at("10.9.0.1:27120", &file, folder.path(), &words));
        recorder.run_until(|recorder| recorder.seen.len() as u64 == COUNT);
        replay.signal(Signal::SIGINT);
        let (sent, _) = replay.end();
        assert!(number(&sent, "/faults/lines/0/lost") > 0, "{:#}", sent["faults"]);
        let recorded = recorder.end();
        steering.detach();
        recorded
    });
    recorded.assert_whole(&messages);
    let book = &recorded.stream("itch").book;
    assert_eq!((book.missing, book.gaps, book.times_stale), (0, 0, 0), "{book:#?}");
    assert!(book.recovered > 0 && book.held > 0, "{book:#?}");
}
