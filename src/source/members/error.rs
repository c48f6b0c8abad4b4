//! Why groups can't be joined. Invariant: every text names what to run or to write next.

use super::Membership;
use std::io;

/// What is wrong with the memberships that the feeds need.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The kernel's limits per socket would take too many sockets.
    #[error(
        "the feeds need {memberships} memberships in multicast groups, which the kernel's limits for a socket do not allow on \
         {sockets_max} sockets: run `{command}`, or write join = false and have the groups joined elsewhere"
    )]
    Limit {
        /// How many are needed, of one family.
        memberships: usize,
        /// How many sockets there may be.
        sockets_max: usize,
        /// The command that raises the limits far enough.
        command: String,
    },
    /// No socket can be made.
    #[error(
        "cannot open a socket for multicast memberships: {source}; it needs the family of the feeds' groups (IPv6?) \
         and a free place among the open files (`ulimit -n`)"
    )]
    Socket {
        /// The kernel's word.
        source: io::Error,
    },
    /// The interface is not there.
    #[error("cannot join {membership}: there is no such interface; `ip link` lists those there are")]
    NoInterface {
        /// What was to be joined.
        membership: Membership,
    },
    /// The kernel refuses a membership.
    #[error("cannot join {membership}: {source}; {advice}")]
    Refused {
        /// What was to be joined.
        membership: Membership,
        /// The kernel's word.
        source: io::Error,
        /// What to do next.
        advice: &'static str,
    },
}

impl MembersError {
    /// The kernel refused `membership`.
    pub(super) fn refused(membership: &Membership, source: io::Error) -> MembersError {
        let advice = match (source.raw_os_error(), membership.group.is_ipv4()) {
            (Some(libc::ENOBUFS | libc::ENOMEM), true) => {
                "a limit for a socket is reached: raise it by `sysctl -w net.ipv4.igmp_max_memberships=N \
                 net.ipv4.igmp_max_msf=N`, and net.core.optmem_max, which is the memory for both"
            }
            (Some(libc::ENOBUFS | libc::ENOMEM), false) => {
                "a limit for a socket is reached: raise it by `sysctl -w net.ipv6.mld_max_msf=N`, and \
                 net.core.optmem_max, which is the memory for memberships"
            }
            (_, true) => "the interface must carry IPv4 (an MTU of 68 or more); `ip link show` tells",
            (_, false) => "the interface must carry IPv6; `sysctl net.ipv6.conf.all.disable_ipv6` tells",
        };
        MembersError::Refused { membership: membership.clone(), source, advice }
    }

    /// Whether the machine lacks something, in contrast to a wrong wish.
    pub fn machine_lacks(&self) -> bool {
        match self {
            MembersError::Limit { .. } | MembersError::Socket { .. } | MembersError::NoInterface { .. } => {
                true
            }
            MembersError::Refused { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM | libc::ENODEV))
            }
        }
    }
}
