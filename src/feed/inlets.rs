//! Inlets: where connections and datagrams come in, with what limits. Invariant: plain settings, and one stream each.

use super::requester::Requester;
use super::session::Session;
use super::soup_replay::SoupReplay;
use super::{EndpointIndex, FeedPolicy, FeedRecovery, RecoveredFeed, SoupSession, StreamTable};
use crate::config::Listener;
use crate::event::{Nanos, Protocol};
use crate::limits::PAYLOAD_BYTES_MAX;
use std::time::Duration;

/// A listener, a connector or a socket for datagrams, as far as feed logic is concerned.
#[derive(Clone, Debug)]
pub struct InletSettings {
    /// Its name in reports.
    pub name: String,
    /// What its peers speak.
    pub protocol: Protocol,
    /// Bytes of a unit at most; larger ones are refused.
    pub unit_bytes_max: usize,
    /// Time without a byte after which a connection is closed; 0 for never.
    pub idle_ns: Nanos,
    /// Time from the connection to its first whole unit.
    pub handshake_ns: Nanos,
    /// Time from the first byte of a unit to its last.
    pub unfinished_ns: Nanos,
    /// How gaps of its stream are treated, where its datagrams are numbered.
    pub policy: FeedPolicy,
    /// For connectors: the session to log in to, kept here while there is no connection.
    pub soup: Option<SoupSession>,
    /// For those that ask for lost messages: whose, and how.
    pub recovers: Option<FeedRecovery>,
}

/// What connections are made of.
#[derive(Debug, Default)]
pub struct ConnectionSettings {
    /// Their inlets.
    pub inlets: Vec<InletSettings>,
    /// Connections at most, over all inlets.
    pub connections_max: usize,
}

/// An inlet and its place in the stream table.
#[derive(Debug)]
pub(super) struct Inlet {
    pub(super) settings: InletSettings,
    pub(super) endpoint: EndpointIndex,
    /// Where lost messages are asked for.
    pub(super) requester: Option<Box<Requester>>,
}

impl InletSettings {
    /// An inlet whose peer is known, and has no deadlines but those of its session.
    pub fn trusted(name: &str, protocol: Protocol, soup: Option<SoupSession>) -> InletSettings {
        InletSettings {
            name: name.to_owned(),
            protocol,
            unit_bytes_max: PAYLOAD_BYTES_MAX,
            idle_ns: 0,
            handshake_ns: 0,
            unfinished_ns: 0,
            policy: FeedPolicy::default(),
            soup,
            recovers: None,
        }
    }

    /// The session of a connection that begins.
    pub(super) fn new_session(&mut self, now: Nanos) -> Session {
        match self.soup.take() {
            Some(mut session) => {
                session.connected(now);
                Session::Soup(session.into())
            }
            None => Session::None,
        }
    }

    /// Keeps a session for the next connection.
    pub(super) fn keep_session(&mut self, mut session: SoupSession) {
        session.reconnect();
        self.soup = Some(session);
    }
}

impl Inlet {
    /// The session of a connection that begins.
    pub(super) fn new_session(&mut self, now: Nanos) -> Session {
        let replayer = self.requester.as_mut().and_then(|requester| requester.replayer());
        match replayer.and_then(|replayer| replayer.begin(now)) {
            Some(replay) => Session::Replay(replay),
            None => self.settings.new_session(now),
        }
    }

    /// A replay has ended. Returns whether all came that it was to bring.
    pub(super) fn replay_ended(&mut self, replay: &SoupReplay) -> bool {
        let replayer = self.requester.as_mut().and_then(|requester| requester.replayer());
        replayer.is_some_and(|replayer| replayer.ended(replay))
    }

    /// Enters an inlet into the stream table; `before` are those that stand before it.
    pub(super) fn enter(table: &mut StreamTable, before: &[Inlet], settings: InletSettings) -> Inlet {
        let Some(recovers) = &settings.recovers else {
            let endpoint = table.add_inlet(&settings.name, settings.protocol, &settings.policy);
            return Inlet { settings, endpoint, requester: None };
        };
        let feed = match recovers.feed {
            RecoveredFeed::Feed(feed) => feed,
            RecoveredFeed::Inlet(inlet) => {
                let other = &before[usize::from(inlet.0)];
                table.endpoint(other.endpoint).feed.expect("inlets have their feeds from the start")
            }
        };
        // Whatever brings them, they are the feed's messages.
        let endpoint = table.add_recovery(feed);
        let requester = Requester::new(&recovers.way, endpoint);
        Inlet { settings, endpoint, requester: Some(Box::new(requester)) }
    }
}

/// Memory of zeros, of which pages come into being when they are touched.
pub(super) fn zeroed(bytes: usize) -> Vec<u8> {
    vec![0; bytes]
}

impl From<&Listener> for InletSettings {
    fn from(listener: &Listener) -> InletSettings {
        let nanos = |time: Duration| time.as_nanos() as Nanos;
        InletSettings {
            name: listener.name.clone(),
            protocol: listener.protocol,
            unit_bytes_max: listener.frame_bytes_max,
            idle_ns: listener.idle_timeout.map_or(0, nanos),
            handshake_ns: nanos(listener.handshake_timeout),
            unfinished_ns: nanos(listener.unfinished_timeout),
            policy: FeedPolicy::default(),
            soup: None,
            recovers: None,
        }
    }
}
