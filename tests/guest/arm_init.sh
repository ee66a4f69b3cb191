#!/bin/busybox sh
# shellcheck shell=dash
# The first process of the machine that scripts/arm-test boots.

/bin/busybox --install -s /bin
export PATH=/bin HOME=/ NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmp /tmp
ip link set lo up
for module in inet tcp udp unix; do insmod "/modules/${module}_diag.ko"; done
cd /tmp || exit

failures=0

expect() { # CODE TEXT COMMAND...
    local code=$1 text=$2
    shift 2
    echo "$ $*"
    "$@" >/tmp/said 2>&1
    local status=$?
    cat /tmp/said
    if [ "$status" != "$code" ] || ! { [ -z "$text" ] || grep -qF "$text" /tmp/said; } || pidof sleep; then
        echo "    failed: exit code $status instead of $code, no \"$text\", or a process is left"
        failures=$((failures + 1))
    fi
}

leak='sleep 4321 & setsid sleep 4322 & exit 7'
expect 0 aarch64 uname -srm
expect 0 cgrun cgrun --version
expect 0 "" cgrun true
expect 7 "contained by a cgroup," cgrun -v sh -c "$leak"
expect 7 "contained by a cgroup and PID namespace," cgrun --require cgroup+pidns -v sh -c "$leak"
expect 0 1000 cgrun --user tester id -u
cat >cgrun.toml <<'END'
[services.web]
command = ["busybox", "httpd", "-f", "-p", "127.0.0.1:8000", "-h", "/etc"]
port = 8000
ready = { http = "http://127.0.0.1:8000/passwd" }
END
expect 0 root:x:0: cgrun wget -qO- http://127.0.0.1:8000/group
rm cgrun.toml
cat >killed.sh <<'END'
cgrun sh -c "touch up; setsid sleep 4323 & exec sleep 4324" &
until [ -e up ]; do sleep 0.05; done
kill -9 $!
until cgrun sessions | grep "by guardian, clean"; do usleep 50000; done
END
expect 0 "by guardian, clean" sh killed.sh
mount -o remount,ro /sys/fs/cgroup
expect 7 "contained by a PID namespace," cgrun -v sh -c "$leak"
echo 0 >/proc/sys/user/max_user_namespaces
expect 7 "contained by a process tree," su tester -c "cgrun -v sh -c '$leak'"

[ "$failures" != 0 ] || echo passed
poweroff -f
