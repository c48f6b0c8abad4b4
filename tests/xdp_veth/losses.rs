//! Frames that are lost between the program and the RX ring: each is named, and the ledger balances exactly.

use crate::rig::{Rig, TX, is_root};
use crate::setup::*;
use sluice::event::Destination;
use sluice::ledger::KernelBook;
use sluice::source::FrameSource;
use sluice::source::xdp::{AttachWish, LaneSettings, Steering, SteeringSettings, TxLane, XdpSource};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::yield_now;

/// Floods a source that is not polled, and returns its balanced book.
fn flood(settings: &LaneSettings, mode: AttachWish, frames: u64) -> KernelBook {
    let rig = Rig::new(1);
    let rules = [Destination::v4(GROUP, PORT)];
    let wish = SteeringSettings { mode, ..steering(&rules) };
    let steering = rig.in_rx(|| Steering::attach(&wish)).expect("attaches");
    let mut source = rig.in_rx(|| XdpSource::open(&steering, settings)).expect("opens");
    let packets: Vec<_> = (0..frames).map(|n| numbered(n, PORT)).collect();
    rig.in_tx(|| send_all(&mut TxLane::open(TX, &lane(0)).expect("opens"), &packets));
    while steering.program_book().expect("counters").xdp_seen < frames {
        yield_now();
    }
    let (book, drained) = close(&mut source);
    assert_eq!(book.redirected, frames);
    assert_eq!(book.received, drained);
    book
}

#[test]
fn a_full_rx_ring_loses_frames_by_that_name_only() {
    if !is_root("a_full_rx_ring_loses_frames_by_that_name_only") {
        return;
    }
    for mode in [AttachWish::NativeOnly, AttachWish::GenericOnly] {
        let book = flood(&LaneSettings { ring_entries: 64, chunks: 256, ..lane(0) }, mode, 1_000);
        assert_eq!(book.received, 64);
        assert_eq!(book.lost, [("rx_dropped", 0), ("rx_ring_full", 936)], "{mode:?}");
        assert_eq!(named(&book.notes, "fill_ring_empty"), 0, "{mode:?}");
    }
}

#[test]
fn an_empty_fill_ring_loses_frames_once_in_the_ledger() {
    if !is_root("an_empty_fill_ring_loses_frames_once_in_the_ledger") {
        return;
    }
    for mode in [AttachWish::NativeOnly, AttachWish::GenericOnly] {
        let book = flood(&LaneSettings { ring_entries: 256, chunks: 64, ..lane(0) }, mode, 1_000);
        assert_eq!(book.received, 64);
        assert_eq!(book.lost, [("rx_dropped", 936), ("rx_ring_full", 0)], "{mode:?}");
        assert!(
            named(&book.notes, "fill_ring_empty") >= 936,
            "{mode:?}: the same loss again, so it is a note"
        );
    }
}

#[test]
fn stopping_amid_traffic_balances_exactly() {
    if !is_root("stopping_amid_traffic_balances_exactly") {
        return;
    }
    let rig = Rig::new(1);
    let rules = [Destination::v4(GROUP, PORT)];
    let steering = rig.in_rx(|| Steering::attach(&steering(&rules))).expect("attaches");
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            rig.in_tx(|| {
                let mut tx = TxLane::open(TX, &lane(0)).expect("opens");
                let burst: Vec<_> = (0..64).map(|n| numbered(n, PORT)).collect();
                while running.load(Ordering::Relaxed) {
                    send_all(&mut tx, &burst);
                }
                tx.sent()
            })
        });
        let stop = Stop(&running);
        let mut sum = KernelBook::default();
        for round in 0..20 {
            // Rings small enough to lose frames of either kind, and in some rounds large enough not to.
            let (ring_entries, chunks) = [(64, 256), (256, 64), (4_096, 4_096)][round % 3];
            let settings = LaneSettings { ring_entries, chunks, ..lane(0) };
            let mut source = rig.in_rx(|| XdpSource::open(&steering, &settings)).expect("opens");
            let mut received = 0;
            while received < 500 {
                received += source.poll(0, BUDGET, &mut |_| {});
            }
            sum.absorb(&close(&mut source).0);
        }
        drop(stop);
        let sent = sender.join().expect("the sender ends");
        assert!(sum.received >= 20 * 500);
        assert!(sum.redirected <= sent);
    });
}

/// Ends the sender also when the test fails, so that it fails instead of hanging.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
