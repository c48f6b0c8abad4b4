//! Hot path: what inlets bring beside bytes: datagrams, and the requests that keep them open.
//!
//! Invariant: each datagram is shown or refused for one counted reason.

use super::connector::Route;
use super::limits::{self, Visitors};
use super::port::NetPort;
use super::settings::InletKind;
use super::sockets::ListeningSocket;
use super::{GivenStream, NetError};
use crate::config::Listener;
use crate::event::{FrameReject, InletIndex, Nanos};
use crate::os::uring::{Completion, Operation, Token};
use crate::source::StreamHandler;

/// How an inlet lives.
pub(super) enum Inlet {
    /// It accepts.
    Listener { settings: Listener, socket: ListeningSocket, visitors: Visitors, accepting: bool },
    /// It takes datagrams.
    Datagrams { settings: Listener, socket: ListeningSocket, receiving: bool, quiet: bool },
    /// It connects.
    Connector { route: Route },
    /// It was there.
    Given { stream: Option<GivenStream> },
}

impl NetPort {
    pub(super) fn datagram(&mut self, completion: Completion, now: Nanos, handler: &mut dyn StreamHandler) {
        let index = completion.token.index;
        let Inlet::Datagrams { settings, receiving, quiet, .. } = &mut self.inlets[index as usize] else {
            return;
        };
        *receiving &= completion.more;
        let Some(chunk) = completion.chunk else { return };
        *quiet = false;
        match self.ring.datagram(&chunk) {
            Some(found) if !limits::is_allowed(settings, found.source) => {
                handler.refuse_datagram(FrameReject::SourceNotAllowed);
            }
            Some(found) if found.truncated || found.payload.len() > settings.frame_bytes_max => {
                handler.refuse_datagram(FrameReject::Truncated);
            }
            Some(found) => handler.datagram(InletIndex(index as u16), found.payload, now),
            None => handler.refuse_datagram(FrameReject::Truncated),
        }
        self.ring.release(chunk);
    }

    /// Asks for what inlets bring, wherever it is not asked for.
    pub(super) fn arm_inlets(&mut self) {
        for (index, inlet) in self.inlets.iter_mut().enumerate() {
            let index = index as u32;
            let token = |operation| Token { operation, index, generation: 0 };
            match inlet {
                // In ticks only: a table of files that is full may not be so then.
                Inlet::Listener { accepting, .. }
                    if !*accepting && !self.stopping && self.now >= self.next_tick =>
                {
                    *accepting = true;
                    self.ring.accept(index, token(Operation::Accept));
                }
                Inlet::Datagrams { receiving, .. } if !*receiving => {
                    *receiving = true;
                    self.ring.receive_datagrams(index, self.datagrams, token(Operation::ReceiveDatagrams));
                }
                _ => {}
            }
        }
    }
}

/// Opens what an inlet needs, and says in `lines` what it is.
pub(super) fn open_inlet(kind: InletKind, lines: &mut Vec<String>) -> Result<Inlet, NetError> {
    Ok(match kind {
        InletKind::Listener(settings) => {
            let socket = super::sockets::listen(&settings)?;
            lines.push([&settings.name, " on ", &socket.place].concat());
            if settings.connections_max > 0 {
                Inlet::Listener { settings, socket, visitors: Visitors::default(), accepting: false }
            } else {
                Inlet::Datagrams { settings, socket, receiving: false, quiet: false }
            }
        }
        InletKind::Connector(settings) => {
            let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
            lines.push([&settings.name, " to ", &servers.join(", ")].concat());
            Inlet::Connector { route: Route::new(&settings) }
        }
        InletKind::Given(stream) => Inlet::Given { stream: Some(stream) },
    })
}
