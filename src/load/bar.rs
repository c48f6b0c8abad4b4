//! A progress bar on a terminal; silence elsewhere.

use super::LoadProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Events sent and acknowledged, and the rate, on standard error if that is a terminal.
#[derive(Debug)]
pub struct LoadBar {
    bar: ProgressBar,
}

impl LoadBar {
    /// A bar for so many events; without a number it tells what was done instead of what is left.
    pub fn new(events_total: Option<u64>) -> LoadBar {
        LoadBar::on(ProgressDrawTarget::stderr(), events_total)
    }

    fn on(target: ProgressDrawTarget, events_total: Option<u64>) -> LoadBar {
        let (bar, template) = match events_total {
            Some(total) => {
                (ProgressBar::new(total), "{bar:40} {human_pos}/{human_len} events, {msg}, {eta} left")
            }
            None => (ProgressBar::no_length(), "{spinner} {human_pos} events, {msg}, {elapsed}"),
        };
        bar.set_draw_target(target);
        bar.set_style(ProgressStyle::with_template(template).expect("constant templates are valid"));
        LoadBar { bar }
    }

    /// Shows how far it is.
    pub fn show(&self, progress: &LoadProgress) {
        let seconds = progress.elapsed_ns as f64 / 1e9;
        let (rate, bits) = (progress.sent as f64 / seconds, progress.bytes as f64 * 8.0 / seconds);
        let under_way = match progress.acknowledged {
            Some(acknowledged) => {
                format!(", {} not acknowledged", progress.sent.saturating_sub(acknowledged))
            }
            None => String::new(),
        };
        if seconds > 0.0 {
            self.bar.set_message(format!("{rate:.0} events/s, {:.1} Mbit/s{under_way}", bits / 1e6));
        }
        self.bar.set_position(progress.sent);
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_events_rates_and_what_is_under_way() {
        let progress =
            LoadProgress { sent: 40, acknowledged: Some(30), bytes: 4_000, elapsed_ns: 2_000_000_000 };
        for (total, acknowledged, message) in [
            (Some(100), Some(30), "20 events/s, 0.0 Mbit/s, 10 not acknowledged"),
            (None, None, "20 events/s, 0.0 Mbit/s"),
        ] {
            let bar = LoadBar::on(ProgressDrawTarget::hidden(), total);
            bar.show(&LoadProgress { acknowledged, ..progress });
            assert_eq!((bar.bar.position(), bar.bar.message().as_str()), (40, message));
            bar.finish();
            assert!(bar.bar.is_finished());
        }
    }
}
