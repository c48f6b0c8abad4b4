//! A flood: frames are lost, and every lost one is named.

use crate::live::{ITCH, Lab, feeds};
use crate::program::{number, total};
use crate::rig::is_root;
use sluice::replay::synthetic::itch_session;

#[test]
fn a_flood_over_tiny_rings_balances_with_the_loss_named() {
    if !is_root("a_flood_over_tiny_rings_balances_with_the_loss_named") {
        return;
    }
    let lab = Lab::new(1);
    let session = itch_session(8, 8_000);
    let file = lab.capture("itch.pcap", &session.packets);
    let running = lab.start(&lab.config(&format!("ring_entries = 64\n{}", feeds(&[ITCH]))), &[]);
    // A stopped process takes nothing from its rings: all but a few of these frames are lost for certain.
    running.signal("STOP");
    let first = lab.send(&file, &["--speed", "max"]);
    running.signal("CONT");
    // And this is a race, with whatever outcome.
    let second = lab.send(&file, &["--speed", "max", "--loop", "5"]);
    running.signal("TERM");
    let report = running.end();
    let lost = total(&report, "/ledger/kernel/lost");
    let seen = number(&report, "/ledger/kernel/xdp_seen");
    assert!(lost > first - 1_000 && lost < first + second, "{:#}", report["ledger"]["kernel"]);
    assert!(seen <= first + second && seen > lost, "{:#}", report["ledger"]["kernel"]);
    assert_eq!(number(&report, "/ledger/kernel/redirected"), seen);
    let stream = &report["streams"][0];
    assert_eq!(number(stream, "/expected"), number(stream, "/seen") + number(stream, "/missing"));
    assert!(number(stream, "/accepted") > 0);
}

#[test]
fn queues_that_are_too_small_give_up_by_name() {
    if !is_root("queues_that_are_too_small_give_up_by_name") {
        return;
    }
    overflows("", "dead_lettered/dropped_oldest");
    overflows("[queues.overflow]\ntransactional = 'drop-newest'\n", "shed/transactional_queue_full");
}

/// What queues that are too small have no place for is in the counter of that name, by this policy.
fn overflows(policy: &str, counter: &str) {
    let lab = Lab::new(1);
    let session = itch_session(9, 20_000);
    let file = lab.capture("itch.pcap", &session.packets);
    let small = "[queues]\nrealtime_capacity = 64\ntransactional_capacity = 64\nbatch_capacity = 64\n";
    // The pressure of the control plane would shed by itself.
    let calm = "[control]\nenabled = false\n";
    let mut running = lab.start(&lab.config(&format!("{}{small}{policy}{calm}", feeds(&[ITCH]))), &[]);
    // What piles up in the ring of a stopped process comes in full bursts afterwards: more events than places.
    running.signal("STOP");
    let sent = lab.send(&file, &["--speed", "max"]);
    running.signal("CONT");
    running.wait_for_frames(sent);
    running.signal("TERM");
    let report = running.end();
    assert_eq!(total(&report, "/ledger/kernel/lost"), 0);
    assert_eq!(number(&report, "/ledger/messages/accepted"), session.counts.messages);
    let given_up = number(&report, &format!("/ledger/events/{counter}"));
    assert!(given_up > 0, "{:#}", report["ledger"]["events"]);
    let high_water = number(&report, "/queues/transactional/high_water");
    assert!(high_water <= 64, "{high_water}");
}
