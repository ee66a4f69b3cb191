# shellcheck shell=bash
# shellcheck disable=SC2154 # scripts/dist, which sources this, sets `dist`, `triple` and `version`.
# The package for Debian and Ubuntu. It starts nothing, and has no scripts.

deb() (
    command -v dpkg-deb >/dev/null || die "please install dpkg: it builds the .deb"
    case ${triple%%-*} in
        aarch64) architecture=arm64 ;;
        *) architecture=$(dpkg --print-architecture) ;;
    esac
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    wheel_program "$scratch/cgrun"
    say "dpkg-deb"
    # Every glibc has these; another library would have to be in Depends.
    needed=$(readelf --dynamic "$scratch/cgrun" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    others=$(grep -vE '^(libc|libm|libdl|libpthread|librt|ld-linux.*)\.so' <<<"$needed" || true)
    [[ -z $others ]] || die "the program of the wheel also needs ${others//$'\n'/, }"
    tree=$scratch/tree documents=$scratch/tree/usr/share/doc/cgrun
    dist_tree "$tree/usr" "$scratch/cgrun"
    gzip -9n "$tree/usr/share/man/man1/cgrun.1" "$documents/CHANGELOG.md"
    mv "$tree/usr/share/zsh/site-functions" "$tree/usr/share/zsh/vendor-completions"
    mv "$documents/LICENSE" "$documents/copyright"
    install -D --mode 644 --target-directory "$documents/examples" packaging/systemd/*
    mkdir "$tree/DEBIAN"
    (cd "$tree" && find usr -type f -exec md5sum {} + | LC_ALL=C sort --key 2) >"$tree/DEBIAN/md5sums"
    cat >"$tree/DEBIAN/control" <<END
Package: cgrun
Version: $version
Architecture: $architecture
Maintainer: The contributors of cgrun
Section: devel
Priority: optional
Installed-Size: $(du --summarize --block-size=1K --apparent-size "$tree/usr" | cut -f 1)
Depends: libc6 (>= 2.17)
Description: run a test session in one transient cgroup
 cgrun starts the services of a test suite, waits until they answer, runs the
 tests, and keeps all of their processes in one transient cgroup. Whatever
 happens, nothing of the session survives, and each process that would have
 leaked is named together with the test that started it.
END
    find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    rm -f "$dist"/cgrun_*.deb
    dpkg-deb --root-owner-group -Zxz --build "$tree" "$dist/cgrun_${version}_$architecture.deb"
)
