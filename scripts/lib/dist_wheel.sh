# shellcheck shell=bash
# shellcheck disable=SC2154 # scripts/dist, which sources this, sets `root`, `dist`, `target`, `triple` and `version`.
# The wheel. Zig links it with the symbols that glibc 2.17 had, so it runs on every host that has this version or a later
# one. glibc stays a shared library, because it finds the users of a directory service.

dist_tools=$target/dist-tools
dist_requirements=(maturin==1.16.0 ziglang==0.17.0)

wheel() {
    if ! up_to_date "$dist_tools/stamp" "${dist_requirements[*]}"; then
        say "Installing ${dist_requirements[*]} into ${dist_tools#"$root"/}"
        python3 -m venv --clear "$dist_tools"
        "$dist_tools/bin/pip" install --quiet --disable-pip-version-check "${dist_requirements[@]}"
        echo "${dist_requirements[*]}" >"$dist_tools/stamp"
    fi
    [[ ${has_licences-} ]] || licences
    say "maturin build"
    rm -f "$dist"/cgrun-*.whl
    PATH=$dist_tools/bin:$PATH with_flags -- maturin build --release --locked --zig --compatibility manylinux2014 \
        --target "$triple" --target-dir "$target" --out "$dist"
    python3 scripts/lib/dist_wheel_files.py "$dist"/cgrun-*.whl "$dist"
    has_wheel=yes
}

# The program in the wheel. A wheel of an earlier run may be of another source.
wheel_program() { # FILE
    # Not `||`: after that, bash would ignore that a command of `wheel` fails.
    if [[ -z ${has_wheel-} ]]; then
        wheel
    fi
    python3 -c '
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, open(sys.argv[2], "wb") as file:
    program, = [it for it in wheel.namelist() if it.endswith("/scripts/cgrun")]
    file.write(wheel.read(program))' "$dist"/cgrun-*.whl "$1"
    chmod 755 "$1"
    without_paths "$1"
}
