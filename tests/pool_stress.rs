//! A million tickets through pools, queues and return rings on four threads: contents, counts and order per shard.
//! Under the thread sanitizer it also shows that no slot is read and written at once (command: tests/rings/lib.rs).

#![cfg(not(loom))]

use sluice::event::{Class, EventHeader, ShardId};
use sluice::pool::{Pool, PoolPlan, Returns, SlotReader, Ticket};
use sluice::queue::{QueueConsumer, QueueProducer, queue};
use std::thread;

const SHARDS: usize = 2;
const EVENTS_PER_SHARD: u64 = 500_000;
const BATCH: usize = 64;
/// Fewer slots than events by far, so that every slot goes round many times, and queues too small for all slots.
const PLAN: PoolPlan = PoolPlan { slots: [700, 300, 100, 2] };
const QUEUE_PLACES: usize = 512;
const CLASSES: [Class; 2] = [Class::Realtime, Class::Batch];

/// A well-mixed word from a shard and a sequence (splitmix64), so that payloads of neighbours have nothing in common.
fn word(shard: u8, sequence: u64) -> u64 {
    let mut z = (u64::from(shard) << 56 | sequence).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The payload of an event: mostly small, now and then of the larger classes.
fn payload(shard: u8, sequence: u64, buffer: &mut Vec<u8>) -> &[u8] {
    let word = word(shard, sequence);
    let bytes = match word % 100 {
        0..90 => word as usize % 65,
        90..98 => word as usize % 193,
        _ => word as usize % 1_985,
    };
    buffer.clear();
    buffer.extend(word.to_le_bytes().into_iter().cycle().take(bytes));
    buffer
}

/// Which of the two queues an event goes to.
fn class_index(shard: u8, sequence: u64) -> usize {
    (word(shard, sequence) >> 32) as usize % CLASSES.len()
}

struct Shard {
    pool: Pool,
    producers: Vec<QueueProducer>,
}

impl Shard {
    /// Pushes what fits; takes slots home and lets others run if something is left.
    fn push(&mut self, batches: &mut [Vec<Ticket>]) {
        for (producer, batch) in self.producers.iter_mut().zip(batches) {
            while !batch.is_empty() {
                if producer.push_batch(batch) == 0 {
                    self.pool.reclaim();
                    thread::yield_now();
                }
            }
        }
    }

    fn ingest(mut self) -> (Pool, [u64; 2]) {
        let shard = self.pool.owner().0;
        let mut buffer = Vec::new();
        let mut batches = [Vec::with_capacity(BATCH), Vec::with_capacity(BATCH)];
        let mut pushed = [0; 2];
        for sequence in 0..EVENTS_PER_SHARD {
            let payload = payload(shard, sequence, &mut buffer);
            let mut ticket = loop {
                match self.pool.acquire(payload.len()) {
                    Some(ticket) => break ticket,
                    None => {
                        self.push(&mut batches);
                        if self.pool.reclaim() == 0 {
                            thread::yield_now();
                        }
                    }
                }
            };
            let header = EventHeader { sequence, ..EventHeader::default() };
            self.pool.write(&mut ticket, &header, payload);
            let class = class_index(shard, sequence);
            batches[class].push(ticket);
            pushed[class] += 1;
            if batches[class].len() == BATCH {
                self.push(&mut batches);
            }
        }
        self.push(&mut batches);
        assert_eq!([self.producers[0].pushed(), self.producers[1].pushed()], pushed);
        (self.pool, pushed)
    }
}

/// Pops until the queue is closed; checks every event; yields the events of each shard.
fn process(
    class: usize,
    mut consumer: QueueConsumer,
    readers: Vec<SlotReader>,
    mut returns: Returns,
) -> [u64; SHARDS] {
    let mut tickets = Vec::with_capacity(BATCH);
    let mut buffer = Vec::new();
    let mut counts = [0; SHARDS];
    let mut next = [0; SHARDS];
    loop {
        let closed = consumer.is_closed();
        if consumer.pop_batch(BATCH, &mut tickets) == 0 {
            if closed {
                assert!(consumer.book().high_water <= (SHARDS * QUEUE_PLACES) as u64);
                return counts;
            }
            thread::yield_now();
            continue;
        }
        for ticket in &tickets {
            let shard = ticket.owner().0;
            let event = readers[usize::from(shard)].event(ticket);
            let next = &mut next[usize::from(shard)];
            // The next event of this shard that goes to this queue: none skipped, none twice, none early.
            while class_index(shard, *next) != class {
                *next += 1;
            }
            assert_eq!(event.header.sequence, *next, "order of shard {shard}");
            assert_eq!(
                event.payload,
                payload(shard, *next, &mut buffer),
                "contents of {next} of shard {shard}"
            );
            *next += 1;
            counts[usize::from(shard)] += 1;
        }
        returns.give_back(&mut tickets);
    }
}

#[test]
fn a_million_tickets_arrive_whole_in_order_and_come_home() {
    let mut pools: Vec<Pool> = (0..SHARDS)
        .map(|shard| {
            let wish = Pool::memory_wish(None);
            Pool::create(&PLAN, ShardId(shard as u8), &wish).expect("a small pool can be made").0
        })
        .collect();
    let readers: Vec<SlotReader> = pools.iter().map(Pool::reader).collect();
    let mut producers: Vec<Vec<QueueProducer>> = pools.iter().map(|_| Vec::new()).collect();
    let mut processors = Vec::new();
    for (index, class) in CLASSES.into_iter().enumerate() {
        let (pushing, consumer) = queue(class, QUEUE_PLACES, SHARDS);
        producers.iter_mut().zip(pushing).for_each(|(shard, producer)| shard.push(producer));
        let mut returns = Returns::default();
        pools.iter_mut().for_each(|pool| returns.add(pool.attach()));
        let readers = readers.clone();
        processors.push(thread::spawn(move || process(index, consumer, readers, returns)));
    }
    let shards: Vec<_> = pools
        .into_iter()
        .zip(producers)
        .map(|(pool, producers)| thread::spawn(move || Shard { pool, producers }.ingest()))
        .collect();
    let shards: Vec<_> = shards.into_iter().map(|shard| shard.join().expect("no panic")).collect();
    let counts: Vec<_> = processors.into_iter().map(|one| one.join().expect("no panic")).collect();
    for (shard, (mut pool, pushed)) in shards.into_iter().enumerate() {
        assert_eq!([counts[0][shard], counts[1][shard]], pushed);
        assert_eq!(pushed.iter().sum::<u64>(), EVENTS_PER_SHARD);
        pool.reclaim();
        assert_eq!(pool.in_flight(), 0, "every slot of shard {shard} has come home");
        for (class, slots) in sluice::pool::SlotClass::ALL.into_iter().zip(PLAN.slots) {
            assert_eq!(pool.free(class), slots);
        }
    }
}
