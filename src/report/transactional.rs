//! What the transactional processors did. Invariant: the counts are those of the processors' books, added up.

use crate::process::TransactionBook;
use serde::Serialize;

/// The transactional processors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransactionalReport {
    /// Events that came to them.
    pub processed: u64,
    /// Those that were processed, each once.
    pub delivered: u64,
    /// Copies of those.
    pub deduplicated: u64,
    /// Those that were not processed, by why.
    pub dead: DeadTransactions,
    /// Attempts to process an event.
    pub attempts: AttemptsReport,
    /// Events that wait for another attempt.
    pub parked: u64,
    /// The most that did at a time, of one processor.
    pub parked_high_water: u64,
    /// The idempotency windows.
    pub window: IdempotencyReport,
    /// Whether each event is accounted for.
    pub balanced: bool,
}

/// Events that were not processed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadTransactions {
    /// The handler failed as often as it may.
    pub failed: u64,
    /// The handler refused them for good.
    pub refused: u64,
    /// The handler panicked.
    pub panicked: u64,
    /// They would have had to wait, and as many as may were waiting.
    pub retry_full: u64,
    /// The appliance stopped before their next attempt.
    pub stopped: u64,
}

/// Attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AttemptsReport {
    /// All.
    pub total: u64,
    /// Those that were not an event's first.
    pub retried: u64,
    /// Events that were processed by one of these.
    pub succeeded_after_retry: u64,
}

/// The idempotency windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IdempotencyReport {
    /// Ids that are remembered.
    pub entries: u64,
    /// Ids that were forgotten when their time was over.
    pub expired: u64,
    /// Ids that were forgotten before, for want of room; copies of theirs are processed again.
    pub evicted_early: u64,
}

impl From<&TransactionBook> for TransactionalReport {
    fn from(book: &TransactionBook) -> TransactionalReport {
        TransactionalReport {
            processed: book.processed,
            delivered: book.delivered,
            deduplicated: book.deduplicated,
            dead: DeadTransactions {
                failed: book.failed,
                refused: book.refused,
                panicked: book.panicked,
                retry_full: book.retry_full,
                stopped: book.stopped,
            },
            attempts: AttemptsReport {
                total: book.attempts,
                retried: book.retried,
                succeeded_after_retry: book.succeeded_after_retry,
            },
            parked: book.parked,
            parked_high_water: book.parked_high_water,
            window: IdempotencyReport {
                entries: book.window_entries,
                expired: book.ids_expired,
                evicted_early: book.ids_evicted_early,
            },
            balanced: book.is_balanced(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_add_up_and_the_report_says_whether_they_balance() {
        let one = TransactionBook {
            processed: 10,
            delivered: 5,
            deduplicated: 1,
            refused: 1,
            stopped: 1,
            parked: 2,
            parked_high_water: 4,
            ..TransactionBook::default()
        };
        let mut sum = one;
        sum.add(&TransactionBook { parked_high_water: 3, ..one });
        let report = TransactionalReport::from(&sum);
        assert!(report.balanced);
        assert_eq!((report.processed, report.parked, report.parked_high_water), (20, 4, 4));
        sum.delivered += 1;
        assert!(!TransactionalReport::from(&sum).balanced);
        let json = serde_json::to_value(&report).expect("writes");
        assert_eq!((&json["dead"]["refused"], &json["window"]["evicted_early"]), (&2.into(), &0.into()));
    }
}
