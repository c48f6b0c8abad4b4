//! Every policy for every class, and mixes of them, under several times the load that processors take.

use crate::rig::{Plan, Ran, Reference, Rig, reference};
use crate::script::Trouble;
use crate::storm::Dice;
use sluice::event::{Class, DeadReason, Overflow, ShedReason};

/// Passes over the captures in each run.
const LOOPS: usize = 2;

/// Types that make up much of the captures get classes of their own here, so that each class has something to lose: IEX's
/// quotes and ITCH's new orders are urgent, CME's snapshots and ITCH's deletions are not.
const CLASSES: &str = "
[classes.iex-tp]
Q = \"realtime\"
[classes.moldudp64-itch50]
A = \"realtime\"
D = \"batch\"
";

const POLICIES: [Overflow; 4] =
    [Overflow::Block, Overflow::DropOldest, Overflow::DropNewest, Overflow::Conflate];

fn queue_full(class: Class) -> ShedReason {
    match class {
        Class::Realtime => ShedReason::RealtimeQueueFull,
        Class::Transactional => ShedReason::TransactionalQueueFull,
        Class::Batch => ShedReason::BatchQueueFull,
    }
}

/// A plan with everything that its policies leave open thrown by dice.
fn plan(seed: u64, policies: [Overflow; 3], workers: usize, helpers: bool) -> Plan {
    let mut dice = Dice(seed);
    let waits = policies.contains(&Overflow::Block);
    let places = [(); 3].map(|()| 64 << dice.below(5));
    let all: u64 = places.iter().sum::<u64>();
    // Every second pool is smaller than what the queues have places for.
    let slots = dice.one_in(2).then(|| [1, 2, 4, 8].map(|part| ((all / 2 / part) as u32).max(64)));
    Plan {
        seed,
        policies,
        waits,
        places: places.map(|places| places as usize),
        slots,
        workers,
        helpers,
        load: 2 + dice.below(7),
        trouble: Trouble { panics: 5_000, refuses: 700, parks: 900 },
        loops: LOOPS,
        letters_per_second: 1_000_000,
        tables: CLASSES.to_owned(),
    }
}

/// What each run promises for its policies.
fn check(plan: &Plan, ran: &Ran, reference: &Reference) {
    ran.check_order(plan, reference);
    let all: u64 = reference.by_class.iter().sum();
    assert_eq!(ran.ledger.events.accepted + ran.without_slot(), all, "{plan:?}");
    if plan.policies == [Overflow::Block; 3] {
        let by_hand: u64 = [
            DeadReason::HandlerFailed,
            DeadReason::HandlerPanicked,
            DeadReason::RetryFull,
            DeadReason::Stopped,
        ]
        .map(|reason| ran.dead(reason))
        .iter()
        .sum();
        assert_eq!(
            ran.ledger.events.delivered + by_hand,
            all,
            "blocked, and lost: {}\n{plan:?}",
            ran.losses()
        );
    }
    // Without the level's help, nothing is shed for pressure.
    assert_eq!(
        [ShedReason::PressureBatch, ShedReason::PressureTransactional].map(|shed| ran.shed(shed)),
        [0; 2]
    );
    assert_eq!(ran.letters(DeadReason::Evicted, Class::Realtime), 0, "a realtime event gave way; {plan:?}");
    if ran.letters_not_written > 0 {
        // Only what was written tells of which class it was.
        return;
    }
    for class in Class::ALL {
        let policy = plan.policies[class as usize];
        let oldest = ran.letters(DeadReason::DroppedOldest, class);
        let conflated = ran.letters(DeadReason::Conflated, class);
        let shed = ran.shed(queue_full(class));
        let told = format!("{}: {oldest} oldest, {conflated} conflated, {shed} shed; {plan:?}", class.name());
        match policy {
            Overflow::Block => assert_eq!((oldest, conflated, shed), (0, 0, 0), "{told}"),
            Overflow::DropOldest => assert_eq!(conflated, 0, "{told}"),
            Overflow::DropNewest => assert_eq!((oldest, conflated), (0, 0), "{told}"),
            Overflow::Conflate => {}
        }
        // A less urgent one that finds all its places taken by realtime events has none to give up.
        let gives_up_older = matches!(policy, Overflow::DropOldest | Overflow::Conflate);
        assert!(!(gives_up_older && class == Class::Realtime) || shed == 0, "{told}");
    }
}

#[expect(clippy::print_stderr, reason = "the figures of a run are shown with --nocapture")]
fn run(plan: &Plan, reference: &Reference) -> Option<Ran> {
    let ran = Rig::start(plan, Some(reference))?.run();
    let names = plan.policies.map(Overflow::name).join("/");
    eprintln!(
        "seed {} {names} x{} workers {} helpers {} places {:?} slots {:?}: {}",
        plan.seed,
        plan.load,
        plan.workers,
        plan.helpers,
        plan.places,
        plan.slots,
        ran.losses()
    );
    check(plan, &ran, reference);
    Some(ran)
}

#[test]
fn each_policy_does_what_it_says_and_nothing_is_lost_without_a_name() {
    let Some(reference) = reference(LOOPS, CLASSES) else { return };
    assert!(reference.by_class.iter().all(|count| *count > 5_000), "{:?}", reference.by_class);
    let mut seed = 0;
    for policy in POLICIES {
        let mut lost = 0;
        for (workers, helpers) in [(1, false), (3, false), (3, true)] {
            seed += 1;
            let Some(ran) = run(&plan(seed, [policy; 3], workers, helpers), &reference) else { return };
            assert_eq!(ran.lent > 0, helpers, "helpers are lent something, if there are any");
            assert!(ran.log.panicked > 0 && ran.log.delivered_later > 0);
            lost += match policy {
                Overflow::Block => 1,
                Overflow::DropOldest => ran.dead(DeadReason::DroppedOldest),
                Overflow::DropNewest => Class::ALL.map(|class| ran.shed(queue_full(class))).iter().sum(),
                Overflow::Conflate => ran.dead(DeadReason::Conflated),
            };
        }
        assert!(lost > 0, "no run with {} was one too much", policy.name());
    }
}

#[test]
fn mixes_of_policies_do_what_each_of_them_says() {
    let Some(reference) = reference(LOOPS, CLASSES) else { return };
    let mut dice = Dice(7);
    let mut evicted = 0;
    for seed in 100..114 {
        let policies = [(); 3].map(|()| POLICIES[dice.below(4) as usize]);
        let workers = [1, 3][dice.below(2) as usize];
        let mut plan = plan(seed, policies, workers, workers == 3 && dice.one_in(2));
        // A storm of letters is counted, not written.
        plan.letters_per_second = if dice.one_in(3) { 100 } else { plan.letters_per_second };
        let Some(ran) = run(&plan, &reference) else { return };
        evicted += ran.dead(DeadReason::Evicted);
    }
    assert!(evicted > 0, "no realtime event ever took another's place");
}
