//! Hot path: a SoupBinTCP session that brings back what a feed lost: from the first missing message to the last one.
//!
//! Invariant: it takes only numbers that its feed has passed by, under the feed's own session; it ends when none of them
//! is missing.

use super::{EndpointIndex, SoupLogin, SoupSession, StreamTable};
use crate::event::{CloseReason, Nanos};
use crate::wire::moldudp64::session_bytes;

/// What a feed's replays need, and what came of them.
#[derive(Debug)]
pub(super) struct Replayer {
    login: SoupLogin,
    patience_ns: Nanos,
    // Made when a connection is asked for, taken when there is one.
    pending: Option<Box<SoupReplay>>,
    pub(super) book: ReplayBook,
}

/// What was counted of a feed's replays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayBook {
    /// Connections on which a login was sent.
    pub logins: u64,
    /// Those of them that ended before all was there that they were to bring.
    pub failed: u64,
    /// Messages that came, those included that were there.
    pub messages: u64,
}

/// One replay.
#[derive(Debug)]
pub(super) struct SoupReplay {
    pub(super) soup: SoupSession,
    /// The feed's session, as its lines write it.
    pub(super) session: u128,
    up_to: u64,
    messages: u64,
    progress_ns: Nanos,
    patience_ns: Nanos,
    done: bool,
}

impl Replayer {
    /// Replays under this login; a server that brings nothing for `patience_ns` is left.
    pub(super) fn new(login: SoupLogin, patience_ns: Nanos) -> Replayer {
        Replayer { login, patience_ns, pending: None, book: ReplayBook::default() }
    }

    /// Whether a connection is wanted now: something is missing. The next session begins with it.
    #[cold]
    pub(super) fn prepare(&mut self, table: &StreamTable, endpoint: EndpointIndex, now: Nanos) -> bool {
        let Some((session, mut missing)) = table.recovery_due(endpoint) else { return false };
        let Some(first) = missing.next() else { return false };
        let up_to = missing.last().map_or(first.end, |last| last.end);
        self.pending = Some(
            SoupReplay {
                soup: SoupSession::new(self.login, session_bytes(session), first.start),
                session,
                up_to,
                messages: 0,
                progress_ns: now,
                patience_ns: self.patience_ns,
                done: false,
            }
            .into(),
        );
        true
    }

    /// The session of a connection that begins.
    #[cold]
    pub(super) fn begin(&mut self, now: Nanos) -> Option<Box<SoupReplay>> {
        let mut replay = self.pending.take()?;
        replay.soup.connected(now);
        replay.progress_ns = now;
        self.book.logins += 1;
        Some(replay)
    }

    /// A session is over. Returns whether all came that it was to bring.
    #[cold]
    pub(super) fn ended(&mut self, replay: &SoupReplay) -> bool {
        self.book.messages += replay.messages;
        self.book.failed += u64::from(!replay.done);
        replay.done
    }
}

impl SoupReplay {
    /// The number of the message that came, if it is still wanted.
    ///
    /// # Errors
    /// It is not: the session is over, as [`CloseReason::Recovered`]. Or there may be none now.
    #[inline]
    pub(super) fn sequenced(
        &mut self,
        table: &mut StreamTable,
        endpoint: EndpointIndex,
        now: Nanos,
    ) -> Result<u64, CloseReason> {
        let sequence = self.soup.sequenced()?;
        // A feed that has begun another session meanwhile wants nothing of this one.
        let here =
            table.reached(endpoint).is_some_and(|(session, next)| session == self.session && sequence < next);
        if (sequence >= self.up_to || !here) && !self.goes_on(table, endpoint) {
            return Err(CloseReason::Recovered);
        }
        self.soup.took();
        self.messages += 1;
        self.progress_ns = now;
        Ok(sequence)
    }

    /// Looks at what is missing now: whether any of it is still to come.
    #[cold]
    fn goes_on(&mut self, table: &StreamTable, endpoint: EndpointIndex) -> bool {
        let last = table
            .recovery_due(endpoint)
            .filter(|(session, _)| *session == self.session)
            .and_then(|(_, missing)| missing.last());
        match last {
            Some(range) => self.up_to = range.end,
            None => self.done = true,
        }
        !self.done && self.soup.sequence() < self.up_to
    }

    /// Looks at the deadlines, and whether everything is there.
    ///
    /// # Errors
    /// It is, or the server brings nothing.
    #[cold]
    pub(super) fn tick(
        &mut self,
        table: &StreamTable,
        endpoint: EndpointIndex,
        now: Nanos,
    ) -> Result<(), CloseReason> {
        self.soup.tick(now)?;
        let is_over = !self.goes_on(table, endpoint) && (self.done || self.soup.is_logged_in());
        if is_over {
            return Err(CloseReason::Recovered);
        }
        match now.saturating_sub(self.progress_ns) >= self.patience_ns {
            true => Err(CloseReason::PeerSilent),
            false => Ok(()),
        }
    }

    /// We do not listen, for want of room: what does not come meanwhile is not its server's fault.
    #[cold]
    pub(super) fn paused(&mut self, now: Nanos) {
        self.progress_ns = now;
        self.soup.received(now);
        // A heartbeat may be due.
        let _ = self.soup.tick(now);
    }
}
