//! Who may come in. Invariant: a connection that is refused is counted under the first limit that it breaks.

use crate::config::Listener;
use crate::event::{CloseReason, Prefix};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// How many connections a listener has, in all and from each address.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    count: usize,
    by_source: HashMap<IpAddr, usize>,
}

impl Visitors {
    /// Counts a connection in, unless a limit stands against it. Peers without an address count in all only.
    pub(super) fn admit(&mut self, listener: &Listener, peer: Option<IpAddr>) -> Result<(), CloseReason> {
        if !is_in(&listener.allow, peer) {
            return Err(CloseReason::SourceNotAllowed);
        }
        if self.count >= listener.connections_max {
            return Err(CloseReason::ListenerFull);
        }
        if let Some(peer) = peer {
            let there = self.by_source.get(&peer).copied().unwrap_or_default();
            if there >= listener.connections_per_source_max {
                return Err(CloseReason::SourceFull);
            }
            self.by_source.insert(peer, there + 1);
        }
        self.count += 1;
        Ok(())
    }

    /// Counts a connection out.
    pub(super) fn left(&mut self, peer: Option<IpAddr>) {
        self.count = self.count.saturating_sub(1);
        let Some(peer) = peer else { return };
        if let Some(there) = self.by_source.get_mut(&peer) {
            *there -= 1;
            if *there == 0 {
                self.by_source.remove(&peer);
            }
        }
    }
}

/// Whose datagrams are taken.
#[derive(Debug)]
pub(super) enum Senders {
    /// Those of these networks; with none, everybody's.
    Prefixes(Vec<Prefix>),
    /// Those of servers that are asked, from the ports that they are asked at.
    Servers(Vec<SocketAddr>),
}

impl Senders {
    /// Whether anything is taken from there.
    pub(super) fn include(&self, source: Option<SocketAddr>) -> bool {
        match self {
            Senders::Prefixes(prefixes) => is_in(prefixes, source.map(|source| source.ip())),
            Senders::Servers(servers) => source.is_some_and(|source| servers.contains(&source)),
        }
    }

    /// Whether they are asked.
    pub(super) fn are_servers(&self) -> bool {
        matches!(self, Senders::Servers(_))
    }
}

/// Whether one of the prefixes has that address; without any, every one is right.
fn is_in(prefixes: &[Prefix], peer: Option<IpAddr>) -> bool {
    let known = |peer: IpAddr| prefixes.iter().any(|prefix| prefix.contains(&peer));
    prefixes.is_empty() || peer.is_some_and(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn the_first_broken_limit_is_named() {
        let text = "[[listen]]\nname = 'in'\nsource = 'tcp'\naddress = '127.0.0.1:9000'\nprotocol = 'native'\n\
                    connections_max = 3\nconnections_per_source_max = 2\nallow = ['10.0.0.0/8']\n";
        let settings = Settings::from_text(text, "test").expect("is right");
        let listener = &settings.listeners[0];
        let mut visitors = Visitors::default();
        let ip = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
        assert_eq!(
            visitors.admit(listener, Some(IpAddr::from([11, 0, 0, 1]))),
            Err(CloseReason::SourceNotAllowed)
        );
        assert_eq!(visitors.admit(listener, None), Err(CloseReason::SourceNotAllowed));
        assert_eq!((visitors.admit(listener, ip(1)), visitors.admit(listener, ip(1))), (Ok(()), Ok(())));
        assert_eq!(visitors.admit(listener, ip(1)), Err(CloseReason::SourceFull));
        assert_eq!(visitors.admit(listener, ip(2)), Ok(()));
        assert_eq!(visitors.admit(listener, ip(3)), Err(CloseReason::ListenerFull));
        visitors.left(ip(1));
        assert_eq!(visitors.admit(listener, ip(1)), Ok(()));
    }
}
