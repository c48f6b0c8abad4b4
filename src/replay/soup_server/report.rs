//! What a server did. Invariant: what each client was sent is a consecutive stretch of what was released.

use crate::event::CloseReason;
use crate::ledger::{FrameBook, MessageBook};

/// A client, from its connection to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientReport {
    /// Its address.
    pub address: String,
    /// Whether its login was accepted.
    pub logged_in: bool,
    /// Number of the first message that it was to get; 0 without a login.
    pub first_sequence: u64,
    /// Number of the last message that it was sent whole; the one before the first when it was sent none.
    pub last_sequence: u64,
    /// Messages that it was sent whole.
    pub messages: u64,
    /// Bytes that it was sent.
    pub bytes: u64,
    /// Whether it closed its side in good order behind the session's end; one that leaves something unread does not.
    pub took_everything: bool,
    /// Why its connection ended.
    pub closed: Option<CloseReason>,
}

impl ClientReport {
    /// Whether the messages are those from the first to the last one.
    fn is_consecutive(&self) -> bool {
        !self.logged_in || self.last_sequence + 1 == self.first_sequence + self.messages
    }
}

/// What a server did.
#[derive(Clone, Debug, Default)]
pub struct SoupReport {
    /// Frames of the capture by fate.
    pub frames: FrameBook,
    /// Their messages by fate; an accepted one was released, or is none of ITCH.
    pub messages: MessageBook,
    /// Messages that were released.
    pub released: u64,
    /// Messages that are none of ITCH.
    pub not_itch: u64,
    /// Messages sent whole, to all clients together.
    pub messages_sent: u64,
    /// Bytes sent to all of them.
    pub bytes_sent: u64,
    /// Connections that came about.
    pub connections: u64,
    /// Connections by why they ended.
    pub closed: [u64; CloseReason::COUNT],
    /// The clients; the first thousand of them.
    pub clients: Vec<ClientReport>,
    /// Clients that took everything from their first message to the session's end.
    pub served_whole: u64,
    /// How often the release waited for a client, because there was no memory for more.
    pub waits: u64,
    /// Messages at the beginning that are no longer kept.
    pub dropped: u64,
    /// Time from the first release to the end, ns; 0 if there was none.
    pub elapsed_ns: u64,
    /// Whether the stop flag ended it.
    pub stopped: bool,
}

impl SoupReport {
    /// Every equation that does not hold: words, left side, right side.
    pub fn imbalances(&self) -> Vec<(&'static str, u64, u64)> {
        let (frames, messages) = (&self.frames, &self.messages);
        let decoded = messages.accepted
            + messages.duplicate
            + messages.stale
            + messages.heartbeat
            + messages.rejected.iter().sum::<u64>();
        let odd_clients = self.clients.iter().filter(|client| !client.is_consecutive()).count() as u64;
        let equations = [
            (
                "frames received = decoded + rejected",
                frames.received,
                frames.decoded + frames.rejected.iter().sum::<u64>(),
            ),
            (
                "messages decoded = accepted + duplicate + stale + heartbeat + rejected",
                messages.decoded,
                decoded,
            ),
            ("messages accepted = released + not ITCH", messages.accepted, self.released + self.not_itch),
            ("connections = closed", self.connections, self.closed.iter().sum()),
            ("clients whose messages are not consecutive = 0", odd_clients, 0),
        ];
        equations.into_iter().filter(|(_, left, right)| left != right).collect()
    }
}
