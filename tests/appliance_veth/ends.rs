//! How a run ends: by signals, by its time, by a kill; and what stands in the way of another one.

use crate::live::{ITCH, Lab, feeds};
use crate::program::{number, text, word};
use crate::rig::{RX, is_root};
use sluice::replay::synthetic::itch_session;
use std::process::Command;

/// Whether a program is attached to the receiving end.
fn is_attached(lab: &Lab) -> bool {
    let show = || Command::new("ip").args(["-d", "link", "show", "dev", RX]).output();
    let output = lab.rig.in_rx(show).expect("it starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).contains("prog/xdp")
}

#[test]
fn signals_end_a_run_with_closed_books() {
    if !is_root("signals_end_a_run_with_closed_books") {
        return;
    }
    let lab = Lab::new(1);
    let file = lab.capture("itch.pcap", &itch_session(10, 2_000).packets);
    let config = lab.config(&feeds(&[ITCH]));
    for name in ["TERM", "INT"] {
        let mut running = lab.start(&config, &[]);
        assert!(is_attached(&lab));
        let sent = lab.send(&file, &["--pps", "20000"]);
        running.wait_for_frames(sent);
        // More is on the way while the signal comes.
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| lab.send(&file, &["--pps", "20000"]));
            running.signal(name);
            let report = running.end();
            assert!(number(&report, "/ledger/frames/received") >= sent, "{name}");
            assert_eq!(report["streams"][0]["accepted"], 2_000, "{name}");
            sending.join().expect("it is sent");
        });
        assert!(!is_attached(&lab), "{name}");
    }
}

#[test]
fn a_run_ends_after_its_time() {
    if !is_root("a_run_ends_after_its_time") {
        return;
    }
    let lab = Lab::new(1);
    let running = lab.start(&lab.config(&feeds(&[ITCH])), &["--duration", "300ms"]);
    let report = running.end();
    assert_eq!(number(&report, "/ledger/frames/received"), 0);
    assert!(report["elapsed_s"].as_f64().is_some_and(|seconds| seconds >= 0.3));
    assert!(!is_attached(&lab));
}

#[test]
fn a_second_run_is_refused_and_a_killed_one_leaves_nothing() {
    if !is_root("a_second_run_is_refused_and_a_killed_one_leaves_nothing") {
        return;
    }
    let lab = Lab::new(1);
    let file = lab.capture("itch.pcap", &itch_session(11, 2_000).packets);
    let config = lab.config(&feeds(&[ITCH]));
    let running = lab.start(&config, &[]);
    let second = lab.at_rx(&["run", "--config", word(&config)]);
    let message = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{message}");
    assert!(message.contains(RX) && message.contains("another running sluice"), "{message}");
    assert!(is_attached(&lab), "the first one goes on");
    running.signal("KILL");
    running.end_of_killed();
    let mut running = lab.start(&config, &[]);
    let sent = lab.send(&file, &["--pps", "20000"]);
    running.wait_for_frames(sent);
    running.signal("TERM");
    let report = running.end();
    assert_eq!(number(&report, "/ledger/kernel/xdp_seen"), sent);
    assert_eq!(number(&report, "/ledger/frames/decoded"), sent);
    assert!(!is_attached(&lab));
}
