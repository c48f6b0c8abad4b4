//! The transactional processor's promises, one by one.
//!
//! Invariant: each scenario says in its name what is promised.

use super::model::{Act, Made, content_of};
use super::{Accepting, Handler, HandlerError, TransactionBook, Transactions};
use crate::config::TransactionalSettings;
use crate::event::{DeadReason, Nanos, Protocol};
use crate::os::allocations_of_this_thread;
use crate::process::{Fate, Subject};
use std::collections::VecDeque;

const MS: Nanos = 1_000_000;

fn settings() -> TransactionalSettings {
    TransactionalSettings { dedup_entries_max: 1_024, parked_max: 16, ..TransactionalSettings::default() }
}

/// Does what it is told next.
#[derive(Debug, Default)]
struct Told {
    acts: VecDeque<Act>,
    taken: Vec<u32>,
}

impl Handler for Told {
    fn handle(&mut self, subject: &Subject<'_>, _: Nanos) -> Result<(), HandlerError> {
        match self.acts.pop_front().unwrap_or(Act::Take) {
            Act::Take => {
                self.taken.push(content_of(subject));
                Ok(())
            }
            Act::Fail => Err(HandlerError::Failed),
            Act::Refuse => Err(HandlerError::Refused),
            Act::Panic => std::panic::resume_unwind(Box::new("as told")),
        }
    }
}

fn told(acts: impl IntoIterator<Item = Act>) -> Transactions<Told> {
    let handler = Told { acts: acts.into_iter().collect(), taken: Vec::new() };
    Transactions::allocate(&settings(), handler)
}

#[test]
fn an_event_is_tried_three_times_with_growing_waits_and_dies() {
    let mut processor = told([Act::Fail; 3]);
    let event = Made::v2(1, 1, b'a', 0);
    let Fate::Parked(place) = processor.process(&event.subject(), 0) else { panic!("it waits") };
    assert_eq!((processor.due(9 * MS), processor.due(10 * MS)), (None, Some(place)));
    assert_eq!(processor.process_again(place, &event.subject(), 10 * MS), Fate::Parked(place));
    assert_eq!((processor.due(29 * MS), processor.due(30 * MS)), (None, Some(place)));
    let fate = processor.process_again(place, &event.subject(), 30 * MS);
    assert_eq!(fate, Fate::Dead(DeadReason::HandlerFailed));
    assert_eq!((processor.last_attempts(), processor.parked()), (3, 0));
    // Its id is not in the window: it may come again.
    assert_eq!(processor.process(&event.subject(), 40 * MS), Fate::Delivered);
    assert_eq!(processor.process(&event.subject(), 41 * MS), Fate::Deduplicated);
    let book = processor.book();
    assert_eq!((book.attempts, book.retried, book.succeeded_after_retry), (4, 2, 0));
}

#[test]
fn what_comes_behind_a_parked_event_of_its_key_waits_and_copies_are_judged_in_turn() {
    let mut processor = told([Act::Fail]);
    let (first, copy, next) = (Made::v2(1, 1, b'a', 10), Made::v2(1, 1, b'a', 11), Made::v2(1, 2, b'a', 12));
    let other = Made::v2(1, 3, b'b', 13);
    let mut parked = Vec::new();
    for event in [&first, &copy, &next] {
        let Fate::Parked(place) = processor.process(&event.subject(), 0) else { panic!("it waits") };
        parked.push(place);
    }
    assert_eq!(processor.process(&other.subject(), 0), Fate::Delivered, "another key goes past");
    let again = |processor: &mut Transactions<Told>, place: u32, event: &Made| {
        assert_eq!(processor.due(10 * MS), Some(place));
        processor.process_again(place, &event.subject(), 10 * MS)
    };
    assert_eq!(again(&mut processor, parked[0], &first), Fate::Delivered);
    assert_eq!(again(&mut processor, parked[1], &copy), Fate::Deduplicated);
    assert_eq!(processor.process(&Made::v2(1, 4, b'a', 14).subject(), 10 * MS), Fate::Parked(parked[1]));
    assert_eq!(again(&mut processor, parked[2], &next), Fate::Delivered);
    assert_eq!(again(&mut processor, parked[1], &Made::v2(1, 4, b'a', 14)), Fate::Delivered);
    assert_eq!(processor.handler().taken, [13, 10, 12, 14]);
    assert_eq!((processor.parked(), processor.book().parked_high_water), (0, 3));
}

#[test]
fn an_id_under_two_topics_is_one_event() {
    let mut processor = told([Act::Fail]);
    let (first, elsewhere) = (Made::v2(1, 1, b'a', 10), Made::v2(1, 1, b'b', 11));
    let Fate::Parked(place) = processor.process(&first.subject(), 0) else { panic!("it waits") };
    assert_eq!(processor.process(&elsewhere.subject(), 0), Fate::Delivered);
    assert_eq!(processor.due(10 * MS), Some(place));
    assert_eq!(processor.process_again(place, &first.subject(), 10 * MS), Fate::Deduplicated);
    assert_eq!((processor.last_attempts(), processor.handler().taken.as_slice()), (1, &[11][..]));
}

#[test]
fn a_panic_and_a_refusal_cost_one_event_each() {
    let mut processor = told([Act::Panic, Act::Refuse]);
    let event = |sequence| Made::v2(1, sequence, b'a', sequence as u32);
    assert_eq!(processor.process(&event(1).subject(), 0), Fate::Dead(DeadReason::HandlerPanicked));
    assert_eq!(processor.process(&event(2).subject(), 0), Fate::Dead(DeadReason::HandlerFailed));
    assert_eq!(processor.process(&event(3).subject(), 0), Fate::Delivered);
    let book = processor.book();
    assert_eq!((book.panicked, book.refused, book.failed, book.attempts), (1, 1, 0, 3));
}

#[test]
fn without_a_place_the_newcomer_dies_and_none_goes_past_another() {
    let mut processor = told([Act::Fail; 2]);
    for sequence in 1..=16 {
        let event = Made::v2(1, sequence, b'a', 0);
        assert!(matches!(processor.process(&event.subject(), 0), Fate::Parked(_)));
    }
    let same_key = Made::v2(1, 17, b'a', 0);
    assert_eq!(processor.process(&same_key.subject(), 0), Fate::Dead(DeadReason::RetryFull));
    assert_eq!(processor.last_attempts(), 0, "it was not shown to the handler");
    let other_key = Made::v2(1, 18, b'b', 0);
    assert_eq!(processor.process(&other_key.subject(), 0), Fate::Dead(DeadReason::RetryFull));
    assert_eq!((processor.last_attempts(), processor.parked()), (1, 16));
}

#[test]
fn equal_frames_of_version_1_are_copies_only_where_it_is_wished() {
    for (dedup_v1, second) in [(false, Fate::Delivered), (true, Fate::Deduplicated)] {
        let mut processor =
            Transactions::allocate(&TransactionalSettings { dedup_v1, ..settings() }, Accepting);
        let event = Made::v1(b'a', 7, dedup_v1);
        assert_eq!(processor.process(&event.subject(), 0), Fate::Delivered);
        assert_eq!(processor.process(&event.subject(), 1), second);
        assert_eq!(processor.process(&Made::v1(b'a', 8, dedup_v1).subject(), 1), Fate::Delivered);
        assert_eq!(processor.process(&Made::v1(b'b', 7, dedup_v1).subject(), 1), Fate::Delivered);
        let mut urgent = event.clone();
        urgent.body[0] = 1;
        assert_eq!(processor.process(&urgent.subject(), 1), Fate::Delivered, "another priority");
    }
}

#[test]
fn what_has_no_identity_passes() {
    let mut processor = Transactions::allocate(&settings(), Accepting);
    for event in [Made::v2(0, 5, b'a', 0), Made::v2(5, 0, b'a', 0), Made::new(b'a', vec![0xff; 3], None)] {
        for _ in 0..3 {
            assert_eq!(processor.process(&event.subject(), 0), Fate::Delivered);
        }
    }
    let mut market_data = Made::v2(1, 1, b'a', 0);
    market_data.header.protocol = Protocol::IexTp as u8;
    for _ in 0..3 {
        assert_eq!(processor.process(&market_data.subject(), 0), Fate::Delivered);
    }
    assert_eq!(processor.book().window_entries, 0);
}

/// Fails on every third event once, and takes it then.
#[derive(Debug, Default)]
struct Limping(u64);

impl Handler for Limping {
    fn handle(&mut self, _: &Subject<'_>, _: Nanos) -> Result<(), HandlerError> {
        self.0 += 1;
        if self.0.is_multiple_of(3) { Err(HandlerError::Failed) } else { Ok(()) }
    }
}

#[test]
fn nothing_is_allocated_after_the_start() {
    let mut processor = Transactions::allocate(&settings(), Limping::default());
    let events: Vec<Made> =
        (0..64).map(|number| Made::v2(1, number, b'a' + (number % 5) as u8, number as u32)).collect();
    let mut slots: Vec<Option<usize>> = vec![None; 16];
    let mut book = TransactionBook::default();
    let before = allocations_of_this_thread();
    for round in 0..20_000_usize {
        let now = round as Nanos * MS;
        while let Some(place) = processor.due(now) {
            let event = &events[slots[place as usize].expect("it waits there")];
            if processor.process_again(place, &event.subject(), now) != Fate::Parked(place) {
                slots[place as usize] = None;
            }
        }
        let number = round % events.len();
        if let Fate::Parked(place) = processor.process(&events[number].subject(), now) {
            slots[place as usize] = Some(number);
        }
        processor.turn(now);
        book = processor.book();
    }
    while processor.abandon().is_some() {}
    assert_eq!(allocations_of_this_thread(), before);
    assert!(book.is_balanced() && book.succeeded_after_retry > 0, "{book:?}");
}
