"""Hosts on which cgrun cannot run: pip and cargo say so."""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

# What pip calls them. No wheel may fit these, not even on the same processor.
PLATFORMS = {
    "musl, such as Alpine": f"musllinux_1_2_{platform.machine()}",
    "glibc 2.16": f"manylinux_2_16_{platform.machine()}",
    "macOS": "macosx_14_0_arm64",
    "Windows": "win_amd64",
}
MAC = "x86_64-apple-darwin"
LINUX_ONLY = "cgrun runs on Linux only"


def refusals(packages, table, target):
    if not packages.wheel:
        print("    no wheel is built, so it is not tested what pip says on other hosts", flush=True)
    for name, tag in PLATFORMS.items() if packages.wheel else ():
        with tempfile.TemporaryDirectory() as directory:
            pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--only-binary=:all:"]
            command = [*pip, "--platform", tag, "--target", directory, packages.wheel]
            report(table, f"pip refuses the wheel on {name}", command, "is not a supported wheel on this platform")
    repository = Path(__file__).resolve().parent.parent.parent
    command = ["cargo", "build", "--locked", "--manifest-path", repository / "Cargo.toml", "--target", MAC]
    report(table, "cargo refuses macOS", command, LINUX_ONLY, CARGO_TARGET_DIR=str(target / "dist-refusals"))


def report(table, what, command, says, **variables):
    done = subprocess.run(
        command, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    is_right = done.returncode != 0 and says in done.stdout
    table.failed |= not is_right
    print(f"    {what}" if is_right else f"    FAIL {what}: exit code {done.returncode}\n{done.stdout}", flush=True)
