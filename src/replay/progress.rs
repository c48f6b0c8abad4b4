//! A progress bar on a terminal; silence elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::SendProgress;

/// Frames sent, rate and time left, on standard error if that is a terminal.
#[derive(Debug)]
pub struct ReplayBar {
    bar: ProgressBar,
}

impl ReplayBar {
    /// A bar for so many frames; without a number it tells what was done instead of what is left.
    pub fn new(frames_total: Option<u64>) -> ReplayBar {
        ReplayBar::on(ProgressDrawTarget::stderr(), frames_total)
    }

    fn on(target: ProgressDrawTarget, frames_total: Option<u64>) -> ReplayBar {
        let (bar, template) = match frames_total {
            Some(total) => {
                (ProgressBar::new(total), "{bar:40} {human_pos}/{human_len} frames, {msg}, {eta} left")
            }
            None => (ProgressBar::no_length(), "{spinner} {human_pos} frames, {msg}, {elapsed}"),
        };
        bar.set_draw_target(target);
        bar.set_style(ProgressStyle::with_template(template).expect("constant templates are valid"));
        ReplayBar { bar }
    }

    /// Shows how far it is.
    pub fn show(&self, progress: &SendProgress) {
        let seconds = progress.elapsed_ns as f64 / 1e9;
        if seconds > 0.0 {
            let (frames, bits) = (progress.frames as f64 / seconds, progress.bytes as f64 * 8.0 / seconds);
            self.bar.set_message(format!("{frames:.0} frames/s, {:.1} Mbit/s", bits / 1e6));
        }
        self.bar.set_position(progress.frames);
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
    fn it_shows_frames_and_rates() {
        for total in [Some(100), None] {
            let bar = ReplayBar::on(ProgressDrawTarget::hidden(), total);
            let (frames, bytes, elapsed_ns) = (40, 40_000, 2_000_000_000);
            bar.show(&SendProgress { frames, bytes, elapsed_ns, frames_total: total });
            assert_eq!(bar.bar.position(), 40);
            assert_eq!(bar.bar.message(), "20 frames/s, 0.2 Mbit/s");
            bar.finish();
            assert!(bar.bar.is_finished());
        }
    }
}
