//! Loads captures into memory before a replay starts, and goes on loading beside it those that don't fit.
//!
//! Invariant: at most `memory_bytes` of blocks exist, however long the captures are.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::blocks::Block;
use super::faults::{FaultPlan, FaultReport};
use super::feed::{Feed, Streaming};
use super::pacing::{Pacer, PacingReport, Speed};
use super::step::RECORD_BYTES_MAX;
use super::stream::{Plan, RecordStream};
use super::window::TimeWindow;
use super::{CaptureError, CaptureReader, CaptureSource, CaptureStats};

/// Bytes of a block: 3 ms at 10 Gb/s, many times what a loader thread sleeps.
const BLOCK_BYTES: usize = 4 * 1024 * 1024;
const _: () = assert!(BLOCK_BYTES >= RECORD_BYTES_MAX);

/// Memory for frames unless told otherwise, 256 MiB.
pub const MEMORY_BYTES_DEFAULT: usize = 256 * 1024 * 1024;

/// How long a loader without an empty block sleeps: far less than a block lasts.
const LOADER_SLEEP: Duration = Duration::from_micros(200);

/// What to replay and how.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// The captures, played one after the other.
    pub paths: Vec<PathBuf>,
    /// At which speed.
    pub speed: Speed,
    /// How many times over; 0 is until stopped.
    pub loops: u64,
    /// Which part of it.
    pub window: TimeWindow,
    /// Records that are held back at most to put them in order of time; 0 leaves the captures' order.
    pub order_records: usize,
    /// Memory for frames. Captures that fit are read once; others are read again in each loop. At least two blocks
    /// of 4 MiB are used.
    pub memory_bytes: usize,
    /// What goes wrong on the way. With it, captures are read again in each loop, because the faults go on.
    pub faults: Option<FaultPlan>,
}

impl CaptureOptions {
    /// These captures once, whole, as fast as possible.
    pub fn new(paths: Vec<PathBuf>) -> CaptureOptions {
        CaptureOptions {
            paths,
            speed: Speed::Max,
            loops: 1,
            window: TimeWindow::default(),
            order_records: 0,
            memory_bytes: MEMORY_BYTES_DEFAULT,
            faults: None,
        }
    }
}

/// What was found in the captures.
#[derive(Debug, Default)]
pub struct CaptureReport {
    /// Counts of one pass over all captures.
    pub stats: CaptureStats,
    /// Records that lay outside the time window.
    pub outside_window: u64,
    /// Whether they fit into memory whole.
    pub resident: bool,
    /// What faults did, in all loops.
    pub faults: Option<FaultReport>,
    /// What ended the loading before the captures' end.
    pub error: Option<CaptureError>,
}

/// The loader's end of a [`CaptureSource`].
pub(super) struct LoaderHandle {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<CaptureReport>>,
    report: Option<CaptureReport>,
}

impl CaptureSource {
    /// Reads captures into memory, as far as they fit. What doesn't fit is read by a thread of its own during the
    /// replay.
    ///
    /// # Errors
    /// When no file is named, or one can't be opened or read.
    pub fn open(options: &CaptureOptions) -> Result<CaptureSource, CaptureError> {
        open_with_blocks(options, BLOCK_BYTES)
    }

    /// What was found in the captures; `None` while a loader thread is still reading.
    pub fn report(&mut self) -> Option<&CaptureReport> {
        self.loader.collect();
        self.loader.report.as_ref()
    }
}

/// Like [`CaptureSource::open`], with blocks of another size.
pub(super) fn open_with_blocks(
    options: &CaptureOptions,
    block_bytes: usize,
) -> Result<CaptureSource, CaptureError> {
    if options.paths.is_empty() {
        return Err(CaptureError::NoFiles);
    }
    // Regular files are tried before the first is read: a bad name is then told at once. Reading a pipe would
    // consume it.
    for path in options.paths.iter().filter(|path| path.is_file()) {
        CaptureReader::open(path)?;
    }
    let read_again = options.faults.is_some() && options.loops != 1;
    if let Some(path) = options.paths.iter().find(|path| read_again && !path.is_file()) {
        return Err(CaptureError::ReadOnce { path: path.clone() });
    }
    let mut stream = RecordStream::new(Plan {
        paths: options.paths.clone(),
        window: options.window,
        order_records: options.order_records,
        faults: options.faults.clone(),
    });
    let blocks_max = (options.memory_bytes / Block::footprint(block_bytes)).max(2);
    let mut blocks = Vec::new();
    let mut ended = false;
    while blocks.len() < blocks_max && !ended {
        let mut block = Block::new(block_bytes);
        ended = stream.fill(&mut block)?;
        blocks.push(block);
    }
    if ended && !read_again {
        let (stats, outside_window) = stream.counts();
        let faults = stream.fault_report();
        let report = CaptureReport { stats, outside_window, resident: true, faults, error: None };
        let feed = Feed::resident(blocks, options.loops);
        return Ok(source(options, feed, LoaderHandle::done(report)));
    }
    // One block at least to load the next loop into, while the last one is played.
    blocks.resize_with((blocks.len() + 1).clamp(2, blocks_max), || Block::new(block_bytes));
    stream_blocks(options, stream, blocks, ended)
}

/// Hands the loaded blocks over and starts the thread that refills them; `pass_ended` if they are a whole pass.
fn stream_blocks(
    options: &CaptureOptions,
    stream: RecordStream,
    blocks: Vec<Block>,
    pass_ended: bool,
) -> Result<CaptureSource, CaptureError> {
    let (mut full, full_end) = RingBuffer::new(blocks.len());
    let (mut empty_end, empty) = RingBuffer::new(blocks.len());
    for block in blocks {
        // The rings were made for this many.
        drop(if block.len() > 0 { full.push(block) } else { empty_end.push(block) });
    }
    let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let refiller = Refiller {
        stream,
        pass_ended,
        first_pass: None,
        loops_left: (options.loops > 0).then_some(options.loops),
        empty,
        spare: None,
        full,
        stop: Arc::clone(&stop),
    };
    let flag = Arc::clone(&ended);
    let thread = std::thread::Builder::new()
        .name(String::from("capture-loader"))
        .spawn(move || refiller.run(&flag))
        .map_err(|error| CaptureError::Loader { what: format!("can't be started ({error})") })?;
    let feed = Feed::Streaming(Streaming {
        current: None,
        entry: 0,
        full: full_end,
        empty: empty_end,
        loader_ended: Arc::clone(&ended),
    });
    Ok(source(options, feed, LoaderHandle { stop, ended, thread: Some(thread), report: None }))
}

fn source(options: &CaptureOptions, feed: Feed, loader: LoaderHandle) -> CaptureSource {
    CaptureSource {
        frames_total: feed.total(),
        feed,
        pacer: Pacer::new(options.speed),
        pacing: PacingReport::default(),
        started_ns: None,
        front_due_ns: None,
        front_known: false,
        stopped: false,
        begins_again: false,
        loader,
    }
}

impl LoaderHandle {
    fn done(report: CaptureReport) -> LoaderHandle {
        LoaderHandle { stop: Arc::default(), ended: Arc::default(), thread: None, report: Some(report) }
    }

    /// Tells the thread to end; it does at its next block.
    pub(super) fn stop(&self) {
        // Relaxed: nothing is handed over by this flag.
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Takes the thread's report when it has ended, or was told to.
    fn collect(&mut self) {
        if !self.ended.load(Ordering::Acquire) && !self.stop.load(Ordering::Relaxed) {
            return;
        }
        if let Some(thread) = self.thread.take() {
            let report = thread.join().unwrap_or_else(|_| CaptureReport {
                error: Some(CaptureError::Loader { what: String::from("died") }),
                ..CaptureReport::default()
            });
            self.report = Some(report);
        }
    }
}

impl Drop for LoaderHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The loader thread's state.
struct Refiller {
    stream: RecordStream,
    /// Whether the blocks that were loaded before the start are a whole pass.
    pass_ended: bool,
    /// Counts of the first pass, once another one has begun.
    first_pass: Option<(CaptureStats, u64)>,
    /// Loops that are left, the present one included; `None` is for ever.
    loops_left: Option<u64>,
    empty: Consumer<Block>,
    /// An empty block that was not needed at the end of a pass.
    spare: Option<Block>,
    full: Producer<Block>,
    stop: Arc<AtomicBool>,
}

impl Refiller {
    fn run(mut self, ended: &AtomicBool) -> CaptureReport {
        let error = self.refill().err();
        let faults = self.stream.fault_report();
        let (stats, outside_window) = self.first_pass.unwrap_or_else(|| self.stream.counts());
        // Pairs with the Acquire loads in Feed::exhausted and LoaderHandle::collect.
        ended.store(true, Ordering::Release);
        CaptureReport { stats, outside_window, resident: false, faults, error }
    }

    /// Fills blocks until the last loop's end, or until told to stop.
    fn refill(&mut self) -> Result<(), CaptureError> {
        if self.pass_ended && !self.next_pass() {
            return Ok(());
        }
        let mut starts_loop = self.pass_ended;
        while let Some(mut block) = self.empty_block() {
            block.clear();
            block.starts_loop = starts_loop;
            let filled = self.stream.fill(&mut block);
            if block.len() > 0 {
                // The ring was made for every block there is. What was read before an error is handed over too.
                drop(self.full.push(block));
                starts_loop = false;
            } else {
                self.spare = Some(block);
            }
            if filled? {
                let may_be_empty = self.stream.has_faults() && self.loops_left.is_some();
                if starts_loop && !may_be_empty {
                    // A whole pass without a frame: the file was changed meanwhile. Another one would spin.
                    return Ok(());
                }
                if !self.next_pass() {
                    return Ok(());
                }
                starts_loop = true;
            }
        }
        Ok(())
    }

    /// Goes back to the first capture for another loop; `false` if that was the last one.
    fn next_pass(&mut self) -> bool {
        if let Some(left) = &mut self.loops_left {
            *left -= 1;
            if *left == 0 {
                return false;
            }
        }
        let counts = self.stream.counts();
        self.first_pass.get_or_insert(counts);
        self.stream.begin_again();
        true
    }

    /// Waits for an empty block; `None` when told to stop.
    fn empty_block(&mut self) -> Option<Block> {
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(block) = self.spare.take().or_else(|| self.empty.pop().ok()) {
                return Some(block);
            }
            std::thread::sleep(LOADER_SLEEP);
        }
        None
    }
}
