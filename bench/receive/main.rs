//! Question: how many 64-byte frames a second does each receiver take from the same senders, and what does it lose?
//!
//! Every receiver meets every sender in interleaved rounds on a veth pair in namespaces of the bench's own; the
//! medians over the rounds are printed, and the range of the frames lost. A receiver's rate is what it received over
//! the time that the sender needed, so that all are measured by the same clock. Needs root.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its table")]

mod frames;
mod peers;
mod receivers;
mod recvmmsg;
mod rig;
mod senders;

use receivers::Receiver;
use senders::Sender;
use std::process::ExitCode;

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Frames that the sender handed over.
    pub(crate) sent: u64,
    /// Frames that the receiver counted.
    pub(crate) received: u64,
    /// Seconds that the sender needed.
    pub(crate) seconds: f64,
}

impl Outcome {
    fn mpps(&self) -> f64 {
        self.received as f64 / self.seconds / 1e6
    }

    fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let Some(role) = arguments.iter().position(|a| a == "--role") {
        return peers::play(&arguments[role + 1..]);
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("receive: skipped: needs root for namespaces, XDP and AF_XDP");
        return ExitCode::SUCCESS;
    }
    let short = arguments.iter().any(|a| a == "--short");
    match compare(short).and_then(|()| cme_at_rate(short)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("receive: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Interleaves all pairs of sender and receiver.
fn compare(short: bool) -> Result<(), String> {
    let rig = rig::Rig::up()?;
    let (rounds, frames) = if short { (1, 50_000) } else { (10, 1_000_000) };
    let capture = frames::write_small_frames(&rig)?;
    let senders: Vec<Sender> = senders::available();
    let receivers: Vec<Receiver> = receivers::available();
    let mut outcomes: Vec<Vec<Vec<Outcome>>> = vec![vec![Vec::new(); receivers.len()]; senders.len()];
    for round in 0..rounds {
        for (s, sender) in senders.iter().enumerate() {
            for (r, receiver) in receivers.iter().enumerate() {
                eprint!(
                    "\rreceive: round {}/{rounds} {:<14} {:<18}",
                    round + 1,
                    sender.name(),
                    receiver.name()
                );
                match peers::run(&rig, *sender, *receiver, &capture, frames) {
                    Ok(outcome) => outcomes[s][r].push(outcome),
                    Err(error) => eprintln!("\nreceive: {} to {}: {error}", sender.name(), receiver.name()),
                }
            }
        }
    }
    eprintln!();
    println!("receive: 64-byte frames, {frames} a run, one queue, {rounds} interleaved rounds");
    println!("sender\treceiver\tmpps_median\tratio_to_sluice\tlost_median\tlost_worst\truns_without_loss");
    for (s, sender) in senders.iter().enumerate() {
        let sluice = median(outcomes[s][0].iter().map(Outcome::mpps).collect());
        for (r, receiver) in receivers.iter().enumerate() {
            print_row(sender.name(), receiver.name(), &outcomes[s][r], sluice);
        }
    }
    Ok(())
}

fn print_row(sender: &str, receiver: &str, outcomes: &[Outcome], sluice: f64) {
    if outcomes.is_empty() {
        println!("{sender}\t{receiver}\tfailed");
        return;
    }
    let rate = median(outcomes.iter().map(Outcome::mpps).collect());
    let lost = median(outcomes.iter().map(|o| o.lost() as f64).collect());
    let worst = outcomes.iter().map(Outcome::lost).max().unwrap_or_default();
    let clean = outcomes.iter().filter(|o| o.lost() == 0).count();
    println!(
        "{sender}\t{receiver}\t{rate:.3}\t{:.2}\t{lost:.0}\t{worst}\t{clean}/{}",
        rate / sluice,
        outcomes.len()
    );
}

/// The real CME capture at 236,000 packets a second: who loses any of a million?
fn cme_at_rate(short: bool) -> Result<(), String> {
    let Some(capture) = frames::cme_capture() else {
        println!("cme at rate: skipped: no captures (set SLUICE_CAPTURES)");
        return Ok(());
    };
    let rig = rig::Rig::up()?;
    let (rounds, loops) = if short { (1, 2) } else { (5, 100) };
    println!("\ncme capture at 236000 packets per second, {} packets a run, {rounds} rounds", loops * 10_000);
    println!("receiver\tsent\treceived\tlost_per_run");
    for receiver in receivers::available().into_iter().filter(|r| r.counts_any_destination()) {
        let mut lost = Vec::new();
        let mut total = Outcome { sent: 0, received: 0, seconds: 0.0 };
        for _ in 0..rounds {
            let outcome = peers::run_at_rate(&rig, receiver, &capture, loops, 236_000)?;
            total.sent += outcome.sent;
            total.received += outcome.received;
            lost.push(outcome.lost());
        }
        println!("{}\t{}\t{}\t{lost:?}", receiver.name(), total.sent, total.received);
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
