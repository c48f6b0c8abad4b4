//! The summary: the facts of a report for a person. It returns text; printing is the command line's.

use super::books::{
    ConnectionsReport, Counts, EventsReport, FramesReport, KernelReport, MessagesReport, UnequalSides,
};
use super::control::{ControlReport, GapReport, explain_gaps};
use super::curve::text_plot;
use super::decode::{CaptureFacts, DecodeReport};
use super::processing::summarize_processing;
use super::recovery::FeedRecoveryReport;
use super::run::{QueueReport, Report};
use super::streams::StreamReport;
use super::text::{Style, Table, duration, thousands};
use crate::feed::FlowsReport;
use crate::ledger::Percentiles;

/// The summary of a run or replay: streams, queues, latencies with a plot, what the hot path cost, and the
/// ledger.
pub fn summarize(report: &Report, style: Style) -> String {
    let mut out = String::new();
    streams(&report.streams, style, &mut out);
    gaps(report.gaps.as_deref(), &report.control, style, &mut out);
    queues(report, style, &mut out);
    latencies(report, style, &mut out);
    if let Some(processing) = &report.processing {
        out += &summarize_processing(processing, &report.routing, style);
        out.push('\n');
    }
    hot_path(report, style, &mut out);
    out.push_str(&style.heading("Ledger"));
    out.push('\n');
    let ledger = &report.ledger;
    frames(&ledger.frames, style, &mut out);
    match &ledger.kernel {
        Some(book) => kernel(book, style, &mut out),
        None => line(&mut out, "kernel", "no source of this run crosses the kernel boundary"),
    }
    if let Some(book) = &ledger.connections {
        connections(book, style, &mut out);
    }
    messages(&ledger.messages, style, &mut out);
    events(&ledger.events, style, &mut out);
    stream_books(&report.streams, &mut out);
    report.recovery.iter().for_each(|feed| recovery(feed, style, &mut out));
    let kernel = if ledger.kernel.is_some() { "kernel, " } else { "" };
    let connections = if ledger.connections.is_some() { "connections, " } else { "" };
    let books = format!("frames, {kernel}{connections}messages, events, queues and each stream");
    verdict(&ledger.imbalances, &books, style, &mut out);
    let rate = thousands(report.events_per_s.round() as u64);
    let delivered = thousands(ledger.events.delivered);
    let elapsed = duration((report.elapsed_s * 1e9) as u64);
    out.push_str(&format!(
        "{delivered} events in {elapsed} ({rate} events/s), config {}\n",
        report.config_hash
    ));
    out
}

/// The summary of a decode: files, streams, and the frames and messages books.
pub fn summarize_decode(report: &DecodeReport, style: Style) -> String {
    let mut out = String::new();
    captures(&report.capture, report.flows.as_ref(), style, &mut out);
    streams(&report.streams, style, &mut out);
    gaps(report.gaps.as_deref(), &report.control, style, &mut out);
    out.push_str(&style.heading("Ledger"));
    out.push('\n');
    frames(&report.frames, style, &mut out);
    if let Some(book) = &report.connections {
        connections(book, style, &mut out);
    }
    messages(&report.messages, style, &mut out);
    stream_books(&report.streams, &mut out);
    let connections = if report.connections.is_some() { "connections, flows, " } else { "" };
    let books = format!("frames, {connections}messages and each stream");
    verdict(&report.imbalances, &books, style, &mut out);
    out
}

/// What each file held, and what about it was imperfect. The facts are [`DecodeReport::capture`].
fn captures(capture: &CaptureFacts, flows: Option<&FlowsReport>, style: Style, out: &mut String) {
    out.push_str(&style.heading("Captures"));
    out.push('\n');
    for file in &capture.files {
        let stats = &file.stats;
        let span = duration((file.seconds * 1e9) as u64);
        let mut facts = vec![format!("{} records over {span}", thousands(stats.records))];
        if stats.backwards > 0 {
            facts.push(format!("{} stamped earlier than the one before", thousands(stats.backwards)));
        }
        if stats.truncated_tail > 0 {
            facts.push("cut off in its last record".to_owned());
        }
        facts.extend(stats.damaged.as_ref().map(|damage| format!("damaged: {}", printable(damage))));
        out.push_str(&format!("  {}: {}\n", printable(&file.file), facts.join("; ")));
    }
    if capture.tcp.packets > 0 {
        let [packets, flows] = [capture.tcp.packets, capture.tcp.flows].map(thousands);
        out.push_str(&format!("  TCP: {packets} packets in {flows} conversations\n"));
    }
    if let Some(flows) = flows {
        out.push_str(&format!("  {}\n", flows_line(flows)));
    }
    out.push('\n');
}

/// What came of TCP flows, and what of them the capture does not hold.
fn flows_line(flows: &FlowsReport) -> String {
    let mut text = format!("TCP flows with payload, by direction: {} decoded", thousands(flows.decoded));
    let others = [
        (flows.unknown_protocol, "of no known protocol"),
        (flows.given_up, "given up"),
        (flows.no_place, "without a place"),
    ];
    for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!(", {} {what}", thousands(count));
    }
    if flows.book.missing_bytes > 0 {
        text += &format!("; {} bytes are missing in the capture", thousands(flows.book.missing_bytes));
    }
    text
}

fn line(out: &mut String, label: &str, text: &str) {
    out.push_str(&format!("  {label:<9} {text}\n"));
}

/// Names from packets and files reach the terminal without control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn streams(streams: &[StreamReport], style: Style, out: &mut String) {
    out.push_str(&style.heading("Streams"));
    out.push('\n');
    if streams.is_empty() {
        out.push_str("  none: no packet was decoded\n\n");
        return;
    }
    let head = [
        "protocol",
        "stream",
        "session",
        "packets",
        "heartbeats",
        "messages",
        "duplicates",
        "epochs",
        "gaps",
        "missing",
        "status",
    ];
    let mut table = Table::new(3, &head);
    for stream in streams {
        let counts = [
            stream.packets,
            stream.heartbeats,
            stream.messages,
            stream.duplicates,
            stream.epochs,
            stream.gaps,
            stream.missing,
        ];
        let mut row = vec![stream.protocol.to_string(), printable(&stream.name), printable(&stream.session)];
        row.extend(counts.map(thousands));
        row.push(stream.status.to_owned());
        table.row(row);
    }
    table.render(style, out);
    lines(streams, style, out);
    types(streams, style, out);
    out.push('\n');
}

/// How gaps ended, or every one of them where that was asked for.
fn gaps(gaps: Option<&[GapReport]>, control: &ControlReport, style: Style, out: &mut String) {
    if let Some(gaps) = gaps {
        out.push_str(&explain_gaps(gaps, control, style));
        out.push('\n');
    }
    if control.topics.is_empty() {
        return;
    }
    let topics: Vec<String> =
        control.topics.iter().map(|(topic, count)| format!("{topic} {}", thousands(*count))).collect();
    line(out, "notices", &topics.join(", "));
    out.push('\n');
}

fn lines(streams: &[StreamReport], style: Style, out: &mut String) {
    let head =
        ["stream", "line", "packets", "wins", "duplicates", "only here", "missing", "late p50", "late p99"];
    let mut table = Table::new(2, &head);
    for stream in streams {
        for line in &stream.lines {
            let late = |pick: fn(&Percentiles) -> u64| {
                line.late_ns.as_ref().map_or_else(|| "-".to_owned(), |late| duration(pick(late)))
            };
            let mut row = vec![printable(&stream.name), printable(&line.name)];
            row.extend([line.packets, line.wins, line.duplicates, line.only, line.missing].map(thousands));
            row.extend([late(|l| l.p50), late(|l| l.p99)]);
            table.row(row);
        }
    }
    out.push('\n');
    table.render(style, out);
}

fn types(streams: &[StreamReport], style: Style, out: &mut String) {
    let mut table = Table::new(2, &["stream", "messages by type"]);
    for stream in streams {
        let mut by_count: Vec<&(String, u64)> = stream.by_type.iter().collect();
        by_count.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        // Six to a row, so that a terminal of ordinary width holds them.
        for (index, part) in by_count.chunks(6).enumerate() {
            let name = if index == 0 { printable(&stream.name) } else { String::new() };
            let cells: Vec<String> =
                part.iter().map(|(kind, n)| format!("{kind} {}", thousands(*n))).collect();
            table.row(vec![name, cells.join("   ")]);
        }
    }
    out.push('\n');
    table.render(style, out);
}

fn queues(report: &Report, style: Style, out: &mut String) {
    out.push_str(&style.heading("Queues"));
    out.push('\n');
    let mut table = Table::new(1, &["queue", "pushed", "popped", "high water", "of places"]);
    let queues = &report.queues;
    let named: [(&str, &QueueReport); 3] =
        [("realtime", &queues.realtime), ("transactional", &queues.transactional), ("batch", &queues.batch)];
    for (name, queue) in named {
        let mut row = vec![name.to_owned()];
        row.extend([queue.pushed, queue.popped, queue.high_water].map(thousands));
        row.push(queue.capacity.map_or_else(|| "-".to_owned(), |places| thousands(places as u64)));
        table.row(row);
    }
    table.render(style, out);
    out.push('\n');
}

fn latencies(report: &Report, style: Style, out: &mut String) {
    out.push_str(&style.heading("Latency"));
    out.push('\n');
    let mut table = Table::new(1, &["stage", "p50", "p90", "p99", "p99.9", "max", "events"]);
    let latency = &report.latency_ns;
    let stages = [
        ("wire to receive", &latency.wire_to_receive),
        ("receive to processed", &latency.receive_to_processed),
        ("wire to processed", &latency.wire_to_processed),
    ];
    for (name, stage) in stages {
        let values = [stage.p50, stage.p90, stage.p99, stage.p999, stage.max];
        let mut row = vec![name.to_owned()];
        match stage.count {
            0 => row.extend(values.map(|_| "-".to_owned())),
            _ => row.extend(values.map(duration)),
        }
        row.push(thousands(stage.count));
        table.row(row);
    }
    table.render(style, out);
    out.push('\n');
    let plot = text_plot(report, style);
    if !plot.is_empty() {
        out.push_str(&plot);
        out.push('\n');
    }
}

fn hot_path(report: &Report, style: Style, out: &mut String) {
    let cost = &report.hot_path;
    let count = |value: Option<u64>| value.map_or_else(|| "not measured".to_owned(), thousands);
    out.push_str(&style.heading("Hot path"));
    out.push_str(&format!(
        "\n  system calls {}, allocations {}, minor faults {}, voluntary switches {}\n\n",
        count(cost.syscalls),
        count(cost.allocations),
        count(cost.minor_faults),
        count(cost.voluntary_switches)
    ));
}

/// The reasons that count something, under the line that sums them.
fn reasons(out: &mut String, style: Style, what: &str, counts: &Counts) {
    let parts: Vec<String> = counts.nonzero().map(|(name, n)| format!("{name} {}", thousands(n))).collect();
    if !parts.is_empty() {
        line(out, "", &style.faint(&format!("{what}: {}", parts.join(", "))));
    }
}

fn frames(book: &FramesReport, style: Style, out: &mut String) {
    let [received, decoded] = [book.received, book.decoded].map(thousands);
    let rejected = thousands(book.rejected.total());
    line(out, "frames", &format!("received {received} = decoded {decoded} + rejected {rejected}"));
    reasons(out, style, "rejected", &book.rejected);
}

fn kernel(book: &KernelReport, style: Style, out: &mut String) {
    let [seen, redirected, received] = [book.xdp_seen, book.redirected, book.received].map(thousands);
    let [passed, dropped, lost] =
        [&book.passed, &book.dropped, &book.lost].map(|counts| thousands(counts.total()));
    line(
        out,
        "kernel",
        &format!("seen by XDP {seen} = redirected {redirected} + passed {passed} + dropped {dropped}"),
    );
    line(out, "", &format!("redirected {redirected} = received {received} + lost {lost}"));
    reasons(out, style, "passed", &book.passed);
    reasons(out, style, "dropped", &book.dropped);
    reasons(out, style, "lost", &book.lost);
    reasons(out, style, "notes", &book.notes);
}

fn connections(book: &ConnectionsReport, style: Style, out: &mut String) {
    let [opened, closed, open] = [book.opened, book.closed.total(), book.open].map(thousands);
    line(out, "connections", &format!("opened {opened} = closed {closed} + open {open}"));
    reasons(out, style, "closed", &book.closed);
    let counts = [book.bytes_received, book.bytes_taken, book.bytes_lost.total(), book.bytes_held];
    let [received, taken, lost, held] = counts.map(thousands);
    line(out, "", &format!("bytes received {received} = taken {taken} + lost {lost} + held {held}"));
    reasons(out, style, "lost", &book.bytes_lost);
    if book.blocks > 0 {
        let (blocks, time) = (thousands(book.blocks), duration(book.blocked_ns));
        line(out, "", &format!("peers were made to wait {blocks} times, {time} in all"));
    }
    if book.datagrams_dropped > 0 {
        let dropped = thousands(book.datagrams_dropped);
        line(
            out,
            "",
            &format!("{dropped} datagrams were dropped by the kernel, for want of room in their socket"),
        );
    }
}

fn messages(book: &MessagesReport, style: Style, out: &mut String) {
    let counts =
        [book.decoded, book.accepted, book.duplicate, book.stale, book.heartbeat, book.rejected.total()];
    let [decoded, accepted, duplicate, stale, heartbeat, rejected] = counts.map(thousands);
    line(
        out,
        "messages",
        &format!(
            "decoded {decoded} = accepted {accepted} + duplicate {duplicate} + stale {stale} \
             + heartbeat {heartbeat} + rejected {rejected}"
        ),
    );
    reasons(out, style, "rejected", &book.rejected);
}

fn events(book: &EventsReport, style: Style, out: &mut String) {
    let dead = book.dead_lettered.total();
    let counts = [book.accepted, book.delivered, book.deduplicated, dead, book.shed.total(), book.in_flight];
    let [accepted, delivered, deduplicated, dead, shed, in_flight] = counts.map(thousands);
    let sides = format!(
        "accepted {accepted} = delivered {delivered} + deduplicated {deduplicated} + dead-lettered {dead} + shed {shed} + in \
         flight {in_flight}"
    );
    line(out, "events", &sides);
    reasons(out, style, "dead-lettered", &book.dead_lettered);
    reasons(out, style, "shed", &book.shed);
}

fn stream_books(streams: &[StreamReport], out: &mut String) {
    let sum =
        |pick: fn(&StreamReport) -> u64| thousands(streams.iter().map(pick).fold(0, u64::saturating_add));
    let (expected, seen, missing) = (sum(|s| s.expected), sum(|s| s.seen), sum(|s| s.missing));
    line(out, "sequences", &format!("expected {expected} = seen {seen} + missing {missing}"));
}

fn recovery(feed: &FeedRecoveryReport, style: Style, out: &mut String) {
    let counts = [feed.requests, feed.timeouts, feed.replies].map(thousands);
    let [requests, timeouts, replies] = counts;
    let name = printable(&feed.name);
    line(out, "recovery", &format!("{name}: {requests} requests, {timeouts} in vain, {replies} answers"));
    for server in feed.servers.iter().filter(|_| feed.servers.len() > 1) {
        let [requests, timeouts, replies] = [server.requests, server.timeouts, server.replies].map(thousands);
        let text =
            format!("{}: {requests} requests, {timeouts} in vain, {replies} in answer", server.address);
        line(out, "", &style.faint(&text));
    }
    reasons(out, style, "not sent", &feed.send_errors);
}

fn verdict(imbalances: &[UnequalSides], books: &str, style: Style, out: &mut String) {
    if imbalances.is_empty() {
        out.push_str(&format!("  {}: {books}\n", style.good("BALANCED")));
        return;
    }
    out.push_str(&format!("  {}:\n", style.bad("DOES NOT BALANCE")));
    for unequal in imbalances {
        out.push_str(&format!("    {}\n", printable(&unequal.to_string())));
    }
}
