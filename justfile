# Shortcuts for the scripts in scripts/. See CONTRIBUTING.md.

# List the recipes
default:
    @just --list

# Build cgrun for development
build:
    cargo build --locked

# Format the Rust code
fmt:
    cargo fmt

# Check Rust, shell scripts, Python and spelling
lint:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    scripts/lint

# Run the unit tests, which need no root
unit *args:
    cargo nextest run --locked --bin cgrun {{ args }}

# Run all tests, or those whose names contain an argument (root)
test *args:
    scripts/test {{ args }}

# Run the tests in a virtual machine with systemd (root)
vm-test *args:
    scripts/vm-test {{ args }}

# Run random sessions under random signals: just chaos RUNS SEED (root)
chaos *args:
    scripts/chaos {{ args }}

# Run the demo (root)
demo:
    scripts/demo

# Measure what cgrun costs, beside its peers (root)
bench *args:
    cargo build --release --locked
    scripts/bench {{ args }}

# Build the packages: just dist [static|wheel|deb|licences]
dist *args:
    scripts/dist {{ args }}

# Install the packages on Debian, busybox and each Python, and run them (root)
dist-test *args:
    scripts/dist-test {{ args }}

# Draw the pictures of the documentation from a real run (root)
pictures:
    scripts/pictures

# Run everything that CI runs (root)
ci:
    .ci/run
