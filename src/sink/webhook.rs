//! Posts JSON to URLs, on a thread of its own.
//!
//! Invariant: handing over never waits: posted = delivered + failed + waiting, and what finds no place is counted as
//! dropped. A peer that is slow or down costs the others' time up to the timeout, never the appliance's.

use crate::limits::WEBHOOKS_WAITING_MAX;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How posts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// How long one attempt may take, from the name's resolution to the answer's head.
    pub timeout: Duration,
    /// Attempts for each post; 1 at least.
    pub attempts: u32,
    /// The pause before the second attempt; each further one is twice as long.
    pub backoff: Duration,
}

impl Default for WebhookSettings {
    fn default() -> WebhookSettings {
        WebhookSettings { timeout: Duration::from_secs(2), attempts: 3, backoff: Duration::from_millis(250) }
    }
}

/// What became of posts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct WebhookCounts {
    /// Handed over.
    pub posted: u64,
    /// Answered with a status from 200 to 299.
    pub delivered: u64,
    /// Given up after the last attempt, or not sent before the end.
    pub failed: u64,
    /// Not handed over, because too many were waiting.
    pub dropped: u64,
    /// Attempts after a first one.
    pub retries: u64,
}

#[derive(Debug, Default)]
struct Shared {
    delivered: AtomicU64,
    failed: AtomicU64,
    retries: AtomicU64,
    stops: AtomicBool,
}

struct Post {
    url: String,
    body: String,
}

/// The sender's end.
pub struct Webhooks {
    queue: Option<SyncSender<Post>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    posted: u64,
    dropped: u64,
}

impl Webhooks {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(settings: WebhookSettings) -> std::io::Result<Webhooks> {
        let (queue, posts) = sync_channel(WEBHOOKS_WAITING_MAX);
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("webhooks".to_owned())
            .spawn(move || Deliverer::new(settings, seen).run(&posts))?;
        Ok(Webhooks { queue: Some(queue), shared, thread: Some(thread), posted: 0, dropped: 0 })
    }

    /// Hands a post over; says whether there was room.
    pub fn post(&mut self, url: &str, body: String) -> bool {
        let post = Post { url: url.to_owned(), body };
        let taken = self.queue.as_ref().is_some_and(|queue| queue.try_send(post).is_ok());
        match taken {
            true => self.posted += 1,
            false => self.dropped += 1,
        }
        taken
    }

    /// What became of posts so far.
    pub fn counts(&self) -> WebhookCounts {
        // Relaxed: counts, which order nothing.
        WebhookCounts {
            posted: self.posted,
            delivered: self.shared.delivered.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            dropped: self.dropped,
            retries: self.shared.retries.load(Ordering::Relaxed),
        }
    }

    /// Waits for what was handed over, up to `patience` and one more attempt, and ends the thread. What was not sent by
    /// then has failed.
    pub fn close(mut self, patience: Duration) -> WebhookCounts {
        drop(self.queue.take());
        let Some(thread) = self.thread.take() else { return self.counts() };
        let end = Instant::now() + patience;
        while !thread.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shared.stops.store(true, Ordering::Relaxed);
        // A panic of the thread has ended it as well; its counts say what it did.
        let _ = thread.join();
        let mut counts = self.counts();
        counts.failed = counts.posted - counts.delivered;
        counts
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        // The thread ends with the queue, at the latest after one more attempt.
        self.shared.stops.store(true, Ordering::Relaxed);
    }
}

/// The thread.
struct Deliverer {
    agent: ureq::Agent,
    settings: WebhookSettings,
    shared: Arc<Shared>,
}

impl Deliverer {
    fn new(settings: WebhookSettings, shared: Arc<Shared>) -> Deliverer {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            // An alert goes where the rule says, and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .build();
        Deliverer { agent: config.into(), settings, shared }
    }

    fn run(&self, posts: &Receiver<Post>) {
        const LOOK_AROUND: Duration = Duration::from_millis(100);
        loop {
            match posts.recv_timeout(LOOK_AROUND) {
                Ok(post) => {
                    let outcome = match self.stops() || !self.deliver(&post) {
                        true => &self.shared.failed,
                        false => &self.shared.delivered,
                    };
                    outcome.fetch_add(1, Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn stops(&self) -> bool {
        self.shared.stops.load(Ordering::Relaxed)
    }

    /// Makes the attempts; says whether one was answered well.
    fn deliver(&self, post: &Post) -> bool {
        let mut pause = self.settings.backoff;
        for attempt in 1..=self.settings.attempts.max(1) {
            let request = self.agent.post(&post.url).header("content-type", "application/json");
            let answer = request.send(post.body.as_str());
            let problem = match answer {
                Ok(answer) if answer.status().is_success() => return true,
                Ok(answer) => answer.status().to_string(),
                Err(error) => error.to_string(),
            };
            if attempt == self.settings.attempts || self.stops() {
                tracing::warn!("webhook {}: {problem}; given up after {attempt} attempts", host(&post.url));
                return false;
            }
            self.shared.retries.fetch_add(1, Ordering::Relaxed);
            self.rest(pause);
            pause = pause.saturating_mul(2);
        }
        false
    }

    /// Pauses, unless the end comes first.
    fn rest(&self, pause: Duration) {
        const STEP: Duration = Duration::from_millis(20);
        let end = Instant::now() + pause;
        while !self.stops() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(STEP));
        }
    }
}

/// A URL without its path, where keys often stand, and without a password.
fn host(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let rest = &url[start..];
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    rest.rsplit('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// Answers one request with a status, and returns its body.
    fn answer(stream: TcpStream, status: &str) -> (String, String) {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).expect("reads") > 0, "the head is whole");
        }
        let lower = head.to_lowercase();
        let length = lower.split("content-length: ").nth(1).expect("has a length");
        let length: usize = length.lines().next().expect("a line").trim().parse().expect("a number");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("reads");
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        reader.get_mut().write_all(text.as_bytes()).expect("writes");
        (head, String::from_utf8(body).expect("is text"))
    }

    fn settings() -> WebhookSettings {
        WebhookSettings {
            timeout: Duration::from_secs(20),
            backoff: Duration::from_millis(1),
            ..WebhookSettings::default()
        }
    }

    #[test]
    fn a_post_is_delivered_at_the_second_attempt_when_the_first_is_refused() {
        let server = TcpListener::bind("127.0.0.1:0").expect("binds");
        let url = format!("http://{}/hook?key=1", server.local_addr().expect("has one"));
        let served = std::thread::spawn(move || {
            ["503 Busy", "200 OK", "204 Nothing"]
                .map(|status| answer(server.accept().expect("accepts").0, status))
        });
        let mut webhooks = Webhooks::start(settings()).expect("starts");
        assert!(webhooks.post(&url, "{\"a\":1}".to_owned()) && webhooks.post(&url, "{\"a\":2}".to_owned()));
        let counts = webhooks.close(Duration::from_secs(60));
        let expected = WebhookCounts { posted: 2, delivered: 2, retries: 1, ..WebhookCounts::default() };
        assert_eq!(counts, expected);
        let requests = served.join().expect("no panic");
        let bodies: Vec<&str> = requests.iter().map(|(_, body)| body.as_str()).collect();
        assert_eq!(bodies, ["{\"a\":1}", "{\"a\":1}", "{\"a\":2}"]);
        assert!(requests[0].0.starts_with("POST /hook?key=1 HTTP/1.1\r\n"));
        assert!(requests[0].0.to_lowercase().contains("content-type: application/json"));
    }

    #[test]
    fn what_nobody_answers_has_failed_and_the_end_does_not_wait_for_it() {
        let closed = TcpListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("has one");
        let mut webhooks =
            Webhooks::start(WebhookSettings { backoff: Duration::from_secs(3_600), ..settings() })
                .expect("starts");
        let posts = WEBHOOKS_WAITING_MAX as u64 + 50;
        let url = format!("http://{closed}/");
        let taken = (0..posts).filter(|_| webhooks.post(&url, String::new())).count() as u64;
        assert!(taken >= WEBHOOKS_WAITING_MAX as u64 && taken < posts);
        let counts = webhooks.close(Duration::ZERO);
        assert_eq!((counts.posted, counts.failed, counts.dropped), (taken, taken, posts - taken));
        assert_eq!(counts.delivered, 0);
    }

    #[test]
    fn logs_name_the_host_only() {
        assert_eq!(host("https://user:secret@hooks.example:8443/T0/key?x=1"), "hooks.example:8443");
        assert_eq!(host("http://h"), "h");
    }
}
