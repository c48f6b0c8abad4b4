//! Compiles the steering program and generates its skeleton, from which the Rust types of the maps come.
//!
//! Invariant: needs clang and the C library's headers, nothing of the running kernel.

use libbpf_cargo::SkeletonBuilder;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const SOURCE: &str = "bpf/steer.bpf.c";

fn main() {
    for file in [SOURCE, "bpf/steer.h", "bpf/parse.h"] {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".into());
    if Command::new(&clang).arg("--version").output().is_err() {
        fail(&format!(
            "{clang} was not found, and it compiles {SOURCE}: run scripts/setup, or `apt-get install clang`"
        ));
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("steer.skel.rs");
    let mut arguments = vec!["-Wall".to_owned()];
    arguments.extend(multiarch_include());
    // Nobody reads the skeleton, and rustup's stand-in for an absent rustfmt would fail the build.
    let no_rustfmt = out.with_file_name("no-rustfmt");
    let mut builder = SkeletonBuilder::new();
    builder.source(SOURCE).clang(&clang).clang_args(arguments).rustfmt(no_rustfmt);
    if let Err(error) = builder.build_and_generate(&out) {
        fail(&format!("{SOURCE} does not compile (scripts/setup installs what it needs): {error:#}"));
    }
}

/// Debian keeps `asm/types.h` in a folder of the architecture, which clang does not search for the BPF target.
fn multiarch_include() -> Option<String> {
    let architecture = std::env::var("CARGO_CFG_TARGET_ARCH").ok()?;
    let folder = format!("/usr/include/{architecture}-linux-gnu");
    Path::new(&folder).is_dir().then(|| format!("-I{folder}"))
}

#[expect(clippy::print_stderr, reason = "cargo shows a failed build script's standard error")]
fn fail(reason: &str) -> ! {
    eprintln!("error: {reason}");
    exit(1)
}
