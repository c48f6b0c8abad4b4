//! Which groups are to be joined where, and on how many sockets the kernel's limits allow that.
//!
//! Invariant: pure; every membership is placed on exactly one socket, and no socket has more than the limits say.

use super::MembersError;
use crate::config::Settings;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

/// Sockets for memberships at most: 1,280 groups at the kernel's usual 20 for each. More feeds than that are an oversight,
/// or a reason to raise the limit.
pub const MEMBER_SOCKETS_MAX: usize = 64;

/// IPv6 groups on a socket. The kernel counts their memory (net.core.optmem_max, 20 KiB on older ones) and not their
/// number; with 64 groups some is left for senders.
const GROUPS_V6: usize = 64;

/// The kernel's own values, for where it does not tell.
const GROUPS_V4_USUAL: usize = 20;
const SENDERS_V4_USUAL: usize = 10;
const SENDERS_V6_USUAL: usize = 64;

/// A group that is joined on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Membership {
    /// The interface's name.
    pub interface: String,
    /// The group.
    pub group: IpAddr,
    /// The one sender whose packets are wanted; `None` for any.
    pub source: Option<IpAddr>,
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} ", self.group, self.interface)?;
        match self.source {
            None => f.write_str("(any source)"),
            Some(source) => write!(f, "(source {source})"),
        }
    }
}

/// Every membership that the feeds need on interfaces that join, once, in order.
pub fn wanted(settings: &Settings) -> Vec<Membership> {
    let mut wanted = BTreeSet::new();
    for interface in settings.interfaces.iter().filter(|interface| interface.join) {
        for line in settings.lines_by(&interface.name).filter(|line| line.destination.ip().is_multicast()) {
            wanted.insert(Membership {
                interface: interface.name.clone(),
                group: line.destination.ip(),
                source: line.source,
            });
        }
    }
    wanted.into_iter().collect()
}

/// What the kernel allows a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberLimits {
    /// IPv4 groups, by interface (net.ipv4.igmp_max_memberships).
    pub groups_v4: usize,
    /// Senders of an IPv4 group (net.ipv4.igmp_max_msf).
    pub senders_v4: usize,
    /// Senders of an IPv6 group (net.ipv6.mld_max_msf).
    pub senders_v6: usize,
}

impl MemberLimits {
    /// Reads them below `root`, which is `/` but in tests. Where the kernel does not tell, they have its usual values.
    pub fn read(root: &Path) -> MemberLimits {
        let read = |name: &str, usual: usize| {
            let text = std::fs::read_to_string(root.join("proc/sys/net").join(name)).ok();
            // Negative numbers are allowed by the kernel, and allow nothing.
            text.and_then(|text| text.trim().parse::<i64>().ok())
                .map_or(usual, |number| usize::try_from(number).unwrap_or_default())
        };
        MemberLimits {
            groups_v4: read("ipv4/igmp_max_memberships", GROUPS_V4_USUAL),
            senders_v4: read("ipv4/igmp_max_msf", SENDERS_V4_USUAL),
            senders_v6: read("ipv6/mld_max_msf", SENDERS_V6_USUAL),
        }
    }

    fn groups(&self, is_ipv4: bool) -> usize {
        if is_ipv4 { self.groups_v4 } else { GROUPS_V6 }
    }

    fn senders(&self, is_ipv4: bool) -> usize {
        // The kernel asks for the limit from the second sender on.
        if is_ipv4 { self.senders_v4.max(1) } else { self.senders_v6.max(1) }
    }
}

/// What a socket has of one group on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// It is member for any sender.
    AnySender,
    /// It is member for this many senders.
    Senders(usize),
}

/// A socket while it is planned.
#[derive(Debug)]
struct Plan<'a> {
    is_ipv4: bool,
    shares: BTreeMap<(&'a str, IpAddr), Share>,
    members: Vec<usize>,
}

impl<'a> Plan<'a> {
    /// Takes a membership, if the limits allow it one more.
    fn take(&mut self, index: usize, membership: &'a Membership, limits: &MemberLimits) -> bool {
        let room = self.shares.len() < limits.groups(self.is_ipv4);
        let key = (membership.interface.as_str(), membership.group);
        let share = match (self.shares.get(&key), membership.source) {
            (None, None) if room => Share::AnySender,
            (None, Some(_)) if room => Share::Senders(1),
            (Some(Share::Senders(count)), Some(_)) if *count < limits.senders(self.is_ipv4) => {
                Share::Senders(count + 1)
            }
            // A socket can't be member for any sender and for named ones at once.
            _ => return false,
        };
        self.shares.insert(key, share);
        self.members.push(index);
        true
    }
}

/// Spreads memberships over sockets: for each socket, the indexes of its memberships, which are of one family.
///
/// # Errors
/// [`MembersError::Limit`] if that takes more than [`MEMBER_SOCKETS_MAX`] sockets.
pub fn place(memberships: &[Membership], limits: &MemberLimits) -> Result<Vec<Vec<usize>>, MembersError> {
    let mut plans: Vec<Plan<'_>> = Vec::new();
    for (index, membership) in memberships.iter().enumerate() {
        let is_ipv4 = membership.group.is_ipv4();
        let mut same = plans.iter_mut().filter(|plan| plan.is_ipv4 == is_ipv4);
        if same.any(|plan| plan.take(index, membership, limits)) {
            continue;
        }
        let mut plan = Plan { is_ipv4, shares: BTreeMap::new(), members: Vec::new() };
        if plans.len() == MEMBER_SOCKETS_MAX || !plan.take(index, membership, limits) {
            return Err(too_many(memberships, is_ipv4));
        }
        plans.push(plan);
    }
    Ok(plans.into_iter().map(|plan| plan.members).collect())
}

/// Says what the limits must be for everything of that family to find a place on a few sockets.
fn too_many(memberships: &[Membership], is_ipv4: bool) -> MembersError {
    let mut senders: BTreeMap<(&str, IpAddr), usize> = BTreeMap::new();
    let family = memberships.iter().filter(|membership| membership.group.is_ipv4() == is_ipv4);
    for membership in family.clone() {
        *senders.entry((&membership.interface, membership.group)).or_default() += 1;
    }
    let most = senders.values().copied().max().unwrap_or_default();
    let command = if is_ipv4 {
        let groups = senders.len();
        format!("sysctl -w net.ipv4.igmp_max_memberships={groups} net.ipv4.igmp_max_msf={most}")
    } else {
        format!("sysctl -w net.ipv6.mld_max_msf={most}")
    };
    MembersError::Limit { memberships: family.count(), sockets_max: MEMBER_SOCKETS_MAX, command }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn member(interface: &str, group: &str, source: Option<&str>) -> Membership {
        Membership { interface: interface.to_owned(), group: ip(group), source: source.map(ip) }
    }

    fn limits(groups_v4: usize, senders_v4: usize) -> MemberLimits {
        MemberLimits { groups_v4, senders_v4, senders_v6: 2 }
    }

    #[test]
    fn groups_are_wanted_where_their_lines_come_in() {
        let text = "[[interface]]\nname = 'x'\n[[interface]]\nname = 'y'\n[[interface]]\nname = 'z'\njoin = false\n\
                    [[feed]]\nname = 'f'\nprotocol = 'iex-tp'\nlines = [\n\
                    { name = 'A', destination = '239.1.1.1:1', interface = 'x' },\n\
                    { name = 'B', destination = '239.1.1.2:1', interface = 'y', source = '192.0.2.1' },\n\
                    { name = 'C', destination = '[ff0e::1]:1' }, { name = 'D', destination = '10.0.0.1:1' }]\n\
                    [[feed]]\nname = 'g'\nprotocol = 'iex-tp'\n\
                    lines = [{ name = 'A', destination = '239.1.1.1:2', interface = 'x' }]\n";
        let settings = Settings::from_text(text, "test").unwrap_or_else(|error| panic!("{error}"));
        let told: Vec<String> = wanted(&settings).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "239.1.1.1 on x (any source)",
                "ff0e::1 on x (any source)",
                "239.1.1.2 on y (source 192.0.2.1)",
                "ff0e::1 on y (any source)",
            ]
        );
    }

    #[test]
    fn limits_are_read_where_the_kernel_tells_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let usual = MemberLimits { groups_v4: 20, senders_v4: 10, senders_v6: 64 };
        assert_eq!(MemberLimits::read(folder.path()), usual);
        let ipv4 = folder.path().join("proc/sys/net/ipv4");
        std::fs::create_dir_all(&ipv4).expect("a folder");
        std::fs::write(ipv4.join("igmp_max_memberships"), "3\n").expect("writes");
        std::fs::write(ipv4.join("igmp_max_msf"), "-1\n").expect("writes");
        assert_eq!(MemberLimits::read(folder.path()), MemberLimits { groups_v4: 3, senders_v4: 0, ..usual });
    }

    #[test]
    fn a_socket_is_for_one_family_and_for_any_sender_or_for_named_ones() {
        let members = [
            member("x", "239.1.1.1", None),
            member("x", "239.1.1.1", Some("192.0.2.1")),
            member("x", "239.1.1.1", Some("192.0.2.2")),
            member("x", "239.1.1.1", Some("192.0.2.3")),
            member("x", "239.1.1.2", None),
            member("y", "239.1.1.2", None),
            member("x", "ff0e::1", None),
        ];
        let placed = place(&members, &limits(2, 2)).expect("fits");
        assert_eq!(placed, [vec![0, 4], vec![1, 2, 5], vec![3], vec![6]]);
    }

    #[test]
    fn too_many_memberships_name_the_command_that_helps() {
        let many: Vec<Membership> =
            (0..=64).map(|n| member("x", &format!("239.1.1.{n}"), Some("192.0.2.1"))).collect();
        assert_eq!(place(&many[..64], &limits(1, 1)).expect("fits").len(), 64);
        let told = place(&many, &limits(1, 1)).expect_err("one too many").to_string();
        assert!(told.contains("65 memberships") && told.contains("on 64 sockets"), "{told}");
        let command = "`sysctl -w net.ipv4.igmp_max_memberships=65 net.ipv4.igmp_max_msf=1`";
        assert!(told.contains(command) && told.contains("join = false"), "{told}");
        assert!(place(&many[..1], &limits(0, 1)).is_err());
        assert_eq!(place(&many[..1], &limits(1, 0)).expect("one sender always goes").len(), 1);
        assert_eq!(place(&[], &limits(0, 0)).expect("nothing fits"), Vec::<Vec<usize>>::new());
    }

    proptest! {
        #[test]
        fn every_membership_is_placed_once_within_the_limits(
            numbers in proptest::collection::btree_set((0u8..3, 0u8..6, 0u8..5, any::<bool>()), 0..60),
            groups_v4 in 1usize..5,
            senders in 1usize..4,
        ) {
            let members: Vec<Membership> = numbers.iter().map(|(interface, group, source, v6)| {
                let (prefix, sender) = if *v6 { ("ff0e::", "2001:db8::") } else { ("239.1.1.", "192.0.2.") };
                let source = (*source > 0).then(|| format!("{sender}{source}"));
                member(&format!("i{interface}"), &format!("{prefix}{group}"), source.as_deref())
            }).collect();
            let limits = MemberLimits { groups_v4, senders_v4: senders, senders_v6: senders };
            let Ok(placed) = place(&members, &limits) else { return Ok(()) };
            let mut all: Vec<usize> = placed.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..members.len()).collect::<Vec<_>>());
            for socket in &placed {
                let mut shares: BTreeMap<_, Vec<Option<IpAddr>>> = BTreeMap::new();
                let is_ipv4 = members[socket[0]].group.is_ipv4();
                for one in socket.iter().map(|index| &members[*index]) {
                    prop_assert_eq!(one.group.is_ipv4(), is_ipv4);
                    shares.entry((&one.interface, one.group)).or_default().push(one.source);
                }
                prop_assert!(shares.len() <= limits.groups(is_ipv4));
                for sources in shares.values() {
                    let any = sources.contains(&None);
                    let allowed = if any { 1 } else { senders };
                    prop_assert!(sources.len() <= allowed);
                }
            }
        }
    }
}
