//! `scripts/dist`, with programs in place of pip and maturin that take no time: what it does around them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::installed;

/// Installs the tools below, or fails if there is a file `broken`.
const PIP: &str =
    "#!/bin/sh\n[ ! -e \"$STUBS/broken\" ] && cp \"$STUBS/maturin\" \"$(dirname \"$0\")/maturin\"\n";

/// Makes a wheel, like maturin's, of the program that `PROGRAM` names.
const MATURIN: &str = r#"#!/usr/bin/env python3
import os, sys, zipfile
directory = sys.argv[sys.argv.index("--out") + 1]
with zipfile.ZipFile(f"{directory}/cgrun-VERSION-py3-none-linux_x86_64.whl", "w") as wheel:
    wheel.write(os.environ["PROGRAM"], "cgrun-VERSION.data/scripts/cgrun")
    wheel.writestr("cgrun-VERSION.dist-info/METADATA", "Name: cgrun\nLicense-File: LICENSE\nSummary: x\n")
    wheel.writestr("cgrun-VERSION.dist-info/sboms/cgrun.cyclonedx.json", "{}")
    wheel.writestr("cgrun-VERSION.dist-info/RECORD", "")
"#;

/// Makes no virtual environment, because that takes seconds.
const PYTHON: &str = "#!/bin/sh\n[ \"$1 $2\" = '-m venv' ] || exec /usr/bin/python3 \"$@\"\n\
    mkdir -p \"$4/bin\" && cp \"$STUBS/pip\" \"$4/bin/pip\"\n";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A target directory, and the programs that take the place of others.
struct Packages(tempfile::TempDir);

impl Packages {
    fn new() -> Self {
        let packages = Self(tempfile::tempdir().unwrap());
        for (name, text) in [("pip", PIP), ("maturin", MATURIN), ("python3", PYTHON)] {
            let path = packages.path(&format!("stubs/{name}"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text.replace("VERSION", VERSION)).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        packages
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn built(&self, ending: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.path("target/dist")).unwrap().map(|it| it.unwrap().path());
        files.filter(|it| it.to_str().unwrap().ends_with(ending)).collect()
    }

    fn dist(&self, kind: &str, program: &str) -> Output {
        let stubs = self.path("stubs");
        let path = format!("{}:{}", stubs.display(), std::env::var("PATH").unwrap());
        Command::new("sh")
            .args(["-c", "umask 077; exec \"$0\" \"$1\""])
            .arg(installed("scripts/dist"))
            .arg(kind)
            .env("CARGO_TARGET_DIR", self.path("target"))
            .env("PATH", path)
            .env("STUBS", stubs)
            .env("PROGRAM", program)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn make(&self, kind: &str, program: &str) {
        let output = self.dist(kind, program);
        assert!(output.status.success(), "{}", said(&output));
    }
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned()).concat()
}

fn unpack(deb: &Path, into: &Path) {
    assert!(Command::new("dpkg-deb").arg("-x").args([deb, into]).status().unwrap().success());
}

#[test]
fn a_deb_has_the_program_of_the_present_source_and_can_be_read_by_all() {
    let packages = Packages::new();
    packages.make("wheel", "/bin/echo");
    packages.make("deb", "/bin/true");
    let tree = packages.path("tree");
    unpack(&packages.built(".deb")[0], &tree);
    let program = std::fs::read(tree.join("usr/bin/cgrun")).unwrap();
    assert!(program == std::fs::read("/bin/true").unwrap(), "the program is one of an earlier run");
    let documents = tree.join("usr/share/doc/cgrun/docs");
    for file in ["examples/ci/tox.ini", "examples/fleet/reaping/cgrun-sweep@.timer", "fleet/reaping.md"] {
        assert!(documents.join(file).exists(), "docs/ci.md refers to {file}");
    }
    let listing = Command::new("dpkg-deb").arg("-c").arg(&packages.built(".deb")[0]).output().unwrap();
    for line in String::from_utf8(listing.stdout).unwrap().lines() {
        let others = &line[7..10];
        assert!(others == "r-x" || others == "r--" && !line.starts_with('d'), "{line}");
    }
}

#[test]
fn a_wheel_has_the_licences_of_what_it_contains() {
    let packages = Packages::new();
    packages.make("wheel", "/bin/true");
    let show = "import sys, zipfile\n\
        wheel = zipfile.ZipFile(sys.argv[1])\n\
        print(*wheel.namelist(), sep='\\n')\n\
        for name in wheel.namelist():\n\
        \x20   if name.endswith(('METADATA', 'RECORD', '.txt')): print(wheel.read(name).decode())\n";
    let wheel = &packages.built(".whl")[0];
    let output = Command::new("python3").args(["-c", show]).arg(wheel).output().unwrap();
    let text = said(&output);
    for line in [
        "License-File: LICENSE\nLicense-File: THIRD-PARTY-LICENCES.txt\nSummary: x\n",
        ".dist-info/licenses/THIRD-PARTY-LICENCES.txt,sha256=",
        ".dist-info/RECORD,,\n",
        ".dist-info/sboms/cgrun.cdx.json\n",
        "\nserde_json 1.",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("cyclonedx.json"), "that list has paths of this machine\n{text}");
}

#[test]
fn what_another_version_left_is_removed() {
    let packages = Packages::new();
    let old = packages.path("target/dist/cgrun-0.0.9-x86_64-linux.tar.gz");
    std::fs::create_dir_all(old.parent().unwrap()).unwrap();
    std::fs::write(&old, "").unwrap();
    packages.make("licences", "");
    assert!(!old.exists());
    let sums = std::fs::read_to_string(packages.path("target/dist/SHA256SUMS")).unwrap();
    assert!(sums.contains(&format!("cgrun-{VERSION}.cdx.json")) && !sums.contains("0.0.9"), "{sums}");
}

#[test]
fn tools_that_could_not_be_installed_are_installed_the_next_time() {
    let packages = Packages::new();
    let broken = packages.path("stubs/broken");
    std::fs::write(&broken, "").unwrap();
    assert!(!packages.dist("deb", "/bin/true").status.success());
    std::fs::remove_file(broken).unwrap();
    packages.make("deb", "/bin/true");
}

#[test]
fn a_program_with_paths_of_this_machine_is_refused() {
    let packages = Packages::new();
    let program = packages.path("program");
    let path = format!("{}/src/main.rs", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(&program, [std::fs::read("/bin/true").unwrap(), path.into_bytes()].concat()).unwrap();
    let output = packages.dist("deb", program.to_str().unwrap());
    assert!(!output.status.success());
    assert!(said(&output).contains("contains paths of this machine"), "{}", said(&output));
}
