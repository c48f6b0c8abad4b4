//! What carries tickets from thread to thread: Sluice's queue and what could stand in its place, alone and across threads.
//!
//! Invariant: whatever carries them, the same items move in the same batches, and all of them arrive.

use crate::common::{Contender, contender};
use crossbeam::channel::{self, Receiver, Sender};
use crossbeam::queue::ArrayQueue;
use sluice::event::{Class, ShardId};
use sluice::pool::{Pool, PoolPlan, Ticket};
use sluice::queue::{QueueConsumer, QueueProducer, queue};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Tickets moved at once, as a shard does with a burst.
pub(crate) const BATCH: usize = 64;
/// Places in a queue: the realtime queue's default.
pub(crate) const PLACES: usize = 16_384;
/// Items that the consumer takes between two looks at the clock.
pub(crate) const BLOCK: usize = 4_096;

/// What is carried.
pub(crate) trait Item: Sized + Send + 'static {
    /// So many of them.
    fn take(pool: &mut Pool, count: usize) -> Vec<Self>;
    /// They are not needed any more.
    fn give(pool: &mut Pool, items: Vec<Self>);
}

impl Item for Ticket {
    fn take(pool: &mut Pool, count: usize) -> Vec<Ticket> {
        (0..count).map(|_| pool.acquire(1).expect("the pool has a slot for each")).collect()
    }

    fn give(pool: &mut Pool, items: Vec<Ticket>) {
        items.into_iter().for_each(|ticket| pool.release(ticket));
    }
}

/// A pushing end; what does not fit stays in the list.
pub(crate) trait Push: Send + 'static {
    type Item: Item;
    fn push(&mut self, items: &mut Vec<Self::Item>) -> usize;
}

/// A popping end.
pub(crate) trait Pop {
    type Item: Item;
    fn pop(&mut self, max: usize, into: &mut Vec<Self::Item>) -> usize;
}

impl Push for QueueProducer {
    type Item = Ticket;

    fn push(&mut self, tickets: &mut Vec<Ticket>) -> usize {
        self.push_batch(tickets)
    }
}

impl Pop for QueueConsumer {
    type Item = Ticket;

    fn pop(&mut self, max: usize, into: &mut Vec<Ticket>) -> usize {
        self.pop_batch(max, into)
    }
}

/// Pushes one by one from the front and leaves what `push_one` hands back, and all behind it.
pub(crate) fn push_each<T>(items: &mut Vec<T>, mut push_one: impl FnMut(T) -> Result<(), T>) -> usize {
    let (mut pushed, mut rest) = (0, Vec::new());
    let mut waiting = items.drain(..);
    for item in waiting.by_ref() {
        match push_one(item) {
            Ok(()) => pushed += 1,
            Err(item) => {
                rest.push(item);
                break;
            }
        }
    }
    rest.extend(waiting);
    *items = if rest.is_empty() { std::mem::take(items) } else { rest };
    pushed
}

impl Push for Arc<ArrayQueue<Ticket>> {
    type Item = Ticket;

    fn push(&mut self, tickets: &mut Vec<Ticket>) -> usize {
        push_each(tickets, |ticket| ArrayQueue::push(self, ticket))
    }
}

impl Pop for Arc<ArrayQueue<Ticket>> {
    type Item = Ticket;

    fn pop(&mut self, max: usize, into: &mut Vec<Ticket>) -> usize {
        let before = into.len();
        into.extend((0..max).map_while(|_| ArrayQueue::pop(self)));
        into.len() - before
    }
}

impl Push for Sender<Ticket> {
    type Item = Ticket;

    fn push(&mut self, tickets: &mut Vec<Ticket>) -> usize {
        push_each(tickets, |ticket| self.try_send(ticket).map_err(|error| error.into_inner()))
    }
}

impl Pop for Receiver<Ticket> {
    type Item = Ticket;

    fn pop(&mut self, max: usize, into: &mut Vec<Ticket>) -> usize {
        let before = into.len();
        into.extend(self.try_iter().take(max));
        into.len() - before
    }
}

pub(crate) fn rings(producers: usize) -> (Vec<QueueProducer>, QueueConsumer) {
    queue(Class::Transactional, PLACES / producers, producers)
}

pub(crate) fn array(producers: usize) -> (Vec<Arc<ArrayQueue<Ticket>>>, Arc<ArrayQueue<Ticket>>) {
    let queue = Arc::new(ArrayQueue::new(PLACES));
    (vec![Arc::clone(&queue); producers], queue)
}

pub(crate) fn channel(producers: usize) -> (Vec<Sender<Ticket>>, Receiver<Ticket>) {
    let (sender, receiver) = channel::bounded(PLACES);
    (vec![sender; producers], receiver)
}

/// A pool of smallest slots.
pub(crate) fn pool(slots: u32) -> Pool {
    let plan = PoolPlan { slots: [slots, 0, 0, 0] };
    Pool::create(&plan, ShardId(0), &Pool::memory_wish(None)).expect("a pool of a few MiB can be made").0
}

/// One thread pushes a batch and pops it, until 64 items went through, which are one sample: what the operations cost when
/// nobody else is there.
pub(crate) fn alone<'a, P: Push, C: Pop<Item = P::Item> + 'a>(
    name: &'static str,
    (mut producers, mut consumer): (Vec<P>, C),
    batch: usize,
    samples_max: usize,
) -> Contender<'a> {
    let mut pool = pool(BATCH as u32);
    contender(name, move |samples| {
        let mut items = P::Item::take(&mut pool, batch);
        for _ in 0..samples_max {
            let start = Instant::now();
            for _ in 0..BATCH / batch {
                let pushed = producers[0].push(&mut items);
                let popped = consumer.pop(batch, &mut items);
                assert_eq!((pushed, popped), (batch, batch));
            }
            samples.push(start.elapsed().as_nanos() as f64 / BATCH as f64);
        }
        P::Item::give(&mut pool, items);
    })
}

/// Producers on threads of their own push `each` items in batches; this thread takes them all.
pub(crate) fn across<'a, P: Push, C: Pop<Item = P::Item> + 'a>(
    name: &'static str,
    make: impl Fn(usize) -> (Vec<P>, C) + 'a,
    producers: usize,
    batch: usize,
    each: usize,
) -> Contender<'a> {
    let mut pool = pool((producers * each) as u32);
    contender(name, move |samples| {
        let (ends, mut consumer) = make(producers);
        let threads: Vec<_> = ends
            .into_iter()
            .map(|end| {
                let all = P::Item::take(&mut pool, each);
                thread::spawn(move || push_all(end, all, batch))
            })
            .collect();
        let mut taken = Vec::with_capacity(producers * each);
        let (mut start, mut block) = (Instant::now(), BLOCK);
        while taken.len() < producers * each {
            if consumer.pop(batch, &mut taken) == 0 {
                thread::yield_now();
            }
            if taken.len() >= block {
                let now = Instant::now();
                samples.push((now - start).as_nanos() as f64 / BLOCK as f64);
                (start, block) = (now, block + BLOCK);
            }
        }
        // The ends come home, so that one that ends with its producers does not end early.
        threads.into_iter().for_each(|thread| drop(thread.join().expect("a producer only pushes")));
        P::Item::give(&mut pool, taken);
    })
}

fn push_all<P: Push>(mut end: P, mut all: Vec<P::Item>, batch: usize) -> P {
    let mut pushing = Vec::with_capacity(batch);
    while !all.is_empty() {
        pushing.extend(all.drain(all.len() - batch.min(all.len())..));
        while !pushing.is_empty() {
            if end.push(&mut pushing) == 0 {
                thread::yield_now();
            }
        }
    }
    end
}
