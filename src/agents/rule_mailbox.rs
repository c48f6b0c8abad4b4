//! Hot path: the way of a set of rules to a processor, and of the old one back, so that it is freed where time is cheap.
//!
//! Invariant: a processor takes a whole program between two events or none; it never waits, allocates or frees for it.

use crate::limits::RULE_SETS_WAITING_MAX;
use crate::process::rules::{Engine, Program};
use rtrb::{Consumer, Producer, RingBuffer};

/// The processor's end.
pub struct RuleInbox {
    new: Consumer<Box<Program>>,
    old: Producer<Box<Program>>,
}

/// The other end.
pub struct RulePost {
    new: Producer<Box<Program>>,
    old: Consumer<Box<Program>>,
}

/// A mailbox for the rules of one processor.
pub fn rule_mailbox() -> (RulePost, RuleInbox) {
    let (new_in, new_out) = RingBuffer::new(RULE_SETS_WAITING_MAX);
    let (old_in, old_out) = RingBuffer::new(RULE_SETS_WAITING_MAX);
    (RulePost { new: new_in, old: old_out }, RuleInbox { new: new_out, old: old_in })
}

impl RuleInbox {
    /// Takes the oldest program that waits, if the one before can be sent back. Says whether there is another one now.
    #[inline]
    pub fn take(&mut self, engine: &mut Engine) -> bool {
        if self.new.is_empty() {
            return false;
        }
        self.exchange(engine)
    }

    #[cold]
    #[inline(never)]
    fn exchange(&mut self, engine: &mut Engine) -> bool {
        // Programs that nobody takes back are not to be freed here: then the new one waits.
        if self.old.is_full() {
            return false;
        }
        let Ok(program) = self.new.pop() else { return false };
        let old = engine.replace(program);
        let sent = self.old.push(old);
        debug_assert!(sent.is_ok(), "this end alone fills the ring, and it had room");
        true
    }
}

impl RulePost {
    /// Sends a program.
    ///
    /// # Errors
    /// As many as can wait do: the program comes back.
    pub fn send(&mut self, program: Box<Program>) -> Result<(), Box<Program>> {
        self.new.push(program).map_err(|rtrb::PushError::Full(program)| program)
    }

    /// A program that was replaced, with what its rules counted, if one has come back.
    pub fn returned(&mut self) -> Option<Box<Program>> {
        self.old.pop().ok()
    }

    /// Whether the processor is gone: nobody takes programs any more.
    pub fn is_abandoned(&self) -> bool {
        self.new.is_abandoned()
    }
}
