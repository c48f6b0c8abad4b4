//! Frames of a capture, handed out so that their events come at a fixed rate; and a bare ring at the same rate.
//!
//! Invariant: a frame is due as its number of events says, however late the ones before were; its wire time is when it
//! was due.

use crate::captures::Frames;
use rtrb::RingBuffer;
use sluice::event::{ClockKind, FrameReject, LinkType, MessageReject, Nanos, Protocol};
use sluice::ledger::{KernelBook, LatencyRecorder, Percentiles};
use sluice::os::{self, Clock};
use sluice::source::{Budget, Frame, FrameSource};
use sluice::wire::{self, Message, Run, Visitor};
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// A frame that has events.
struct Place {
    begin: usize,
    end: usize,
    link: LinkType,
    events: u64,
}

/// The frames that have events, ready to be handed out.
#[derive(Default)]
pub(crate) struct Load {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// The messages of a packet, as packets of their own.
#[derive(Default)]
struct Alone {
    header: Vec<u8>,
    packets: Vec<Vec<u8>>,
}

/// Bytes of an IEX-TP header, and where it has the payload's length, the number of messages and the first one's number.
const IEX_HEADER_BYTES: usize = 40;
const LENGTH_AT: usize = 12;
const COUNT_AT: usize = 14;
const SEQUENCE_AT: usize = 24;

impl Visitor for Alone {
    fn run(&mut self, _: &Run) {}

    fn message(&mut self, message: &Message<'_>) {
        let length = message.body.len() as u16;
        let mut packet = self.header.clone();
        packet[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&(length + 2).to_le_bytes());
        packet[COUNT_AT..COUNT_AT + 2].copy_from_slice(&1u16.to_le_bytes());
        packet[SEQUENCE_AT..SEQUENCE_AT + 8].copy_from_slice(&message.sequence.to_le_bytes());
        packet.extend(length.to_le_bytes());
        packet.extend(message.body);
        self.packets.push(packet);
    }

    fn refuse(&mut self, _: MessageReject) {}
}

/// Each packet of an IEX capture, with its frame, link and messages.
fn iex_packets(path: &Path, mut take: impl FnMut(&[u8], LinkType, Vec<Vec<u8>>)) {
    let frames = Frames::of_capture(path);
    assert!(frames.len() > 0, "a capture has frames");
    for (frame, _, link) in frames.iter() {
        let datagram = wire::link::parse(frame, link).expect("captures of UDP alone");
        let Some(header) = datagram.payload.get(..IEX_HEADER_BYTES) else { continue };
        let mut alone = Alone { header: header.to_vec(), packets: Vec::new() };
        let decoded: Result<(), FrameReject> = wire::decode(Protocol::IexTp, datagram.payload, &mut alone);
        if decoded.is_ok() && !alone.packets.is_empty() {
            take(frame, link, alone.packets);
        }
    }
}

impl Load {
    fn push(&mut self, frame: &[u8], link: LinkType, events: u64) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        self.places.push(Place { begin, end: self.bytes.len(), link, events });
    }

    /// The frames of an IEX capture.
    pub(crate) fn of_iex(path: &Path) -> Arc<Load> {
        let mut load = Load::default();
        iex_packets(path, |frame, link, packets| load.push(frame, link, packets.len() as u64));
        Arc::new(load)
    }

    /// Its messages, a frame each: none waits for others that came with it.
    pub(crate) fn of_iex_one_by_one(path: &Path) -> Arc<Load> {
        let mut load = Load::default();
        iex_packets(path, |_, _, packets| {
            for packet in packets {
                let mut frame = Vec::new();
                etherparse::PacketBuilder::ethernet2([2; 6], [3; 6])
                    .ipv4([10, 0, 0, 1], [239, 9, 0, 1], 9)
                    .udp(9, 10_378)
                    .write(&mut frame, &packet)
                    .expect("memory takes bytes");
                load.push(&frame, LinkType::Ethernet, 1);
            }
        });
        Arc::new(load)
    }

    /// Events of a frame, on average.
    pub(crate) fn events_per_frame(&self) -> f64 {
        self.places.iter().map(|place| place.events).sum::<u64>() as f64 / self.places.len() as f64
    }
}

/// Hands out frames at a rate, round and round, until so many events are out.
pub(crate) struct Paced {
    load: Arc<Load>,
    interval_ns: Nanos,
    left: u64,
    next: usize,
    begins_again: bool,
    due_ns: Nanos,
}

impl Paced {
    /// `events` of them, one each `interval_ns`, from `begin_ns` on.
    pub(crate) fn new(load: Arc<Load>, interval_ns: Nanos, events: u64, begin_ns: Nanos) -> Paced {
        Paced { load, interval_ns, left: events, next: 0, begins_again: false, due_ns: begin_ns }
    }
}

impl FrameSource for Paced {
    #[inline]
    fn poll(&mut self, now: Nanos, budget: Budget, take: &mut impl FnMut(Frame<'_>)) -> usize {
        let mut count = 0;
        while count < budget.frames && self.left > 0 && self.due_ns <= now {
            let place = &self.load.places[self.next];
            let bytes = &self.load.bytes[place.begin..place.end];
            take(Frame { bytes, wire_ns: self.due_ns, clock: ClockKind::Monotonic, link: place.link });
            count += 1;
            self.left = self.left.saturating_sub(place.events);
            self.due_ns += place.events * self.interval_ns;
            self.next += 1;
            if self.next == self.load.places.len() {
                (self.next, self.begins_again) = (0, true);
                break;
            }
        }
        count
    }

    fn exhausted(&self) -> bool {
        self.left == 0
    }

    fn begins_again(&mut self) -> bool {
        std::mem::take(&mut self.begins_again)
    }

    fn can_wait(&self) -> bool {
        false
    }

    fn stop(&mut self) {
        self.left = 0;
    }

    fn kernel_book(&self) -> Option<KernelBook> {
        None
    }
}

/// What a ring with nothing around it gave.
pub(crate) struct Bare {
    /// From the push to the pop of a number.
    pub(crate) transit: Percentiles,
    /// Of each CPU, the share of the time in which its spinning thread did not run, for 2 µs or more at a time.
    pub(crate) away: [f64; 2],
}

/// Time that a spinning thread did not have.
struct Away {
    last_ns: Nanos,
    begin_ns: Nanos,
    away_ns: Nanos,
}

impl Away {
    /// Longer than anything that the loops below do.
    const GAP_NS: Nanos = 2_000;

    fn new(now: Nanos) -> Away {
        Away { last_ns: now, begin_ns: now, away_ns: 0 }
    }

    #[inline]
    fn look(&mut self, now: Nanos) {
        let gap = now.saturating_sub(self.last_ns);
        if gap >= Away::GAP_NS {
            self.away_ns += gap;
        }
        self.last_ns = now;
    }

    fn share(&self) -> f64 {
        self.away_ns as f64 / (self.last_ns - self.begin_ns).max(1) as f64
    }
}

/// Where the kernel refuses, the thread stays as it is: the table shows what it got.
fn settle(cpu: usize, fifo: Option<u8>) {
    let _ = os::pin_current_thread(cpu);
    let _ = fifo.map(os::set_fifo);
}

/// Sends `count` numbers at the rate from one CPU to the other by an rtrb ring, and nothing else.
pub(crate) fn bare_ring(
    cpus: [usize; 2],
    fifo: Option<u8>,
    interval_ns: Nanos,
    count: u64,
    clock: Clock,
) -> Bare {
    let (mut producer, mut consumer) = RingBuffer::<Nanos>::new(16_384);
    let pusher = thread::spawn(move || {
        settle(cpus[0], fifo);
        let begin_ns = clock.now();
        let mut away = Away::new(begin_ns);
        let mut due_ns = begin_ns + 1_000_000;
        for _ in 0..count {
            let mut now = clock.now();
            away.look(now);
            while now < due_ns {
                std::hint::spin_loop();
                now = clock.now();
                away.look(now);
            }
            while producer.push(clock.now()).is_err() {
                std::hint::spin_loop();
            }
            due_ns += interval_ns;
        }
        away.share()
    });
    let popper = thread::spawn(move || {
        settle(cpus[1], fifo);
        let mut away = Away::new(clock.now());
        let mut transit = LatencyRecorder::default();
        loop {
            let now = clock.now();
            away.look(now);
            match consumer.pop() {
                Ok(pushed_ns) => transit.record(clock.now().saturating_sub(pushed_ns)),
                Err(_) if consumer.is_abandoned() && consumer.is_empty() => break,
                Err(_) => std::hint::spin_loop(),
            }
        }
        (transit.percentiles(), away.share())
    });
    let pusher_away = pusher.join().expect("it only pushes");
    let (transit, popper_away) = popper.join().expect("it only pops");
    Bare { transit, away: [pusher_away, popper_away] }
}
