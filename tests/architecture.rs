//! The floor plan is checked here: modules import only from modules above them in src/lib.rs, and files of the hot
//! path do not use what would allocate, lock, panic, log or read a clock.

use std::fs;
use std::path::{Path, PathBuf};

/// What files that begin with `//! Hot path:` must not contain outside of their tests.
const BANNED_ON_HOT_PATH: [&str; 13] = [
    "Mutex",
    "format!",
    "vec!",
    "Box::new",
    "to_vec",
    "Instant::now",
    "unwrap(",
    "println!",
    "eprintln!",
    "info!",
    "warn!",
    "debug!",
    "trace!",
];

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable source folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

fn files() -> Vec<(String, String)> {
    let root = source_root();
    let mut paths = Vec::new();
    rust_files(&root, &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("inside src").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("readable source"))
        })
        .collect()
}

/// The text before the tests at the foot of the file.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn floor_plan() -> Vec<String> {
    let lib = fs::read_to_string(source_root().join("lib.rs")).expect("src/lib.rs");
    lib.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned))
        .collect()
}

/// The top-level modules that a line of code names after `crate::`, `use crate::{a, b}` included.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for after in text.split("crate::").skip(1) {
        let names = match after.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or(list),
            None => after,
        };
        let parts = if after.starts_with('{') { names.split(',').collect() } else { vec![names] };
        for part in parts {
            let name: String =
                part.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            found.push(name);
        }
    }
    found
}

#[test]
fn imports_point_upwards_only() {
    let plan = floor_plan();
    assert!(plan.len() > 10, "lib.rs lists the modules");
    let floor = |module: &str| plan.iter().position(|known| known == module);
    let mut wrong = Vec::new();
    for (name, text) in files() {
        let module = name.split(['/', '.']).next().unwrap_or_default();
        let Some(own) = floor(module) else { continue };
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for import in imports(without_tests(&code)) {
            if floor(&import).is_some_and(|other| other > own) {
                wrong.push(format!("{name} imports {import}, which lies below {module} in src/lib.rs"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hot_files_use_nothing_that_blocks() {
    let mut wrong = Vec::new();
    let mut hot = 0;
    for (name, text) in files() {
        if !text.starts_with("//! Hot path:") {
            continue;
        }
        hot += 1;
        for (number, line) in without_tests(&text).lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for banned in BANNED_ON_HOT_PATH.into_iter().filter(|banned| line.contains(banned)) {
                wrong.push(format!("src/{name}:{}: {banned} on the hot path", number + 1));
            }
        }
    }
    assert!(hot >= 10, "the hot path is marked; found {hot} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    let mut wrong = Vec::new();
    for (name, text) in files() {
        if !text.starts_with("//! ") {
            wrong.push(format!("src/{name} does not begin with //!"));
        }
        let lines = without_tests(&text).lines().count();
        if lines > 500 {
            wrong.push(format!("src/{name} has {lines} lines before its tests"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_stays_where_it_is_allowed() {
    let allowed = ["os/", "pool/", "source/xdp/", "sink/fanout"];
    let wrong: Vec<String> = files()
        .into_iter()
        .filter(|(name, text)| {
            (text.contains("expect(unsafe_code") || text.contains("allow(unsafe_code"))
                && !allowed.iter().any(|prefix| name.starts_with(prefix))
        })
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "unsafe code outside of {allowed:?}: {wrong:?}");
}

#[test]
fn imports_are_found_in_all_their_forms() {
    assert_eq!(imports("use crate::event::Class;"), ["event"]);
    assert_eq!(imports("use crate::{event::Class, pool};"), ["event", "pool"]);
    assert_eq!(imports("let x = crate::limits::X;"), ["limits"]);
}
