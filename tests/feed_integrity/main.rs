//! What a feed promises when packets are missing, late, doubled or of an epoch that has ended.

mod cme_gaps;
mod iex_restarts;
mod losses;
mod nyse_flags;
mod old_epochs;
#[path = "../common/program.rs"]
#[expect(dead_code, reason = "these tests need a part of it")]
mod program;
mod random;
mod rig;
mod silence;
mod snapshots;
mod venues;
