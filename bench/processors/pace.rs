//! Frames of a capture in memory, handed out so that their events come at a fixed rate; and a bare ring at the same rate.
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
pub(crate) struct Load {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Default)]
struct Count(u64);

impl Visitor for Count {
    fn run(&mut self, _: &Run) {}

    fn message(&mut self, _: &Message<'_>) {
        self.0 += 1;
    }

    fn refuse(&mut self, _: MessageReject) {}
}

impl Load {
    /// Those of a capture of one protocol.
    pub(crate) fn of_capture(path: &Path, protocol: Protocol) -> Arc<Load> {
        let frames = Frames::of_capture(path);
        let mut load = Load { bytes: Vec::new(), places: Vec::with_capacity(frames.len()) };
        for (frame, _, link) in frames.iter() {
            let mut count = Count::default();
            let datagram = wire::link::parse(frame, link).expect("captures of UDP alone");
            let decoded: Result<(), FrameReject> = wire::decode(protocol, datagram.payload, &mut count);
            if decoded.is_ok() && count.0 > 0 {
                let begin = load.bytes.len();
                load.bytes.extend_from_slice(frame);
                load.places.push(Place { begin, end: load.bytes.len(), link, events: count.0 });
            }
        }
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
