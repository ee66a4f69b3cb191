# shellcheck shell=bash
# shellcheck disable=SC2154 # `root` is set by the script that sources this.
# Installs the requirements of scripts/demo, scripts/test and .ci/run. They source this with `root` set
# and as the working directory. If everything is installed, nothing here uses the network.

demo=$root/tests/demo
venv=$root/target/demo/venv

say() { printf '\n==> %s\n' "$*"; }
note() { printf '    %s\n' "$@"; }
die() { printf "${0##*/}: %s\n" "$@" >&2; exit 1; }

# --- system packages -----------------------------------------------------------

# A package, and how to check that the part of it that we need is installed, however it was installed.
packages=(
    "gcc             command -v cc"
    "libc6-dev       test -e /usr/include/stdio.h"
    "iproute2        command -v ip"
    "util-linux      command -v setpriv"
    "python3         command -v python3"
    "curl            command -v curl"
    "openssl         command -v openssl"
    "python3-venv    python3 -c 'import ensurepip, venv'"
    "less            command -v less"
    "vim-tiny        command -v vi"
    "nodejs          command -v node"
    "npm             command -v npm"
    "redis-server    command -v redis-server"
    "redis-tools     command -v redis-cli"
    "nginx           command -v nginx"
    "bats            command -v bats"
    "chromium        command -v chromium"
    "postgresql      compgen -G '/usr/lib/postgresql/*/bin/pg_ctl'"
    "xvfb            command -v Xvfb"
    "faketime        compgen -G '/usr/lib/*/faketime/libfaketime.so.1'"
    "docker.io       test -x /usr/sbin/dockerd"
    "docker-compose  command -v docker-compose"
    "podman          command -v podman"
    "runc            command -v runc"
    "uidmap          command -v newuidmap"
    "busybox-static  command -v busybox"
    "git             command -v git"
    "make            command -v make"
    "systemd         command -v systemd-analyze"
    "strace          command -v strace"
    "bubblewrap      command -v bwrap"
    "passt           command -v pasta"
    "bash-completion test -e /usr/share/bash-completion/bash_completion"
    "zsh             command -v zsh"
    "fish            command -v fish"
    "mandoc          command -v mandoc"
    "elfutils        command -v eu-stack"
    "default-jdk-headless command -v jcmd"
    "openssh-client  command -v ssh"
    "openssh-server  test -x /usr/sbin/sshd"
    "parallel        command -v parallel"
    "munge           test -x /usr/sbin/munged"
    "slurmctld       test -x /usr/sbin/slurmctld"
    "slurmd          test -x /usr/sbin/slurmd"
    "slurm-client    command -v sbatch"
)

missing_packages() {
    local package check
    while read -r package check; do
        eval "$check" &>/dev/null || echo "$package"
    done < <(printf '%s\n' "${packages[@]}")
}

# Debian starts a server when it installs one, and again at every boot. The tests need only the
# programs, so no server that this installs is started or enabled.
install_packages() (
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]})) || return 0
    policy=/usr/sbin/policy-rc.d
    command -v apt-get >/dev/null || die "please install what Debian calls: ${missing[*]}"
    ((EUID == 0)) || die "only root can do this: apt-get install --no-install-recommends ${missing[*]}"
    if [[ ! -e $policy ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    elif "$policy" nginx start; [[ $? != 101 ]]; then
        die "$policy lets servers start; please apt-get install: ${missing[*]}"
    fi
    say "Installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
    while read -r package units; do
        # `systemctl disable` only edits links, and works without a running systemd.
        if [[ " ${missing[*]} " == *" $package "* ]] && command -v systemctl >/dev/null; then
            # shellcheck disable=SC2086 # Several units are separate words.
            systemctl disable --quiet $units
        fi
    done <<'END'
redis-server redis-server
nginx nginx
postgresql postgresql
docker.io docker.service docker.socket containerd.service
openssh-server ssh.service
munge munge.service
slurmctld slurmctld.service
slurmd slurmd.service
podman podman.service podman.socket podman-restart.service podman-auto-update.service podman-auto-update.timer
END
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]} == 0)) || die "still missing after apt-get install: ${missing[*]}"
)

require_tools() {
    local tool missing=()
    for tool in cargo python3 node npm; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    ((${#missing[@]} == 0)) || die "please install: ${missing[*]}"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "python3 must be 3.10 or newer"
}

# --- below this directory ------------------------------------------------------------

# The inputs of an installation. They include the path and the architecture, because neither a venv
# nor node_modules can be moved to another directory or shared with another architecture.
stamp_of() { { cat "$@"; pwd; uname -sm; python3 --version; node --version; } | sha256sum; }

up_to_date() { [[ -f $1 && $(<"$1") == "$2" ]]; }

install_backend() {
    local wanted
    wanted=$(stamp_of "$demo/requirements.txt")
    up_to_date "$venv/stamp" "$wanted" && return
    # Debian ships python3 without it.
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        die "python3 cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"
    say "Installing the backend and pytest into ${venv#"$root"/}"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$demo/requirements.txt"
    echo "$wanted" >"$venv/stamp"
}

# The tools of the recipes in docs/ci.md, and the wheels that these install in the tests.
install_recipes() {
    local wanted into=$root/target/recipes
    wanted=$(stamp_of "$root/tests/ci-requirements.txt" "$demo/requirements.txt")
    up_to_date "$into/stamp" "$wanted" && return
    say "Installing the tools of the CI recipes into ${into#"$root"/}"
    rm -rf "$into"
    python3 -m venv "$into/venv"
    "$into/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$root/tests/ci-requirements.txt"
    "$into/venv/bin/pip" download --quiet --disable-pip-version-check --dest "$into/wheels" \
        --constraint "$demo/requirements.txt" pytest
    echo "$wanted" >"$into/stamp"
}

# The engines that come from PyPI, and what their jobs run.
install_fleet() {
    local wanted into=$root/target/fleet/venv
    wanted=$(stamp_of "$root/tests/fleet/requirements.txt")
    up_to_date "$into/stamp" "$wanted" && return
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "python3 must be 3.11 or newer for ansible-core, with which the tests of docs/fleet run"
    say "Installing the engines of fleets into ${into#"$root"/}"
    python3 -m venv --clear "$into"
    "$into/bin/pip" install --quiet --disable-pip-version-check --requirement "$root/tests/fleet/requirements.txt"
    echo "$wanted" >"$into/stamp"
}

# The libraries by which test suites start containers.
install_engine_clients() {
    local wanted into=$root/target/engines/venv
    wanted=$(stamp_of "$root/tests/engines/requirements.txt")
    up_to_date "$into/stamp" "$wanted" && return
    say "Installing docker-py and Testcontainers into ${into#"$root"/}"
    python3 -m venv --clear "$into"
    "$into/bin/pip" install --quiet --disable-pip-version-check --requirement "$root/tests/engines/requirements.txt"
    echo "$wanted" >"$into/stamp"
}

# The test runners for which docs/hooks.md has hooks.
install_runners() {
    install_node_modules "jest, mocha and Playwright" "$root/tests/runners"
}

install_frontend() {
    install_node_modules "the frontend" "$demo/frontend"
}

install_node_modules() { # NAMES DIRECTORY
    local wanted modules=$2/node_modules
    wanted=$(stamp_of "$2/"{package.json,package-lock.json})
    up_to_date "$modules/.stamp" "$wanted" && return
    say "Installing $1 into ${modules#"$root"/}"
    (cd "$2" && npm ci --loglevel=error)
    echo "$wanted" >"$modules/.stamp"
}

# --- cargo programs ---------------------------------------------------------------------

install_nextest() {
    cargo nextest --version &>/dev/null && return
    say "Installing cargo-nextest; this takes some minutes, once"
    # It only waits for tests, so a short build matters more than an optimized program.
    cargo install --quiet --locked --debug cargo-nextest
}
