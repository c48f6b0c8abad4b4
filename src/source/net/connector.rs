//! Connections that we ask for: which server is next, and when. Invariant: pure; `now` comes in, decisions go out.

use crate::config::Connector;
use crate::event::{CloseReason, Nanos};
use std::net::SocketAddr;

/// What a connector is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It asks for a connection at this time.
    Due(Nanos),
    /// It has asked, or has one.
    Engaged,
    /// Its session has ended, or the appliance stops.
    Done,
}

/// A connector's way along its servers.
#[derive(Debug)]
pub(super) struct Route {
    servers: Vec<SocketAddr>,
    at: usize,
    // Servers that failed one after another.
    failures: usize,
    wait_ns: Nanos,
    min_ns: Nanos,
    max_ns: Nanos,
    state: State,
    // Whether it is connected only while something is wanted of it: then a server that did not bring it has failed.
    on_demand: bool,
}

impl Route {
    pub(super) fn new(connector: &Connector) -> Route {
        let min_ns = connector.reconnect_min.as_nanos() as Nanos;
        Route {
            servers: connector.servers.clone(),
            at: 0,
            failures: 0,
            wait_ns: min_ns,
            min_ns,
            max_ns: connector.reconnect_max.as_nanos() as Nanos,
            state: State::Due(0),
            on_demand: false,
        }
    }

    /// A way along servers that are connected to when something is wanted of them.
    pub(super) fn on_demand(connector: &Connector) -> Route {
        Route { on_demand: true, ..Route::new(connector) }
    }

    /// Whether it is time to ask a server.
    pub(super) fn is_due(&self, now: Nanos) -> bool {
        matches!(self.state, State::Due(at) if now >= at)
    }

    /// How long a server may take to accept a connection; none is what the kernel allows.
    pub(super) fn patience_ns(&self) -> Option<Nanos> {
        self.on_demand.then_some(self.max_ns)
    }

    /// The server to ask now, if it is time.
    pub(super) fn due(&mut self, now: Nanos) -> Option<SocketAddr> {
        match self.state {
            State::Due(at) if now >= at => {
                self.state = State::Engaged;
                self.servers.get(self.at).copied()
            }
            _ => None,
        }
    }

    /// The server speaks to us.
    pub(super) fn accepted(&mut self) {
        self.failures = 0;
        self.wait_ns = self.min_ns;
    }

    /// The connection could not be had, or ended: the next server follows, after all of them a longer wait.
    pub(super) fn ended(&mut self, reason: CloseReason, was_accepted: bool, now: Nanos) {
        let is_over = reason == CloseReason::EndOfSession && !self.on_demand;
        if self.state == State::Done || is_over || reason == CloseReason::Stopped {
            self.state = State::Done;
            return;
        }
        if was_accepted {
            // It was well with this one: it is asked first.
            self.state = State::Due(now + self.min_ns);
            return;
        }
        self.at = (self.at + 1) % self.servers.len();
        self.failures += 1;
        let all_failed = self.failures.is_multiple_of(self.servers.len());
        self.state = State::Due(now + if all_failed { self.wait_ns } else { 0 });
        if all_failed {
            self.wait_ns = (self.wait_ns * 2).min(self.max_ns);
        }
    }

    pub(super) fn stop(&mut self) {
        self.state = State::Done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn servers_are_tried_in_order_and_waits_double() {
        let text = "[[connect]]\nname = 'c'\nservers = ['127.0.0.1:1', '127.0.0.1:2']\nprotocol = 'soupbintcp-itch50'\n\
                    username = 'u'\npassword = 'p'\nreconnect_min_ms = 100\nreconnect_max_ms = 300\n";
        let settings = Settings::from_text(text, "test").expect("is right");
        let mut route = Route::new(&settings.connectors[0]);
        let ports = |route: &mut Route, now| route.due(now).map(|server| server.port());
        assert_eq!(ports(&mut route, 0), Some(1));
        assert_eq!(ports(&mut route, 0), None, "one at a time");
        route.ended(CloseReason::IoError, false, 0);
        assert_eq!(ports(&mut route, 0), Some(2));
        route.ended(CloseReason::LoginRefused, false, 0);
        assert_eq!((ports(&mut route, 99_999_999), ports(&mut route, 100_000_000)), (None, Some(1)));
        route.accepted();
        route.ended(CloseReason::PeerReset, true, 200_000_000);
        assert_eq!(ports(&mut route, 300_000_000), Some(1));
        route.ended(CloseReason::EndOfSession, true, 300_000_000);
        assert_eq!(ports(&mut route, Nanos::MAX), None);
    }
}
