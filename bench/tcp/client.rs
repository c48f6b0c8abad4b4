//! The client: whole native frames of version 1, written flat out or at times fixed beforehand.

use crate::processor::STAMP_AT;
use sluice::event::Nanos;
use sluice::ledger::LatencyRecorder;
use sluice::os;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

/// Bytes of a write, at most.
const BLOCK_BYTES: usize = 256 << 10;

const TOPIC: &[u8] = b"bench";

/// Priorities of the frames, in turn: a quarter realtime, a half transactional, a quarter batch.
const PRIORITIES: [u8; 4] = [3, 2, 0, 2];

/// Bytes in front of a frame's body: its length.
const PREFIX_BYTES: usize = 4;

/// Time between two batches of a paced client: short against what is measured, long enough to sleep in between.
const BATCH_NS: Nanos = 50_000;

/// How long a write may take: a reader that takes nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a frame with that payload, its length prefix included.
pub(crate) fn frame_bytes(payload_bytes: usize) -> usize {
    PREFIX_BYTES + 3 + TOPIC.len() + payload_bytes
}

fn frames(count: usize, payload_bytes: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(count * frame_bytes(payload_bytes));
    for index in 0..count {
        block.extend(((frame_bytes(payload_bytes) - PREFIX_BYTES) as u32).to_be_bytes());
        block.push(PRIORITIES[index % PRIORITIES.len()]);
        block.extend((TOPIC.len() as u16).to_be_bytes());
        block.extend(TOPIC);
        block.resize(block.len() + payload_bytes, b'x');
    }
    block
}

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Connections.
    pub(crate) connections: usize,
    /// Bytes of each event's payload.
    pub(crate) payload_bytes: usize,
    /// Events, over all connections.
    pub(crate) events: u64,
    /// Events a second over all connections, or as many as go.
    pub(crate) rate: Option<f64>,
}

/// What was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// Events, over all connections.
    pub(crate) events: u64,
    /// When the first was sent.
    pub(crate) begin_ns: Nanos,
    /// How late a paced client itself was.
    pub(crate) lateness: LatencyRecorder,
}

/// Connects, calls `ready`, sends, and closes the connections.
pub(crate) fn send(to: SocketAddr, load: Load, cpu: usize, ready: impl FnOnce()) -> io::Result<Sent> {
    let connections: Vec<TcpStream> =
        (0..load.connections).map(|_| connect(to)).collect::<io::Result<_>>()?;
    // So that the readers have them before the clock starts.
    thread::sleep(Duration::from_millis(20));
    ready();
    match load.rate {
        None => flat_out(connections, load, cpu),
        Some(rate) => paced(connections, load, rate, cpu),
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    // A shard that is gone must not hang the bench.
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A thread for each connection, all on `cpu`.
fn flat_out(connections: Vec<TcpStream>, load: Load, cpu: usize) -> io::Result<Sent> {
    let frame = frame_bytes(load.payload_bytes);
    let block = frames(BLOCK_BYTES / frame, load.payload_bytes);
    let share = load.events / load.connections as u64;
    let go = Barrier::new(load.connections + 1);
    let write_all = |mut stream: TcpStream| -> io::Result<()> {
        let pinned = os::pin_current_thread(cpu);
        go.wait();
        pinned.map_err(io::Error::other)?;
        let mut left = share * frame as u64;
        while left > 0 {
            let bytes = left.min(block.len() as u64) as usize;
            stream.write_all(&block[..bytes])?;
            left -= bytes as u64;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let writers: Vec<_> =
            connections.into_iter().map(|stream| scope.spawn(|| write_all(stream))).collect();
        go.wait();
        let begin_ns = os::monotonic_now();
        for writer in writers {
            writer.join().map_err(|_| io::Error::other("a client panicked"))??;
        }
        Ok(Sent { events: share * load.connections as u64, begin_ns, lateness: LatencyRecorder::default() })
    })
}

/// One thread on `cpu` for all connections, which are served in turn: it sleeps until a batch is due, stamps its events
/// with that time, and sends them, however late it is. It never spins, since processors may have the same CPU.
fn paced(mut connections: Vec<TcpStream>, load: Load, rate: f64, cpu: usize) -> io::Result<Sent> {
    let batch = ((rate * BATCH_NS as f64 / 1e9).round() as usize).max(1);
    let interval_ns = batch as f64 / rate * 1e9;
    let batches = load.events / batch as u64;
    let frame = frame_bytes(load.payload_bytes);
    let mut bytes = frames(batch, load.payload_bytes);
    let body = move || -> io::Result<Sent> {
        os::pin_current_thread(cpu).map_err(io::Error::other)?;
        os::sleep_exactly();
        let mut sent = Sent {
            begin_ns: os::monotonic_now() + 2 * BATCH_NS,
            events: batches * batch as u64,
            ..Sent::default()
        };
        for number in 0..batches {
            let due = sent.begin_ns + (number as f64 * interval_ns) as Nanos;
            for event in bytes.chunks_exact_mut(frame) {
                event[PREFIX_BYTES + STAMP_AT..][..8].copy_from_slice(&due.to_le_bytes());
            }
            if let Some(early) = due.checked_sub(os::monotonic_now()).filter(|early| *early > 0) {
                thread::sleep(Duration::from_nanos(early));
            }
            sent.lateness.record(os::monotonic_now().saturating_sub(due));
            let connection = number as usize % connections.len();
            connections[connection].write_all(&bytes)?;
        }
        Ok(sent)
    };
    thread::spawn(body).join().map_err(|_| io::Error::other("the client panicked"))?
}
