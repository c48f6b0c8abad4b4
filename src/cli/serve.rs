//! `sluice replay --to soup:ADDR:PORT`: serves, and reports what was served to whom.

use super::output::{print, warn_of};
use super::replay::{note_capture, pacing_value};
use super::{Pace, ReplayArgs};
use crate::appliance::{self, ServedOutcome};
use crate::event::CloseReason;
use crate::os::{self, Clock, MachineFacts, StopFlag};
use crate::replay::soup_server::{ClientReport, SoupOptions, SoupReport};
use crate::replay::{ReplayBar, SendProgress};
use crate::report::{Exit, FramesReport, MessagesReport, write_json};
use crate::source::FrameSource;
use crate::source::capture::CaptureOptions;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;

/// Name of the session unless another is given.
const SESSION_DEFAULT: &[u8; 10] = b"SLUICE0001";

/// Serves the captures' ITCH messages to clients, and reports.
pub(super) fn serve(
    args: &ReplayArgs,
    options: &CaptureOptions,
    address: SocketAddr,
    stop: &StopFlag,
) -> anyhow::Result<Exit> {
    let soup = SoupOptions {
        address,
        session: args.soup.soup_session.unwrap_or(*SESSION_DEFAULT),
        username: args.soup.soup_user,
        password: args.soup.soup_password,
        wait_clients: args.soup.wait_clients.map_or(1, |count| usize::from(count.get())),
        memory_bytes: options.memory_bytes,
        paced: args.pace() != Pace::Max,
    };
    let session = soup.session.trim_ascii().escape_ascii().to_string();
    let mut listening = |address: SocketAddr| {
        warn_of("sluice", &format_args!("serving SoupBinTCP session {session} at {address}"));
    };
    let mut bar = None;
    let mut progress = |so_far: &SendProgress| {
        bar.get_or_insert_with(|| ReplayBar::new(so_far.frames_total)).show(so_far);
    };
    let mut served = appliance::replay_soup(options, soup, stop, &mut listening, &mut progress)?;
    if let Some(bar) = bar {
        bar.finish();
    }
    let mut report = Map::new();
    let balanced = served.report.imbalances().is_empty();
    report.insert("ledger".to_owned(), ledger_value(&served.report));
    report.insert("to".to_owned(), json!(format!("SoupBinTCP session {session} at {}", served.address)));
    report.insert("served".to_owned(), served_value(&served.report));
    report.insert("pacing".to_owned(), pacing_value(served.source.pacing()));
    report.insert("elapsed_s".to_owned(), json!(served.report.elapsed_ns as f64 / 1e9));
    // A stopped loader has its report at once; one that was not asked to stop has come to its end.
    served.source.stop();
    let exit = note_capture(&mut served.source, &mut report);
    report.insert("memory".to_owned(), json!({ "resident_bytes": os::resident_bytes().ok() }));
    report.insert("machine".to_owned(), json!(MachineFacts::collect(Some(&Clock::new()))));
    if let Some(path) = &args.report {
        write_json(path, &report)?;
    }
    print(&summary(&served, &session))?;
    Ok(if balanced { exit } else { Exit::Unbalanced })
}

/// The books of the capture's side: frames and messages, of which accepted ones are released.
fn ledger_value(report: &SoupReport) -> Value {
    let imbalances = report.imbalances();
    let described: Vec<Value> = imbalances
        .iter()
        .map(|(equation, left, right)| json!({ "equation": equation, "left": left, "right": right }))
        .collect();
    json!({
        "frames": FramesReport::from(&report.frames),
        "messages": MessagesReport::from(&report.messages),
        "released": report.released,
        "not_itch": report.not_itch,
        "balanced": imbalances.is_empty(),
        "imbalances": described,
    })
}

fn served_value(report: &SoupReport) -> Value {
    let closed: Map<String, Value> = CloseReason::ALL
        .iter()
        .map(|reason| (reason.name().to_owned(), json!(report.closed[*reason as usize])))
        .collect();
    json!({
        "messages_sent": report.messages_sent,
        "bytes_sent": report.bytes_sent,
        "connections": report.connections,
        "served_whole": report.served_whole,
        "closed": closed,
        "clients": report.clients.iter().map(client_value).collect::<Vec<_>>(),
        "dropped": report.dropped,
        "waits": report.waits,
        "stopped": report.stopped,
    })
}

fn client_value(client: &ClientReport) -> Value {
    json!({
        "address": client.address,
        "logged_in": client.logged_in,
        "first_sequence": client.first_sequence,
        "last_sequence": client.last_sequence,
        "messages": client.messages,
        "bytes": client.bytes,
        "took_everything": client.took_everything,
        "closed": client.closed.map(CloseReason::name),
    })
}

fn summary(served: &ServedOutcome, session: &str) -> String {
    let report = &served.report;
    let seconds = report.elapsed_ns as f64 / 1e9;
    let mut text = format!(
        "released {} messages of session {session} in {seconds:.3} s; sent {} messages to {} clients, {} of which took \
         everything up to the end\n",
        report.released, report.messages_sent, report.connections, report.served_whole
    );
    for client in &report.clients {
        let closed = client.closed.map_or("open", CloseReason::name);
        text += &match client.logged_in {
            true => format!(
                "  {}: {} messages, {} to {}, closed: {closed}\n",
                client.address, client.messages, client.first_sequence, client.last_sequence
            ),
            false => format!("  {}: not logged in, closed: {closed}\n", client.address),
        };
    }
    if report.not_itch > 0 {
        text += &format!("{} messages are none of ITCH 5.0 and were left out\n", report.not_itch);
    }
    if report.dropped > 0 {
        text += &format!(
            "the first {} messages were given up for memory; a larger --memory-cap keeps more for clients that come late\n",
            report.dropped
        );
    }
    text
}
