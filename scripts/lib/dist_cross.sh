# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # scripts/dist, which sources this, sets `host`, `target` and `triple`, and uses the rest.
# Building for 64-bit ARM on another processor, with a linker of Debian's. An emulator runs what was built, to print the man
# page and the completions.

cross_triple=aarch64-unknown-linux-gnu
# What the names of the tools for the other processor begin with, and how to run its programs.
cross_tools=
cross_run=()
# The linker of the static build; that of the wheel is Zig's.
cross_linker=()

cross_prepare() {
    local libraries
    [[ $triple == "$cross_triple" ]] || die "can build for $host and $cross_triple, but not for $triple"
    (
        packages=(
            "gcc-aarch64-linux-gnu   command -v aarch64-linux-gnu-gcc"
            "libc6-dev-arm64-cross   test -e /usr/aarch64-linux-gnu/lib/libc.a"
            "qemu-user-static        command -v qemu-aarch64-static"
        )
        install_packages
    )
    libraries=$(rustc --print target-libdir --target "$triple")
    if [[ ! -d $libraries ]]; then
        say "rustup target add $triple"
        rustup target add "$triple"
    fi
    cross_linker=(CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc)
    cross_tools=aarch64-linux-gnu-
    cross_run=(qemu-aarch64-static -L /usr/aarch64-linux-gnu)
    dist=$target/dist-aarch64
}
