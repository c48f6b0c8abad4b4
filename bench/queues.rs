//! Question: what should carry tickets (a bundle of rtrb rings, an ArrayQueue, a channel), and what does a slot cost?
//!
//! `cargo bench --bench queues [-- --short]`. Contenders are run in interleaved rounds; compare the ratios of one
//! table, not the times of two runs. With fewer cores than threads the threaded tables measure the scheduler as well.

mod common;

use common::{Contender, compare, contender, effort};
use crossbeam::channel::{self, Receiver, Sender};
use crossbeam::queue::ArrayQueue;
use sluice::event::{Class, EventHeader, ShardId};
use sluice::pool::{Pool, PoolPlan, ReturnPort, Ticket};
use sluice::queue::{QueueConsumer, QueueProducer, queue};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Tickets moved at once, as a shard does with a burst.
const BATCH: usize = 64;
/// Places in a queue: the realtime queue's default.
const PLACES: usize = 16_384;
/// Tickets that the consumer takes between two looks at the clock.
const BLOCK: usize = 4_096;

/// A pushing end; what does not fit stays in the list.
trait Push: Send + 'static {
    fn push(&mut self, tickets: &mut Vec<Ticket>) -> usize;
}

/// A popping end.
trait Pop {
    fn pop(&mut self, max: usize, into: &mut Vec<Ticket>) -> usize;
}

impl Push for QueueProducer {
    fn push(&mut self, tickets: &mut Vec<Ticket>) -> usize {
        self.push_batch(tickets)
    }
}

impl Pop for QueueConsumer {
    fn pop(&mut self, max: usize, into: &mut Vec<Ticket>) -> usize {
        self.pop_batch(max, into)
    }
}

/// Pushes one by one from the front and leaves what `push_one` hands back, and all behind it.
fn push_each(tickets: &mut Vec<Ticket>, mut push_one: impl FnMut(Ticket) -> Result<(), Ticket>) -> usize {
    let (mut pushed, mut rest) = (0, Vec::new());
    let mut waiting = tickets.drain(..);
    for ticket in waiting.by_ref() {
        match push_one(ticket) {
            Ok(()) => pushed += 1,
            Err(ticket) => {
                rest.push(ticket);
                break;
            }
        }
    }
    rest.extend(waiting);
    *tickets = if rest.is_empty() { std::mem::take(tickets) } else { rest };
    pushed
}

impl Push for Arc<ArrayQueue<Ticket>> {
    fn push(&mut self, tickets: &mut Vec<Ticket>) -> usize {
        push_each(tickets, |ticket| ArrayQueue::push(self, ticket))
    }
}

impl Pop for Arc<ArrayQueue<Ticket>> {
    fn pop(&mut self, max: usize, into: &mut Vec<Ticket>) -> usize {
        let before = into.len();
        into.extend((0..max).map_while(|_| ArrayQueue::pop(self)));
        into.len() - before
    }
}

impl Push for Sender<Ticket> {
    fn push(&mut self, tickets: &mut Vec<Ticket>) -> usize {
        push_each(tickets, |ticket| self.try_send(ticket).map_err(|error| error.into_inner()))
    }
}

impl Pop for Receiver<Ticket> {
    fn pop(&mut self, max: usize, into: &mut Vec<Ticket>) -> usize {
        let before = into.len();
        into.extend(self.try_iter().take(max));
        into.len() - before
    }
}

fn rings(producers: usize) -> (Vec<QueueProducer>, QueueConsumer) {
    queue(Class::Transactional, PLACES / producers, producers)
}

fn array(producers: usize) -> (Vec<Arc<ArrayQueue<Ticket>>>, Arc<ArrayQueue<Ticket>>) {
    let queue = Arc::new(ArrayQueue::new(PLACES));
    (vec![Arc::clone(&queue); producers], queue)
}

fn channel(producers: usize) -> (Vec<Sender<Ticket>>, Receiver<Ticket>) {
    let (sender, receiver) = channel::bounded(PLACES);
    (vec![sender; producers], receiver)
}

fn pool(slots: u32) -> Pool {
    let plan = PoolPlan { slots: [slots, 0, 0, 0] };
    Pool::create(&plan, ShardId(0), &Pool::memory_wish(None)).expect("a pool of a few MiB can be made").0
}

fn take(pool: &mut Pool, count: usize) -> Vec<Ticket> {
    (0..count).map(|_| pool.acquire(1).expect("the pool has a slot for each")).collect()
}

fn give(pool: &mut Pool, tickets: impl IntoIterator<Item = Ticket>) {
    tickets.into_iter().for_each(|ticket| pool.release(ticket));
}

/// One thread pushes a batch and pops it: what the operations cost when nobody else is there.
fn alone<'a, P: Push, C: Pop + 'a>(
    name: &'static str,
    (mut producers, mut consumer): (Vec<P>, C),
    batches: usize,
) -> Contender<'a> {
    let mut pool = pool(BATCH as u32);
    contender(name, move |samples| {
        let mut tickets = take(&mut pool, BATCH);
        for _ in 0..batches {
            let start = Instant::now();
            let pushed = producers[0].push(&mut tickets);
            let popped = consumer.pop(BATCH, &mut tickets);
            samples.push(start.elapsed().as_nanos() as f64 / BATCH as f64);
            assert_eq!((pushed, popped), (BATCH, BATCH));
        }
        give(&mut pool, tickets);
    })
}

/// Producers on threads of their own push `each` tickets in batches; this thread takes them all.
fn across<'a, P: Push, C: Pop + 'a>(
    name: &'static str,
    make: impl Fn(usize) -> (Vec<P>, C) + 'a,
    producers: usize,
    each: usize,
) -> Contender<'a> {
    let mut pool = pool((producers * each) as u32);
    contender(name, move |samples| {
        let (ends, mut consumer) = make(producers);
        let threads: Vec<_> = ends
            .into_iter()
            .map(|mut end| {
                let mut all = take(&mut pool, each);
                thread::spawn(move || {
                    let mut batch = Vec::with_capacity(BATCH);
                    while !all.is_empty() {
                        batch.extend(all.drain(all.len() - BATCH.min(all.len())..));
                        while !batch.is_empty() {
                            if end.push(&mut batch) == 0 {
                                thread::yield_now();
                            }
                        }
                    }
                })
            })
            .collect();
        let mut taken = Vec::with_capacity(producers * each);
        let (mut start, mut block) = (Instant::now(), BLOCK);
        while taken.len() < producers * each {
            if consumer.pop(BATCH, &mut taken) == 0 {
                thread::yield_now();
            }
            if taken.len() >= block {
                let now = Instant::now();
                samples.push((now - start).as_nanos() as f64 / BLOCK as f64);
                (start, block) = (now, block + BLOCK);
            }
        }
        threads.into_iter().for_each(|thread| thread.join().expect("a producer only pushes"));
        give(&mut pool, taken);
    })
}

/// A burst of slots acquired and written, and then taken back in one of two ways.
fn slots<'a>(name: &'static str, payload_bytes: usize, port: bool, bursts: usize) -> Contender<'a> {
    let plan = PoolPlan { slots: [4_096, 4_096, 256, 0] };
    let wish = Pool::memory_wish(None);
    let (mut pool, _) = Pool::create(&plan, ShardId(0), &wish).expect("a pool of a few MiB can be made");
    let mut port: Option<ReturnPort> = port.then(|| pool.attach());
    let payload = vec![7u8; payload_bytes];
    contender(name, move |samples| {
        let mut tickets = Vec::with_capacity(BATCH);
        for sequence in 0..bursts as u64 {
            let header = EventHeader { sequence, ..EventHeader::default() };
            let start = Instant::now();
            for _ in 0..BATCH {
                let Some(mut ticket) = pool.acquire(payload.len()) else { break };
                pool.write(&mut ticket, &header, &payload);
                tickets.push(ticket);
            }
            assert_eq!(tickets.len(), BATCH);
            match &mut port {
                Some(port) => {
                    port.give_back(&mut tickets);
                    assert_eq!(pool.reclaim(), BATCH);
                }
                None => tickets.drain(..).for_each(|ticket| pool.release(ticket)),
            }
            samples.push(start.elapsed().as_nanos() as f64 / BATCH as f64);
        }
    })
}

fn main() {
    let effort = effort();
    let batches = if effort.short { 200 } else { 2_000 };
    // Whole blocks, so that the last one is measured too.
    let each = BLOCK * if effort.short { 8 } else { 64 };
    compare(
        "push 64 and pop 64, one thread",
        effort,
        &mut [
            alone("bundle of rtrb", rings(1), batches),
            alone("ArrayQueue", array(1), batches),
            alone("crossbeam channel", channel(1), batches),
        ],
    );
    for producers in [1, 2] {
        let each = each / producers;
        compare(
            &format!("batches of 64 over {producers} producer(s) and 1 consumer, a thread each"),
            effort,
            &mut [
                across("bundle of rtrb", rings, producers, each),
                across("ArrayQueue", array, producers, each),
                across("crossbeam channel", channel, producers, each),
            ],
        );
    }
    compare(
        "pool: acquire, write and take back, bursts of 64",
        effort,
        &mut [
            slots("40 B, release", 40, false, batches),
            slots("40 B, return ring and reclaim", 40, true, batches),
            slots("192 B, release", 192, false, batches),
            slots("1,472 B, release", 1_472, false, batches),
        ],
    );
}
