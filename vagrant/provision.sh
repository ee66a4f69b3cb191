#!/bin/bash
# What scripts/demo, scripts/test and scripts/vm-test need on Debian 12. Runs as root, and can be run again.
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive
packages=(
    build-essential ca-certificates git rsync
    cargo-web # what is called cargo there is too old; this one follows Firefox
    python3 python3-venv nodejs npm
    iproute2 procps util-linux less vim-tiny
    redis-server redis-tools nginx postgresql curl openssl faketime xvfb
    dbus-user-session libpam-systemd
)

missing=()
for package in "${packages[@]}"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
        missing+=("$package")
done
if ((${#missing[@]})); then
    echo "Installing ${missing[*]}"
    apt-get update -qq
    apt-get install -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
fi

# The tests want the programs, and start their own servers.
systemctl disable --quiet --now redis-server nginx postgresql

cargo --version
# A user manager that is there without a login: `systemd-run --user` works from anywhere.
if id vagrant &>/dev/null; then loginctl enable-linger vagrant; fi
