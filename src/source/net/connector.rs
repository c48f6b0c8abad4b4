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
        }
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
        if self.state == State::Done || matches!(reason, CloseReason::EndOfSession | CloseReason::Stopped) {
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
