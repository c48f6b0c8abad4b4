//! Question: what should carry tickets (a bundle of rtrb rings, an ArrayQueue, a channel), and what does a slot cost?
//!
//! `cargo bench --bench queues [-- --short]`. Contenders are run in interleaved rounds; compare the ratios of one
//! table, not the times of two runs. With fewer cores than threads the threaded tables measure the scheduler as well.

mod common;
#[path = "common/tickets.rs"]
mod tickets;

use common::{Contender, compare, contender, effort};
use sluice::event::{EventHeader, ShardId};
use sluice::pool::{Pool, PoolPlan, ReturnPort};
use std::time::Instant;
use tickets::{BATCH, BLOCK, across, alone, array, channel, rings};

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
            alone("bundle of rtrb", rings(1), BATCH, batches),
            alone("ArrayQueue", array(1), BATCH, batches),
            alone("crossbeam channel", channel(1), BATCH, batches),
        ],
    );
    for producers in [1, 2] {
        let each = each / producers;
        compare(
            &format!("batches of 64 over {producers} producer(s) and 1 consumer, a thread each"),
            effort,
            &mut [
                across("bundle of rtrb", rings, producers, BATCH, each),
                across("ArrayQueue", array, producers, BATCH, each),
                across("crossbeam channel", channel, producers, BATCH, each),
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
