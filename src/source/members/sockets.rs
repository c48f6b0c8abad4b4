//! The sockets that hold memberships, and what is done when a link comes back.
//!
//! Invariant: a membership lives as long as this does: dropping it closes the sockets, and the kernel leaves their groups.
//! The sockets are bound to no port and take no datagrams of groups, so nothing piles up in them.

use super::{MemberLimits, MembersError, Membership, place};
use crate::os::{self, LinkState};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often links are looked at. What happened in between is seen all the same, for the kernel counts carrier changes.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A membership and how it fares.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MembershipFact {
    /// What was joined.
    #[serde(flatten)]
    pub membership: Membership,
    /// How often it was joined again, since its link had been down.
    pub rejoins: u64,
    /// What the kernel said when it could not be joined again the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A membership on its socket.
#[derive(Debug)]
struct Joined {
    fact: MembershipFact,
    /// Index of its socket.
    socket: usize,
    /// The interface's number when it was joined.
    interface: u32,
}

/// An interface with memberships.
#[derive(Debug)]
struct Link {
    name: String,
    /// Its state when its groups were joined the last time; `None` when they are to be joined again once it is up.
    joined: Option<LinkState>,
}

/// All memberships of a run.
#[derive(Debug)]
pub struct Members {
    sockets: Vec<Socket>,
    members: Vec<Joined>,
    links: Vec<Link>,
    looked: Option<Instant>,
}

impl Members {
    /// Joins all of them.
    ///
    /// # Errors
    /// [`MembersError`]; what was joined until then is left again.
    pub fn join(wanted: Vec<Membership>, limits: &MemberLimits) -> Result<Members, MembersError> {
        let placed = place(&wanted, limits)?;
        let names: BTreeSet<&str> = wanted.iter().map(|membership| membership.interface.as_str()).collect();
        // The links' state from before the joining: what happens meanwhile is a change then.
        let links: Vec<(String, Option<LinkState>)> =
            names.into_iter().map(|name| (name.to_owned(), os::link_state(name))).collect();
        let mut members =
            Members { sockets: Vec::new(), members: Vec::new(), links: Vec::new(), looked: None };
        for indexes in placed {
            let socket = members.sockets.len();
            let mut wanted = indexes.iter().map(|index| wanted[*index].clone()).peekable();
            let Some(first) = wanted.peek() else { continue };
            members.sockets.push(silent_socket(first)?);
            for membership in wanted {
                let link = links.iter().find(|(name, _)| *name == membership.interface);
                let Some(state) = link.and_then(|(_, state)| *state) else {
                    return Err(MembersError::NoInterface { membership });
                };
                os::join_group(&members.sockets[socket], membership.group, membership.source, state.index)
                    .map_err(|source| MembersError::refused(&membership, source))?;
                let fact = MembershipFact { membership, rejoins: 0, refused: None };
                members.members.push(Joined { fact, socket, interface: state.index });
            }
        }
        let link =
            |(name, state): (String, Option<LinkState>)| Link { name, joined: state.filter(|s| s.is_up) };
        members.links = links.into_iter().map(link).collect();
        Ok(members)
    }

    /// A line per membership, as they were joined.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.members.iter().map(|joined| format!("joined {}", joined.fact.membership))
    }

    /// Looks at the links, now and then, and joins again what stood on one that was down or was made anew: a switch
    /// forgets a port without carrier, and the kernel tells it about memberships only when it is asked the next time.
    pub fn watch(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_INTERVAL) {
            return;
        }
        self.looked = Some(now);
        for index in 0..self.links.len() {
            let seen = os::link_state(&self.links[index].name).filter(|state| state.is_up);
            if seen.is_none() || seen != self.links[index].joined {
                let name = self.links[index].name.clone();
                let is_joined = seen.is_some_and(|state| self.join_again(&name, state.index));
                self.links[index].joined = seen.filter(|_| is_joined);
            }
        }
    }

    /// Every membership, with how often it was joined again.
    pub fn facts(&self) -> Vec<MembershipFact> {
        self.members.iter().map(|joined| joined.fact.clone()).collect()
    }

    /// Leaves and joins all groups of an interface; whether all could be joined.
    fn join_again(&mut self, name: &str, interface: u32) -> bool {
        let on_it = |joined: &&mut Joined| joined.fact.membership.interface == name;
        // All first: the kernel reports a group that has no member left, and then has one again.
        for joined in self.members.iter_mut().filter(on_it) {
            let Membership { group, source, .. } = joined.fact.membership;
            // An error says that it was no member any more.
            let _ = os::leave_group(&self.sockets[joined.socket], group, source, joined.interface);
        }
        let (mut again, mut all, mut is_another) = (0, true, false);
        for joined in self.members.iter_mut().filter(on_it) {
            let Membership { group, source, .. } = joined.fact.membership;
            is_another |= joined.interface != interface;
            joined.interface = interface;
            match os::join_group(&self.sockets[joined.socket], group, source, interface) {
                Ok(()) => {
                    again += 1;
                    joined.fact.rejoins += 1;
                    joined.fact.refused = None;
                }
                Err(error) => {
                    all = false;
                    let told = MembersError::refused(&joined.fact.membership, error).to_string();
                    // Once, and not with each attempt.
                    if joined.fact.refused.as_ref() != Some(&told) {
                        tracing::warn!("{told}");
                    }
                    joined.fact.refused = Some(told);
                }
            }
        }
        if is_another {
            tracing::warn!(
                "{name} was removed and made again, and its XDP program and lanes are gone: restart Sluice to receive from it"
            );
        }
        if all {
            tracing::warn!(
                "{name} was down and is up again: its multicast groups are joined again ({again})"
            );
        }
        all
    }
}

/// A socket that receives nothing: no port, and of groups only what it joined itself.
fn silent_socket(first: &Membership) -> Result<Socket, MembersError> {
    let open = || {
        if first.group.is_ipv4() {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_multicast_all_v4(false)?;
            Ok(socket)
        } else {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_multicast_all_v6(false)?;
            Ok(socket)
        }
    };
    open().map_err(|source| MembersError::Socket { source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::path::Path;

    fn on_loopback(group: [u8; 4], source: Option<[u8; 4]>) -> Membership {
        Membership { interface: "lo".to_owned(), group: group.into(), source: source.map(IpAddr::from) }
    }

    fn numbered(first: u8, number: usize) -> Membership {
        on_loopback([first, (number >> 16) as u8, (number >> 8) as u8, number as u8], None)
    }

    /// Whether a group of this machine's loopback is joined; by the kernel's own list, in its own byte order.
    fn is_member(group: [u8; 4]) -> bool {
        let list = std::fs::read_to_string("/proc/net/igmp").expect("Linux has it");
        list.contains(&format!("{:08X}", u32::from_ne_bytes(group)))
    }

    #[test]
    fn groups_are_joined_while_it_lives() {
        let limits = MemberLimits::read(Path::new("/"));
        let (any, one) = ([239, 255, 88, 1], [239, 255, 88, 2]);
        let wanted = vec![on_loopback(any, None), on_loopback(one, Some([192, 0, 2, 1]))];
        let mut members = Members::join(wanted, &limits).expect("loopback takes it");
        assert!(is_member(any) && is_member(one));
        let lines: Vec<String> = members.lines().collect();
        assert_eq!(
            lines,
            ["joined 239.255.88.1 on lo (any source)", "joined 239.255.88.2 on lo (source 192.0.2.1)"]
        );
        members.watch(Instant::now());
        assert!(members.facts().iter().all(|fact| fact.rejoins == 0 && fact.refused.is_none()));
        drop(members);
        assert!(!is_member(any) && !is_member(one));
    }

    #[test]
    fn a_link_that_changed_has_its_groups_joined_again() {
        let limits = MemberLimits::read(Path::new("/"));
        let group = [239, 255, 88, 3];
        let mut members = Members::join(vec![on_loopback(group, None)], &limits).expect("loopback takes it");
        let now = Instant::now();
        members.links[0].joined.as_mut().expect("it is up").carrier_changes += 1;
        members.watch(now);
        assert_eq!(members.facts()[0].rejoins, 1);
        assert!(is_member(group));
        members.watch(now + LOOK_INTERVAL);
        assert_eq!(members.facts()[0].rejoins, 1, "nothing happened in between");
        // As if it had been made anew: the old number is not there to be left.
        members.members[0].interface = 999_999;
        members.links[0].joined = None;
        members.watch(now + 2 * LOOK_INTERVAL);
        let fact = &members.facts()[0];
        assert!(fact.rejoins == 1 && fact.refused.as_ref().is_some_and(|told| told.contains("239.255.88.3")));
        assert!(members.links[0].joined.is_none(), "it is tried again");
    }

    #[test]
    fn more_groups_than_a_socket_takes_go_to_further_ones() {
        let limits = MemberLimits::read(Path::new("/"));
        let count = limits.groups_v4 + 3;
        let wanted = (0..count).map(|n| numbered(239, n)).collect();
        let members = Members::join(wanted, &limits).expect("loopback takes it");
        assert_eq!((members.sockets.len(), members.facts().len()), (2, count));
    }

    #[test]
    fn what_the_kernel_refuses_is_named() {
        let absent = Membership { interface: "nosuch0".to_owned(), ..on_loopback([239, 255, 88, 4], None) };
        let limits = MemberLimits::read(Path::new("/"));
        let told = Members::join(vec![absent], &limits).expect_err("absent").to_string();
        assert!(told.contains("239.255.88.4 on nosuch0") && told.contains("`ip link`"), "{told}");
        // Told that the kernel allows more than it does, we meet its own limit.
        let wrong = MemberLimits { groups_v4: 100_000, ..limits };
        let wanted = (0..=limits.groups_v4).map(|n| numbered(238, n)).collect();
        let error = Members::join(wanted, &wrong).expect_err("one too many");
        assert!(error.machine_lacks());
        let told = error.to_string();
        assert!(told.contains("os error 105") && told.contains("net.ipv4.igmp_max_memberships"), "{told}");
    }
}
