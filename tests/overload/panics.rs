//! A processor that panics: it costs the event that it was shown, and nothing else.

use crate::rig::{Plan, Rig, reference};
use crate::script::Trouble;
use sluice::event::{Class, DeadReason};

#[test]
fn a_panic_costs_its_event_and_the_run_goes_on() {
    let Some(reference) = reference(1, "") else { return };
    let plan = Plan { trouble: Trouble { panics: 300, ..Trouble::default() }, ..Plan::roomy() };
    let Some(rig) = Rig::start(&plan, None) else { return };
    let ran = rig.run();
    let (all, panicked) = (reference.shown.len() as u64, ran.log.panicked);
    assert!(panicked > all / 600, "{panicked} of {all}");
    assert_eq!(ran.ledger.events.accepted, all);
    assert_eq!(
        (ran.ledger.events.delivered, ran.dead(DeadReason::HandlerPanicked)),
        (all - panicked, panicked)
    );
    let letters: u64 = Class::ALL.map(|class| ran.letters(DeadReason::HandlerPanicked, class)).iter().sum();
    assert_eq!((letters, ran.letters_not_written), (panicked, 0), "each has its letter");
    ran.check_order(&plan, &reference);
}
