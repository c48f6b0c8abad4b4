//! What faults did to a replay: for a person, and as an exit code.

use super::Exit;
use super::output::{print_error, warn_of};
use crate::source::capture::FaultReport;

/// A fault on a line that never came is a failure: whoever asked for it would believe that it was tested.
pub(super) fn faults_exit(faults: Option<&FaultReport>) -> Exit {
    let Some(faults) = faults else { return Exit::Done };
    for line in &faults.never_dead_lines {
        warn_of("faults", &format_args!("line {line} was dead at a time in which none of its packets fell"));
    }
    if faults.untracked_packets > 0 {
        warn_of(
            "faults",
            &format_args!(
                "{} packets of further destinations had none: there is room for 4096 lines",
                faults.untracked_packets
            ),
        );
    }
    if !faults.is_balanced() {
        return Exit::Unbalanced;
    }
    if faults.complete && !faults.absent_lines.is_empty() {
        let came: Vec<String> =
            faults.lines.iter().map(|line| format!("{} ({})", line.name, line.destination)).collect();
        let came = if came.is_empty() { "none".to_owned() } else { came.join(", ") };
        print_error(&format_args!(
            "faults were asked for lines of which no packet came: {}; the captures have these: {came}",
            faults.absent_lines.join(", ")
        ));
        return Exit::Failed;
    }
    Exit::Done
}

/// The fate of packets, a line each; nothing where there were no faults.
pub(super) fn faults_summary(faults: Option<&FaultReport>) -> String {
    let Some(faults) = faults else { return String::new() };
    let mut text = format!("faults with --seed {}\n", faults.seed);
    for line in &faults.lines {
        let counts = [
            (line.lost, "lost"),
            (line.dead, "lost while dead"),
            (line.duplicated, "duplicated"),
            (line.reordered, "reordered"),
            (line.delayed, "delayed"),
            (line.delayed_less, "delayed less for lack of memory"),
            (line.undelayed, "not delayed for lack of a timestamp"),
            (line.corrupted, "corrupted"),
            (line.waiting, "waiting"),
        ];
        text += &format!(
            "  line {} {}: {} of {} packets handed on",
            line.name, line.destination, line.delivered, line.seen
        );
        for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
            text += &format!(", {count} {what}");
        }
        text += "\n";
    }
    text
}
