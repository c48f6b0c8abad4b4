//! Hot path: the way of alerts from a processor to a thread that may write, post and count them; the kill switch is set
//! on the way.
//!
//! Invariant: telling never waits and never allocates; what finds no place is counted, and has set the kill switch all the
//! same.

use crate::ledger::{KilledBy, Knobs};
use crate::limits::ALERTS_MAX;
use crate::process::rules::Alert;
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A processor's end.
pub struct AlertPort {
    ring: Producer<Alert>,
    knobs: Knobs,
    dropped: Arc<AtomicU64>,
}

/// The other end.
pub struct AlertReader {
    ring: Consumer<Alert>,
    dropped: Arc<AtomicU64>,
}

/// A way for the alerts of one processor.
pub fn alert_way(knobs: Knobs) -> (AlertPort, AlertReader) {
    let (producer, consumer) = RingBuffer::new(ALERTS_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let port = AlertPort { ring: producer, knobs, dropped: Arc::clone(&dropped) };
    (port, AlertReader { ring: consumer, dropped })
}

impl AlertPort {
    /// Tells one.
    #[inline]
    pub fn tell(&mut self, alert: &Alert) {
        if alert.kills {
            self.knobs.kill(KilledBy::Rule(alert.rule), alert.now_ns);
        }
        if self.ring.push(*alert).is_err() {
            // Relaxed: a count, which orders nothing; this is its only writer.
            self.dropped.store(self.dropped.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }
}

impl AlertReader {
    /// The oldest alert that waits.
    pub fn pop(&mut self) -> Option<Alert> {
        self.ring.pop().ok()
    }

    /// Alerts that found no place.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
