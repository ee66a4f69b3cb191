# shellcheck shell=bash
# shellcheck disable=SC2154 # scripts/dist, which sources this, sets `dist`, `target`, `triple`, `version` and `cross_*`.
# The static build: one file that needs nothing of its host and starts faster than what `cargo build --release` makes.

static() {
    # Only with --target do these flags spare procedural macros, which cannot be static. Without relocations, fewer pages
    # are written before `main`.
    local built=$target/$triple/release/cgrun
    say "cargo build --release --target $triple"
    with_flags -Ctarget-feature=+crt-static -Crelocation-model=static -- \
        env "${cross_linker[@]}" cargo build --release --locked --bin cgrun --target "$triple"
    [[ $(readelf --program-headers --wide "$built") != *INTERP* ]] || die "$built is not static"
    # These load libraries of the host (nsswitch.conf), which crash a program that has another version of the C library.
    # nm writes to a file, because with pipefail a reader that stops early would make it die of SIGPIPE.
    "${cross_tools}nm" "$built" >"$built.symbols"
    ! grep --extended-regexp ' (getpw[a-z]+|getgr[^o][a-z]+|getgrouplist|initgroups|getaddrinfo)(_r)?$' "$built.symbols" ||
        die "the static build asks the name service of the host"
    without_paths "$built"
    install --mode 755 "$built" "$dist/cgrun"
    "${cross_run[@]}" "$dist/cgrun" --version
    static_archive "cgrun-$version-${triple%%-*}-linux"
}

static_archive() ( # NAME
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    dist_tree "$scratch/$1" "$dist/cgrun"
    tar --create --directory "$scratch" --sort=name --format=ustar --owner=0 --group=0 --numeric-owner \
        --mtime="@$SOURCE_DATE_EPOCH" "$1" | gzip -9n >"$scratch/archive"
    mv "$scratch/archive" "$dist/$1.tar.gz"
)
