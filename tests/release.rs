//! `scripts/release-check`, which guards the release workflow, and the workflow's own guards.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::installed;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A copy of what the script reads, in which the version is released.
fn released() -> TempDir {
    let copy = TempDir::new().unwrap();
    for name in ["Cargo.toml", "Cargo.lock", "pyproject.toml", "CHANGELOG.md", "scripts/release-check"] {
        std::fs::create_dir_all(copy.path().join("scripts")).unwrap();
        std::fs::copy(installed(name), copy.path().join(name)).unwrap();
    }
    replace(&copy, "CHANGELOG.md", "unreleased", "2026-11-28");
    copy
}

fn replace(copy: &TempDir, name: &str, from: &str, to: &str) {
    let path = copy.path().join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

/// What the script says; empty if it passes.
fn check(copy: &TempDir, arguments: &[&str]) -> String {
    let script: PathBuf = copy.path().join("scripts/release-check");
    let output = Command::new(script).args(arguments).current_dir(copy).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

#[test]
fn the_tag_is_that_of_the_version() {
    let copy = released();
    let tag = format!("v{VERSION}");
    assert_eq!(check(&copy, &[&tag]), "");
    for wrong in ["v99.0.0", VERSION, "main"] {
        assert!(check(&copy, &[wrong]).contains("whose tag is v"), "{wrong}");
    }
    let files = [
        (format!("cgrun-{VERSION}-x86_64-linux.tar.gz"), true),
        (format!("cgrun_{VERSION}_amd64.deb"), true),
        ("cgrun-99.0.0-py3-none-any.whl".to_string(), false),
    ];
    for (name, is_right) in files {
        assert!(check(&copy, &[&tag, &name]).contains("there is no"), "{name}");
        std::fs::write(copy.path().join(&name), "").unwrap();
        assert_eq!(check(&copy, &[&tag, &name]).is_empty(), is_right, "{name}");
    }
}

#[test]
fn every_file_that_names_the_version_agrees() {
    let version = format!("\"{VERSION}\"");
    let cases = [
        (
            "Cargo.lock",
            format!("name = \"cgrun\"\nversion = {version}"),
            "name = \"cgrun\"\nversion = \"99.0.0\"",
        ),
        ("pyproject.toml", "\"version\", ".to_string(), ""),
        ("CHANGELOG.md", format!("## {VERSION}"), "## 99.0.0"),
        ("CHANGELOG.md", "2026-11-28".to_string(), "unreleased"),
    ];
    for (name, from, to) in cases {
        let copy = released();
        replace(&copy, name, &from, to);
        assert!(check(&copy, &[&format!("v{VERSION}")]).contains(name), "{name}");
    }
}

/// Nothing is published that CI has not passed, and nothing is attested that is not from a tag.
#[test]
fn the_workflow_publishes_only_what_passed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows/release.yml");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, publish) = text.split_once("\n  publish:\n").unwrap();
    assert!(before.contains("uses: ./.github/workflows/ci.yml"), "{before}");
    assert!(publish.contains("needs: [checks, build]"), "{publish}");
    assert!(publish.contains("if: github.event_name == 'push' && github.ref_type == 'tag'"), "{publish}");
    for right in ["id-token: write", "attestations: write", "contents: write", "attest-build-provenance"] {
        assert!(publish.contains(right) && !before.contains(right), "{right}");
    }
}
