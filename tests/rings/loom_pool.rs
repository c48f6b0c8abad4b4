//! Interleavings of small scenarios: a ticket travels by a queue to a processor and home by a return ring.
//! What of this is model and what is product: see lib.rs. Scenarios with a number in `check` are searched up to that many
//! preemptions, those with `None` without a bound.
#![cfg(loom)]

use loom::thread;
use sluice::event::{Class, EventHeader, ShardId};
use sluice::pool::{Pool, PoolPlan, Returns, SlotReader, Ticket};
use sluice::queue::{QueueConsumer, QueueProducer, queue};
use sluice::ring_model::break_publication;

fn shard(owner: u8, slots: u32) -> Pool {
    Pool::model(&PoolPlan { slots: [slots, 0, 0, 0] }, ShardId(owner))
}

/// Accepts `events` events into the pool and pushes them, taking slots back as they come home. Yields the pool.
fn ingest(mut pool: Pool, mut producer: QueueProducer, events: u64) -> Pool {
    let owner = u64::from(pool.owner().0);
    let mut batch = Vec::new();
    for sequence in 0..events {
        let mut ticket = loop {
            if let Some(ticket) = pool.acquire(1) {
                break ticket;
            }
            if pool.reclaim() == 0 {
                thread::yield_now();
            }
        };
        let header = EventHeader { sequence, source_ns: owner, ..EventHeader::default() };
        pool.write(&mut ticket, &header, &[sequence as u8]);
        pool.header_mut(&mut ticket).publish_ns = sequence + 1;
        batch.push(ticket);
        while !batch.is_empty() {
            if producer.push_batch(&mut batch) == 0 {
                thread::yield_now();
            }
        }
    }
    assert_eq!(producer.pushed(), events);
    pool
}

/// Pops until the queue is closed, checks each event against its producer's order, and gives every ticket back.
fn process(mut consumer: QueueConsumer, readers: Vec<SlotReader>, mut returns: Returns) -> Vec<u64> {
    let mut expected = vec![0; readers.len()];
    let mut tickets: Vec<Ticket> = Vec::new();
    loop {
        // Asked before the pop: if it is closed now, a pop after it finds what is left.
        let closed = consumer.is_closed();
        if consumer.pop_batch(2, &mut tickets) == 0 {
            if closed {
                return expected;
            }
            thread::yield_now();
            continue;
        }
        assert!(!closed, "a closed queue yielded a ticket");
        for ticket in &tickets {
            let owner = usize::from(ticket.owner().0);
            let event = readers[owner].event(ticket);
            assert_eq!(event.header.sequence, expected[owner]);
            assert_eq!(event.header.publish_ns, expected[owner] + 1);
            assert_eq!(event.header.source_ns, owner as u64);
            assert_eq!(event.payload, [expected[owner] as u8]);
            expected[owner] += 1;
        }
        returns.give_back(&mut tickets);
    }
}

/// Shards with `slots` slots and `events` events each, queues of `capacity`, one processor.
fn scenario(shards: u8, slots: u32, capacity: usize, events: u64) {
    let mut pools: Vec<Pool> = (0..shards).map(|owner| shard(owner, slots)).collect();
    let (producers, consumer) = queue(Class::Transactional, capacity, pools.len());
    let mut returns = Returns::default();
    pools.iter_mut().for_each(|pool| returns.add(pool.attach()));
    let readers = pools.iter().map(Pool::reader).collect();
    let mut ingesting = pools.into_iter().zip(producers);
    let (own_pool, own_producer) = ingesting.next().expect("at least one shard");
    let others: Vec<_> =
        ingesting.map(|(pool, producer)| thread::spawn(move || ingest(pool, producer, events))).collect();
    let processor = thread::spawn(move || process(consumer, readers, returns));
    let mut pools = vec![ingest(own_pool, own_producer, events)];
    pools.extend(others.into_iter().map(|other| other.join().expect("no panic")));
    assert!(processor.join().expect("no panic").into_iter().all(|count| count == events));
    for pool in &mut pools {
        pool.reclaim();
        assert_eq!(pool.in_flight(), 0, "every slot has come home");
    }
}

fn check(preemptions: Option<usize>, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    // Loom's own limit of 1,000 is too low for three threads that yield to each other.
    builder.max_branches = 20_000;
    builder.check(run);
}

#[test]
fn one_slot_goes_round_twice() {
    check(None, || scenario(1, 1, 1, 2));
}

#[test]
fn two_slots_three_events() {
    check(Some(2), || scenario(1, 2, 2, 3));
}

#[test]
fn slots_outnumber_the_places_in_the_queue() {
    check(Some(2), || scenario(1, 2, 1, 3));
}

#[test]
fn two_shards_share_a_processor() {
    check(Some(3), || scenario(2, 1, 1, 1));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn the_model_notices_rings_that_order_nothing() {
    break_publication();
    check(None, || scenario(1, 1, 1, 2));
}
