//! Writing reports to files. Invariant: a regular file at the path is the old one or the whole new one, never
//! a part.

use super::error::ReportError;
use serde::Serialize;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A report as indented JSON with a line end.
///
/// # Errors
/// A value has no JSON form.
pub fn to_json(report: &impl Serialize) -> Result<String, ReportError> {
    let text = serde_json::to_string_pretty(report).map_err(|error| ReportError::Json(error.to_string()))?;
    Ok(text + "\n")
}

/// Writes a report as JSON to `path`, atomically.
///
/// # Errors
/// The file can't be written; the error names the path.
pub fn write_json(path: &Path, report: &impl Serialize) -> Result<(), ReportError> {
    write_atomically(path, to_json(report)?.as_bytes())
}

/// Writes `bytes` to a new file beside `path` and renames it to `path`. A pipe or a device at `path` is
/// written to directly: a rename would put a file in its place.
///
/// # Errors
/// The file can't be written; the error names the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let special = fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
    let written = match special {
        true => fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(bytes)),
        false => replace(path, bytes),
    };
    written.map_err(|cause| ReportError::Write { path: path.to_owned(), cause })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link is followed, so that what it points at is replaced and not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = beside(&target)?;
    let mut file = File::options().write(true).create_new(true).open(&temporary)?;
    let finished =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, &target));
    if finished.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
    }
    finished
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_files_and_leaves_no_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.json");
        for text in ["a longer first one", "second"] {
            write_atomically(&path, text.as_bytes()).expect("writes");
            assert_eq!(fs::read_to_string(&path).expect("reads"), text);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 1);
    }

    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").expect("writes");
        std::os::unix::fs::symlink(&target, &link).expect("links");
        write_atomically(&link, b"new").expect("writes");
        assert_eq!(fs::read_to_string(&target).expect("reads"), "new");
        assert!(fs::symlink_metadata(&link).expect("is there").is_symlink());
    }

    #[test]
    fn devices_stay_devices() {
        write_atomically(Path::new("/dev/null"), b"x").expect("writes");
        assert!(!fs::metadata("/dev/null").expect("is there").is_file());
    }

    #[test]
    fn errors_name_the_path() {
        let error = write_atomically(Path::new("/nonexistent/report.json"), b"x").expect_err("no folder");
        assert!(error.to_string().starts_with("/nonexistent/report.json: "), "{error}");
        assert!(write_atomically(Path::new("/"), b"x").is_err());
    }
}
