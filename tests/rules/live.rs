//! A set of rules is replaced while events are evaluated, on another thread.

use crate::reference::Event;
use sluice::agents::{RuleDesk, RuleLoadError, alert_way};
use sluice::config::RuleSet;
use sluice::event::{EventHeader, Protocol};
use sluice::ledger::Knobs;
use sluice::os::allocations_of_this_thread;
use sluice::process::rules::Places;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Rules that all fire on every event; how many, and what they are called, is the set's.
fn set(number: u32) -> RuleSet {
    let rules = 1 + number % 7;
    let rule = |at| {
        let (wanted, seconds) = (["sequence", "payload_bytes"][at as usize % 2], 1 + number % 3);
        format!(
            "[[rule]]\nid = 'rule-{at}-of-{rules}'\npredicates = [{{ field = '{wanted}', op = '>=', value = 0 }}]\n\
             window = {{ count = 1, seconds = {seconds} }}\n"
        )
    };
    let text: String = (0..rules).map(rule).collect();
    RuleSet::from_text(&text, "made up").expect("is right")
}

#[test]
fn no_event_is_evaluated_against_half_a_set() {
    const SETS: u32 = 400;
    let (mut desk, mut engine, mut inbox) = RuleDesk::open(&set(1), Places::default()).expect("opens");
    let (mut port, mut reader) = alert_way(Knobs::default());
    let stops = AtomicBool::new(false);
    let seen = AtomicU32::new(0);
    let (evaluated, taken) = std::thread::scope(|scope| {
        let processor = scope.spawn(|| {
            let header = EventHeader { protocol: Protocol::IexTp as u8, ..EventHeader::default() };
            let mut event = Event { feed: 0, header, payload: vec![1, 2, 3] };
            let (mut evaluated, mut taken) = (0u64, 0u32);
            let before = allocations_of_this_thread();
            while !stops.load(Ordering::Relaxed) {
                event.header.sequence += 1;
                taken += u32::from(inbox.take(&mut engine));
                let (mut version, mut count) = (0, 0);
                engine.evaluate(&event.subject(), evaluated, &mut |alert| {
                    assert!(version == 0 || version == alert.version, "two sets on one event");
                    (version, count) = (alert.version, count + 1);
                    port.tell(alert);
                });
                // The version's number says how many rules it has.
                assert_eq!(count, 1 + version % 7, "set {version}");
                seen.store(version, Ordering::Relaxed);
                evaluated += 1;
            }
            assert_eq!(allocations_of_this_thread(), before);
            (evaluated, taken)
        });
        for number in 2..=SETS {
            while let Err(error) = desk.load(&set(number)) {
                assert!(matches!(error, RuleLoadError::Waiting), "{error}");
                while reader.pop().is_some() {}
                std::thread::yield_now();
            }
            assert_eq!(desk.version(), number);
        }
        while seen.load(Ordering::Relaxed) < SETS {
            while reader.pop().is_some() {}
            desk.collect();
            std::thread::yield_now();
        }
        stops.store(true, Ordering::Relaxed);
        processor.join().expect("no panic")
    });
    assert_eq!(taken, SETS - 1);
    assert!(evaluated >= u64::from(SETS));
    // What all sets counted together is what was evaluated: nothing is lost with a program.
    let totals = desk.totals(engine.program());
    let of =
        |id: &str| totals.iter().filter(|(name, _)| name.starts_with(id)).map(|(_, c)| c.fired).sum::<u64>();
    assert_eq!(of("rule-0-"), evaluated);
    assert_eq!(
        totals.iter().map(|(_, counts)| counts.evaluated).sum::<u64>(),
        totals.iter().map(|(_, c)| c.fired).sum::<u64>()
    );
}
