//! What a re-request server did. Invariant: each request has one fate: its reply was sent, its reply was lost on purpose,
//! or it was refused by name.

use std::net::SocketAddr;

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not 20 bytes long.
    Malformed,
    /// Nothing was sent under its session.
    UnknownSession,
    /// It asks for no messages.
    NothingAsked,
    /// Its first message was not sent yet.
    NotSent,
    /// Its first message was dropped for memory.
    Dropped,
    /// Its first message is not in the capture.
    NotInCapture,
    /// The kernel did not send the reply.
    Unsendable,
}

impl Refusal {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// All of them, in the order of their numbers.
    pub const ALL: [Refusal; Refusal::COUNT] = [
        Refusal::Malformed,
        Refusal::UnknownSession,
        Refusal::NothingAsked,
        Refusal::NotSent,
        Refusal::Dropped,
        Refusal::NotInCapture,
        Refusal::Unsendable,
    ];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::UnknownSession => "unknown_session",
            Refusal::NothingAsked => "nothing_asked",
            Refusal::NotSent => "not_sent",
            Refusal::Dropped => "dropped",
            Refusal::NotInCapture => "not_in_capture",
            Refusal::Unsendable => "unsendable",
        }
    }
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct KeptReport {
    /// Sessions.
    pub sessions: u64,
    /// Sessions that there was no place for: their messages can't be had.
    pub sessions_refused: u64,
    /// Messages in memory.
    pub messages: u64,
    /// Messages dropped for memory, the oldest of their sessions.
    pub dropped: u64,
    /// Messages that came too late behind those of higher numbers to find a place.
    pub too_late: u64,
}

/// What a re-request server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RerequestReport {
    /// Where it answered.
    pub address: SocketAddr,
    /// Requests that came.
    pub requests: u64,
    /// Replies that were sent.
    pub replies: u64,
    /// Messages in them.
    pub messages: u64,
    /// Replies that were lost on purpose.
    pub lost: u64,
    /// Requests that were refused, by [`Refusal`].
    pub refused: [u64; Refusal::COUNT],
    /// What could be asked for at the end.
    pub kept: KeptReport,
}

impl RerequestReport {
    /// Nothing done yet at this address.
    pub(super) fn new(address: SocketAddr) -> RerequestReport {
        let kept = KeptReport::default();
        RerequestReport {
            address,
            requests: 0,
            replies: 0,
            messages: 0,
            lost: 0,
            refused: [0; Refusal::COUNT],
            kept,
        }
    }

    /// Whether each request has one fate.
    pub fn is_balanced(&self) -> bool {
        self.requests == self.replies + self.lost + self.refused.iter().sum::<u64>()
    }
}
