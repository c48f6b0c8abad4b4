//! What came of asking for lost messages, by feed. Invariant: requests and replies of a feed are the
//! sums of its servers', unless it has them from replays.

use super::books::Counts;
use crate::event::RequestFailure;
use crate::feed::RecoveryReport;
use serde::Serialize;

/// One feed's recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedRecoveryReport {
    /// The feed.
    pub name: String,
    /// Requests that were made; of SoupBinTCP, logins.
    pub requests: u64,
    /// Those of them that got no answer of use in time.
    pub timeouts: u64,
    /// Datagrams that servers sent; of SoupBinTCP, messages.
    pub replies: u64,
    /// How often another server was turned to.
    pub server_switches: u64,
    /// The servers, in order; none for SoupBinTCP.
    pub servers: Vec<ServerReport>,
    /// Requests that could not be sent, and errors of their socket.
    pub send_errors: Counts,
}

/// One server of a feed's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerReport {
    /// Where it is.
    pub address: String,
    /// Requests to it.
    pub requests: u64,
    /// Those of them that got no answer of use in time.
    pub timeouts: u64,
    /// Datagrams from it.
    pub replies: u64,
}

impl From<RecoveryReport> for FeedRecoveryReport {
    fn from(report: RecoveryReport) -> FeedRecoveryReport {
        let servers: Vec<ServerReport> = report
            .servers
            .into_iter()
            .map(|book| ServerReport {
                address: book.address.to_string(),
                requests: book.requests,
                timeouts: book.timeouts,
                replies: book.replies,
            })
            .collect();
        let sum = |pick: fn(&ServerReport) -> u64| servers.iter().map(pick).sum::<u64>();
        let replays = report.replays.unwrap_or_default();
        let failures =
            RequestFailure::ALL.iter().map(|reason| (reason.name(), report.failures[*reason as usize]));
        FeedRecoveryReport {
            name: report.name,
            requests: sum(|server| server.requests) + replays.logins,
            timeouts: sum(|server| server.timeouts) + replays.failed,
            replies: sum(|server| server.replies) + replays.messages,
            server_switches: report.switches,
            servers,
            send_errors: Counts(failures.collect()),
        }
    }
}
