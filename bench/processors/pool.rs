//! Slots acquired and given back: by their own thread, and by another one over the return ring.
//!
//! Invariant: every slot comes home in the round in which it was taken.

use crate::common::{Contender, Effort, contender};
use crate::tables::{Book, POOL, sample, sample_of_any};
use crate::tickets::{PLACES, pool};
use crossbeam::queue::ArrayQueue;
use rtrb::RingBuffer;
use sluice::event::EventHeader;
use sluice::pool::Ticket;
use std::hint::black_box;
use std::thread;
use std::time::Instant;

/// Slots at a time, and operations of a sample.
const BURST: usize = 64;
const OPERATIONS: usize = 256;
/// Bytes of a slot of the smallest class.
const SLOT_BYTES: usize = 128;
/// Slots of each pool.
const SLOTS: u32 = 16_384;

pub(crate) fn compare(effort: Effort, book: &mut Book) {
    let samples = if effort.short { 100 } else { 2_000 };
    book.table(
        &format!("pool, one thread: take a slot and give it back, blocks of {OPERATIONS}"),
        effort,
        Some(POOL),
        &mut [
            own("sluice, one at a time", 1, false, samples),
            own("sluice, 64 and then all back", BURST, false, samples),
            own("sluice, 64, each written with 40 B", BURST, true, samples),
            boxes("the system's allocator, one at a time", 1, samples),
            boxes("the system's allocator, 64 and all back", BURST, samples),
            list("ArrayQueue of free slots, one at a time", 1, samples),
            list("ArrayQueue of free slots, 64 and all back", BURST, samples),
            numbers("a Vec of numbers, one at a time", 1, samples),
            numbers("a Vec of numbers, 64 and all back", BURST, samples),
        ],
    );
    let laps = if effort.short { 40 } else { 2_000 };
    book.table(
        "pool, two threads: take, pass to the other thread, and have it back, blocks of 4,096",
        effort,
        None,
        &mut [
            returned("sluice, by the return ring", laps),
            boxes_freed("the system's allocator, freed by the other", laps),
            list_returned("ArrayQueue of free slots", laps),
        ],
    );
}

/// Bursts of slots of Sluice's pool.
fn own<'a>(name: &'static str, burst: usize, is_written: bool, count: usize) -> Contender<'a> {
    let mut pool = pool(SLOTS);
    let mut tickets: Vec<Ticket> = Vec::with_capacity(burst);
    let payload = [7u8; 40];
    contender(name, move |samples| {
        samples.reserve(count);
        for _ in 0..count {
            sample(samples, OPERATIONS, || {
                for _ in 0..OPERATIONS / burst {
                    for sequence in 0..burst as u64 {
                        let Some(mut ticket) = pool.acquire(40) else { break };
                        if is_written {
                            let header = EventHeader { sequence, ..EventHeader::default() };
                            pool.write(&mut ticket, &header, black_box(&payload));
                        }
                        tickets.push(ticket);
                    }
                    assert_eq!(tickets.len(), burst);
                    tickets.drain(..).for_each(|ticket| pool.release(ticket));
                }
            });
        }
    })
}

fn boxes<'a>(name: &'static str, burst: usize, count: usize) -> Contender<'a> {
    let mut held: Vec<Box<[u8; SLOT_BYTES]>> = Vec::with_capacity(burst);
    contender(name, move |samples| {
        for _ in 0..count {
            sample_of_any(samples, OPERATIONS, || {
                for _ in 0..OPERATIONS / burst {
                    held.extend((0..burst).map(|_| black_box(Box::new([0; SLOT_BYTES]))));
                    held.clear();
                }
            });
        }
    })
}

fn list<'a>(name: &'static str, burst: usize, count: usize) -> Contender<'a> {
    let free = free_list();
    let mut held: Vec<u32> = Vec::with_capacity(burst);
    contender(name, move |samples| {
        for _ in 0..count {
            sample_of_any(samples, OPERATIONS, || {
                for _ in 0..OPERATIONS / burst {
                    held.extend((0..burst).filter_map(|_| free.pop()));
                    assert_eq!(held.len(), burst);
                    held.drain(..).for_each(|slot| put(&free, slot));
                }
            });
        }
    })
}

/// The least that it can be: numbers on a list that no other thread can reach, and nothing that says whose they are.
fn numbers<'a>(name: &'static str, burst: usize, count: usize) -> Contender<'a> {
    let mut free: Vec<u32> = (0..SLOTS).collect();
    let mut held: Vec<u32> = Vec::with_capacity(burst);
    contender(name, move |samples| {
        for _ in 0..count {
            sample_of_any(samples, OPERATIONS, || {
                for _ in 0..OPERATIONS / burst {
                    for _ in 0..burst {
                        held.extend(black_box(&mut free).pop());
                    }
                    assert_eq!(held.len(), burst);
                    held.drain(..).for_each(|slot| black_box(&mut free).push(slot));
                }
            });
        }
    })
}

/// There is a place for every slot.
fn put(free: &ArrayQueue<u32>, slot: u32) {
    assert_eq!(free.push(slot), Ok(()));
}

fn free_list() -> ArrayQueue<u32> {
    let free = ArrayQueue::new(SLOTS as usize);
    (0..SLOTS).for_each(|slot| put(&free, slot));
    free
}

/// Takes bursts by `take` and passes them to another thread, which gives them back by `give`. A sample is of 64 bursts.
fn round_trips<T: Send>(
    laps: usize,
    samples: &mut Vec<f64>,
    mut take: impl FnMut(&mut Vec<T>) -> usize,
    mut give: impl FnMut(&mut Vec<T>) + Send,
) {
    let (out, mut inward) = RingBuffer::<T>::new(PLACES);
    thread::scope(|scope| {
        // It ends with this closure, which the other thread waits for.
        let mut out = out;
        scope.spawn(move || {
            let mut taken = Vec::with_capacity(PLACES);
            loop {
                let count = inward.slots();
                if count == 0 && inward.is_abandoned() {
                    return;
                }
                match inward.read_chunk(count) {
                    Ok(chunk) if count > 0 => {
                        taken.extend(chunk);
                        give(&mut taken);
                    }
                    _ => thread::yield_now(),
                }
            }
        });
        let mut burst = Vec::with_capacity(BURST);
        for _ in 0..laps {
            let start = Instant::now();
            let mut moved = 0;
            while moved < 64 * BURST {
                take(&mut burst);
                let count = burst.len().min(out.slots());
                match out.write_chunk_uninit(count) {
                    Ok(chunk) if count > 0 => moved += chunk.fill_from_iter(burst.drain(..count)),
                    _ => thread::yield_now(),
                }
            }
            samples.push(start.elapsed().as_nanos() as f64 / (64 * BURST) as f64);
        }
        // What was taken and not passed on goes the same way, so that nothing is lost.
        while !burst.is_empty() {
            let count = burst.len().min(out.slots());
            if let Ok(chunk) = out.write_chunk_uninit(count) {
                chunk.fill_from_iter(burst.drain(..count));
            }
        }
    });
}

fn returned<'a>(name: &'static str, laps: usize) -> Contender<'a> {
    let mut pool = pool(SLOTS);
    let mut port = Some(pool.attach());
    contender(name, move |samples| {
        let mut own = port.take().expect("it came home");
        let home = &mut port;
        let pool = &mut pool;
        let take = |burst: &mut Vec<Ticket>| {
            pool.reclaim();
            while burst.len() < BURST
                && let Some(ticket) = pool.acquire(40)
            {
                burst.push(ticket);
            }
            burst.len()
        };
        round_trips(laps, samples, take, |tickets| own.give_back(tickets));
        *home = Some(own);
        pool.reclaim();
        assert_eq!(pool.in_flight(), 0);
    })
}

fn boxes_freed<'a>(name: &'static str, laps: usize) -> Contender<'a> {
    contender(name, move |samples| {
        let take = |burst: &mut Vec<Box<[u8; SLOT_BYTES]>>| {
            burst.extend((burst.len()..BURST).map(|_| black_box(Box::new([0; SLOT_BYTES]))));
            burst.len()
        };
        round_trips(laps, samples, take, Vec::clear);
    })
}

fn list_returned<'a>(name: &'static str, laps: usize) -> Contender<'a> {
    let free = free_list();
    contender(name, move |samples| {
        let take = |burst: &mut Vec<u32>| {
            burst.extend((burst.len()..BURST).map_while(|_| free.pop()));
            burst.len()
        };
        round_trips(laps, samples, take, |slots| slots.drain(..).for_each(|slot| put(&free, slot)));
        assert_eq!(free.len(), SLOTS as usize);
    })
}
