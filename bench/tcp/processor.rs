//! The bench's processor: what the appliance's own does, and besides how far it has got, and how old each event is.

use sluice::agents::{Processor, Tally};
use sluice::event::Nanos;
use sluice::ledger::LatencyRecorder;
use sluice::process::{Fate, Subject};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where an event's time of sending stands: behind priority, length of the topic, and the topic "bench".
pub(crate) const STAMP_AT: usize = 3 + 5;

/// What others see of a processor.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    events: AtomicU64,
    last_ns: AtomicU64,
}

impl Seen {
    /// Events so far.
    pub(crate) fn events(&self) -> u64 {
        // Relaxed: it is waited for, and carries no data.
        self.events.load(Ordering::Relaxed)
    }

    /// When the last one was taken off its queue.
    pub(crate) fn last_ns(&self) -> Nanos {
        self.last_ns.load(Ordering::Relaxed)
    }
}

/// Events in a row of the same age, recorded at once.
#[derive(Default)]
struct SameAge {
    age_ns: Nanos,
    count: u64,
}

/// The processor.
pub(crate) struct Probe {
    tally: Tally,
    events: u64,
    seen: Arc<Seen>,
    is_stamped: bool,
    same: SameAge,
    ages: LatencyRecorder,
}

impl Probe {
    /// A processor of one shard; `is_stamped` says that events bear their time of sending.
    pub(crate) fn new(is_stamped: bool, streams_max: usize) -> Probe {
        Probe {
            tally: Tally::allocate(1, streams_max),
            events: 0,
            seen: Arc::default(),
            is_stamped,
            same: SameAge::default(),
            ages: LatencyRecorder::default(),
        }
    }

    /// What others see of it.
    pub(crate) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    /// From the intended time of sending to here, ns.
    pub(crate) fn into_ages(mut self) -> LatencyRecorder {
        self.ages.record_many(self.same.age_ns, self.same.count);
        self.ages
    }

    #[inline]
    fn record(&mut self, event: &Subject<'_>, now: Nanos) {
        let stamp = event.payload.get(STAMP_AT..).and_then(<[u8]>::first_chunk);
        let age_ns = now.saturating_sub(stamp.map_or(0, |stamp| Nanos::from_le_bytes(*stamp)));
        if age_ns != self.same.age_ns {
            self.ages.record_many(self.same.age_ns, self.same.count);
            self.same = SameAge { age_ns, count: 0 };
        }
        self.same.count += 1;
    }
}

impl Processor for Probe {
    #[inline]
    fn process(&mut self, subject: &Subject<'_>, now: Nanos) -> Fate {
        if self.is_stamped {
            self.record(subject, now);
        }
        self.tally.count(subject);
        self.events += 1;
        self.seen.last_ns.store(now, Ordering::Relaxed);
        self.seen.events.store(self.events, Ordering::Relaxed);
        Fate::Delivered
    }
}
