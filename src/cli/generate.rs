//! `sluice generate`: a made-up session as a capture, and what is in it.

use super::GenerateArgs;
use super::output::print;
use crate::event::Protocol;
use crate::replay::synthetic::{Session, iex_session, itch_session, write_pcap};
use crate::report::Exit;
use std::fmt::Write as _;
use std::path::Path;

/// Writes the capture and prints what it holds.
///
/// # Errors
/// The file can't be written, or standard output.
pub fn generate(args: &GenerateArgs) -> anyhow::Result<Exit> {
    let messages = usize::try_from(args.messages)?;
    let session = match args.protocol {
        Protocol::IexTp => iex_session(args.seed, messages),
        // The only other one that the options let through.
        _ => itch_session(args.seed, messages),
    };
    write_pcap(&args.file, &session.packets)?;
    print(&describe(&args.file, args.protocol, &session)?)?;
    Ok(Exit::Done)
}

/// What a session holds, a fact a line.
fn describe(file: &Path, protocol: Protocol, session: &Session) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let times = session.packets.first().zip(session.packets.last());
    let seconds = times.map_or(0.0, |(first, last)| (last.time_ns - first.time_ns) as f64 / 1e9);
    writeln!(
        out,
        "{}: {protocol}, {} packets in {seconds:.1} s, {} messages on each line",
        file.display(),
        session.packets.len(),
        session.counts.messages,
    )?;
    for (name, line) in ["A", "B"].iter().zip(&session.counts.lines) {
        writeln!(
            out,
            "  line {name} {}: {} packets, of them {} heartbeats and {} ends of session; first with {} messages",
            line.destination, line.packets, line.heartbeats, line.ends, line.wins
        )?;
    }
    write!(out, "  messages by type:")?;
    for (letter, count) in &session.counts.by_type {
        write!(out, " {} {count}", char::from(*letter))?;
    }
    writeln!(out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_those_of_the_session() {
        let session = iex_session(3, 500);
        let text = describe(Path::new("a.pcap"), Protocol::IexTp, &session).expect("memory takes text");
        let [a, b] = &session.counts.lines;
        for fact in [
            "a.pcap: iex-tp".to_owned(),
            "500 messages".to_owned(),
            format!("A 233.252.0.1:10378: {} packets", a.packets),
            format!("{} messages\n", b.wins),
            format!(" Q {}", session.counts.by_type[&b'Q']),
        ] {
            assert!(text.contains(&fact), "no '{fact}' in\n{text}");
        }
    }
}
