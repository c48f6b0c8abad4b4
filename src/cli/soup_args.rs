//! `sluice replay --to soup:ADDR:PORT`: its own options.

use crate::wire::soupbin;
use clap::Args;
use std::num::NonZeroU16;

/// What the SoupBinTCP server is called and whom it lets in.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Serving, with --to soup")]
pub struct SoupArgs {
    /// Name of the session, 1 to 10 letters and digits [default: SLUICE0001].
    #[arg(long, value_name = "NAME", value_parser = session)]
    pub soup_session: Option<[u8; 10]>,
    /// The only user that is let in, up to 6 letters and digits [default: any].
    #[arg(long, value_name = "NAME", value_parser = username)]
    pub soup_user: Option<[u8; 6]>,
    /// The password that is asked for, up to 10 letters and digits [default: any].
    #[arg(long, value_name = "WORD", value_parser = password, env = "SLUICE_SOUP_PASSWORD", hide_env_values = true)]
    pub soup_password: Option<[u8; 10]>,
    /// Clients (up to 64) that must be logged in before the first message is sent [default: 1].
    #[arg(long, value_name = "N", value_parser = clients)]
    pub wait_clients: Option<NonZeroU16>,
}

fn session(text: &str) -> Result<[u8; 10], String> {
    soupbin::session_bytes(text).ok_or_else(|| "write 1 to 10 letters and digits".to_owned())
}

fn username(text: &str) -> Result<[u8; 6], String> {
    soupbin::padded(text).ok_or_else(|| "write up to 6 letters and digits".to_owned())
}

fn password(text: &str) -> Result<[u8; 10], String> {
    soupbin::padded(text).ok_or_else(|| "write up to 10 letters and digits".to_owned())
}

fn clients(text: &str) -> Result<NonZeroU16, String> {
    text.parse().ok().filter(|count: &NonZeroU16| count.get() <= 64).ok_or_else(|| "write 1 to 64".to_owned())
}

impl SoupArgs {
    /// Whether none is given. The password does not count: it may stand in the environment for other runs.
    pub fn is_nothing(&self) -> bool {
        self.soup_session.is_none() && self.soup_user.is_none() && self.wait_clients.is_none()
    }
}
