//! Which protocol is this?
