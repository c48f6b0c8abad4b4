//! Push and pop by kind of queue, alone and across threads, in batches and one by one.
//!
//! Invariant: an operation is one item pushed and popped.

use crate::common::Effort;
use crate::disrupt::{chunks, items, multi, single};
use crate::tables::{Book, MPSC, SPSC};
use crate::tickets::{BATCH, BLOCK, across, alone, array, channel, rings};

pub(crate) fn compare(effort: Effort, book: &mut Book) {
    let samples = if effort.short { 100 } else { 2_000 };
    for batch in [BATCH, 1] {
        book.table(
            &format!("queue of one producer, one thread, {batch} at a time, blocks of {BATCH}"),
            effort,
            Some(SPSC),
            &mut [
                alone("sluice, one producer", rings(1), batch, samples),
                alone("rtrb by chunks", chunks(1), batch, samples),
                alone("rtrb by items", items(1), batch, samples),
                alone("crossbeam ArrayQueue", array(1), batch, samples),
                alone("crossbeam channel", channel(1), batch, samples),
                alone("disruptor, one producer", single(1), batch, samples),
            ],
        );
    }
    let each = BLOCK * if effort.short { 4 } else { 128 };
    for batch in [BATCH, 1] {
        book.table(
            &format!("queue of one producer, two threads, {batch} at a time, blocks of {BLOCK}"),
            effort,
            Some(SPSC),
            &mut [
                across("sluice, one producer", rings, 1, batch, each),
                across("rtrb by chunks", chunks, 1, batch, each),
                across("rtrb by items", items, 1, batch, each),
                across("crossbeam ArrayQueue", array, 1, batch, each),
                across("crossbeam channel", channel, 1, batch, each),
                across("disruptor, one producer", single, 1, batch, each),
            ],
        );
    }
    several_producers(effort, book, each);
}

fn several_producers(effort: Effort, book: &mut Book, each: usize) {
    for (producers, batch) in [(2, BATCH), (2, 1), (4, BATCH)] {
        let each = each / producers;
        book.table(
            &format!(
                "queue of {producers} producers, a thread each, {batch} at a time, blocks of {BLOCK}; one thread pops"
            ),
            effort,
            Some(MPSC),
            &mut [
                across("sluice, several producers", rings, producers, batch, each),
                across("crossbeam ArrayQueue", array, producers, batch, each),
                across("crossbeam channel", channel, producers, batch, each),
                across("disruptor, several producers", multi, producers, batch, each),
            ],
        );
    }
}
