//! Takes the ITCH messages out of a capture's frames, each one once, and releases them when they are due.
//!
//! Invariant: every message that the decoder accepted is released or counted as none of ITCH.

use crate::event::{MessageReject, Nanos, Protocol};
use crate::feed::{Accepted, Intake, IntakeSettings, Outlet};
use crate::replay::store::MessageStore;
use crate::source::capture::CaptureSource;
use crate::source::{Budget, Frame, FrameSource};
use crate::wire::Message;

/// A capture whose messages are released.
pub(super) struct Release {
    source: CaptureSource,
    intake: Intake,
    /// Frames taken, and the bytes in them.
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Messages that are none of ITCH, which SoupBinTCP is not spoken for here.
    pub(super) not_itch: u64,
}

struct Into<'a> {
    store: &'a mut MessageStore,
    not_itch: &'a mut u64,
}

impl Outlet for Into<'_> {
    fn accept(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<(), MessageReject> {
        match accepted.protocol {
            Protocol::Moldudp64Itch50 if self.store.append(message.body) => Ok(()),
            Protocol::Moldudp64Itch50 => Err(MessageReject::TooLarge),
            _ => {
                *self.not_itch += 1;
                Ok(())
            }
        }
    }
}

impl Release {
    pub(super) fn new(source: CaptureSource) -> Release {
        let intake = Intake::allocate(&IntakeSettings::default());
        Release { source, intake, frames: 0, bytes: 0, not_itch: 0 }
    }

    /// Releases the messages of the frame that is due; false if none is.
    pub(super) fn frame(&mut self, now: Nanos, store: &mut MessageStore) -> bool {
        // A looped capture comes again as new messages, not as copies.
        if self.source.begins_again() {
            self.intake.begin_again(&mut Into { store: &mut *store, not_itch: &mut self.not_itch });
        }
        let Release { source, intake, bytes, not_itch, .. } = self;
        let budget = Budget { frames: 1, bytes: usize::MAX };
        let frames = source.poll(now, budget, &mut |frame: Frame<'_>| {
            *bytes += frame.bytes.len() as u64;
            let mut into = Into { store: &mut *store, not_itch: &mut *not_itch };
            intake.take(frame.bytes, frame.link, frame.wire_ns, frame.clock, &mut into);
        });
        self.frames += frames as u64;
        frames > 0
    }

    pub(super) fn source(&self) -> &CaptureSource {
        &self.source
    }

    pub(super) fn intake(&self) -> &Intake {
        &self.intake
    }

    pub(super) fn stop(&mut self) {
        self.source.stop();
    }

    pub(super) fn into_source(self) -> CaptureSource {
        self.source
    }
}
