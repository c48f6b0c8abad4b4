//! Hot path: what is said to peers. Invariant: one reply at a time is under way for each connection, whole frames only.

use super::connection::Phase;
use super::port::NetPort;
use crate::event::ConnectionIndex;
use crate::os::uring::Operation;
use crate::source::StreamHandler;

impl NetPort {
    /// Sends what the handler has to say. Returns how many replies that were.
    #[inline]
    pub(super) fn speak(&mut self, handler: &mut dyn StreamHandler) -> usize {
        let mut spoken = 0;
        while let Some(connection) = handler.next_reply() {
            spoken += 1;
            self.say(connection.0, handler);
        }
        spoken
    }

    fn say(&mut self, index: u32, handler: &mut dyn StreamHandler) {
        let slot = &mut self.slots[index as usize];
        if !matches!(slot.phase, Phase::Open | Phase::Closing) {
            return;
        }
        let Some(into) = self.ring.reply_mut(index) else {
            slot.more_to_say = true;
            return;
        };
        let bytes = handler.reply(ConnectionIndex(index), into);
        slot.more_to_say = false;
        if bytes > 0 {
            self.send(index, bytes);
        }
    }

    fn send(&mut self, index: u32, bytes: usize) {
        let (file, token) = (self.file_of(index), self.token(Operation::Send, index));
        let slot = &mut self.slots[index as usize];
        slot.sending = bytes;
        slot.sending_since = self.now;
        slot.spoke |= slot.phase == Phase::Closing;
        self.ring.send(file, bytes, token);
    }

    /// A send has ended: the rest of it follows, or what there was to say meanwhile.
    pub(super) fn sent(&mut self, index: u32, result: i32, handler: &mut dyn StreamHandler) {
        let slot = &mut self.slots[index as usize];
        let length = std::mem::take(&mut slot.sending);
        let Ok(sent) = usize::try_from(result) else {
            // The receiving side learns why, and ends the connection.
            slot.more_to_say = false;
            return;
        };
        self.book.bytes_sent += sent as u64;
        if sent < length {
            self.ring.shift_reply(index, sent, length);
            self.send(index, length - sent);
        } else if slot.more_to_say {
            self.say(index, handler);
        }
    }
}
