# shellcheck shell=bash
# A virtual machine with systemd and unprivileged users, to test what a container does not have: user
# managers, delegated cgroups, a power cut. Source this after install.sh, with `root` set.
#
#   vm_run DIR [DISK]   boots Debian 12, unpacks DIR at /, runs /payload/run there as root, and returns
#                       its exit status. Its output appears as it is written. DISK keeps what the guest
#                       writes for the next vm_run that names it. Two other exit statuses:
#                         254  with DISK: the guest was reset before the payload exited
#                         255  the guest stopped or hung without an exit status; stderr gives the details
#
# Variables: CGRUN_VM_ACCEL (default: tcg,thread=multi), CGRUN_VM_TIMEOUT (seconds for one boot, default:
# 600), CGRUN_VM_MIRROR (default: the mirror that apt uses; required on hosts other than Debian),
# CGRUN_VM_KERNEL (the Debian release whose kernel is used, such as bullseye for Linux 5.10).

vm=${root:?}/target/vm${CGRUN_VM_KERNEL:+-$CGRUN_VM_KERNEL}
vm_suite=bookworm
vm_kernel_suite=${CGRUN_VM_KERNEL:-$vm_suite}
vm_reset=254
vm_lost=255

# --- requirements of the host ---------------------------------------------------------------

vm_tools=(
    "mmdebstrap               command -v mmdebstrap"
    "e2fsprogs                command -v mkfs.ext4"
    "kmod                     command -v depmod"
    "debian-archive-keyring   test -e /usr/share/keyrings/debian-archive-keyring.gpg"
)
vm_qemu=(
    "qemu-system-x86          command -v qemu-system-x86_64"
    "qemu-utils               command -v qemu-img"
)

# This machine's mirror, from apt's configuration.
vm_mirror() {
    local codename mirrors
    if [[ -n ${CGRUN_VM_MIRROR-} ]]; then
        echo "$CGRUN_VM_MIRROR"
        return
    fi
    codename=$(. /etc/os-release && [[ $ID == debian ]] && echo "${VERSION_CODENAME-}") ||
        die "the guest is built from a Debian mirror; please name one: CGRUN_VM_MIRROR=URL"
    # apt knows codenames only from its package lists, and a fresh container has none.
    mirrors=$(vm_apt_targets "$codename")
    [[ -n $mirrors ]] || { apt-get update -qq >&2 && mirrors=$(vm_apt_targets "$codename"); }
    [[ -n $mirrors ]] || die "apt has no source of Debian $codename; please name a mirror: CGRUN_VM_MIRROR=URL"
    head -n 1 <<<"$mirrors"
}
vm_apt_targets() {
    # shellcheck disable=SC2016 # apt's own variable
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' \
        "Codename: $1"
}

# apt with Debian's own packages and backports, independent of this machine's configuration: its lists
# and sources are in a directory that is removed afterwards.
vm_apt_prepare() { # DIR [SUITE]
    local suite=${2:-$vm_suite} from signed="[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    from=$(vm_mirror)
    mkdir -p "$1/lists/partial"
    printf 'deb %s %s %s main\n' "$signed" "$from" "$suite" >"$1/sources.list"
    # Those of older releases are removed from the mirrors.
    [[ $suite != "$vm_suite" ]] ||
        printf 'deb %s %s %s main\n' "$signed" "$from" "$suite-backports" >>"$1/sources.list"
    vm_apt "$1" apt-get update -qq
}
vm_apt() {
    local of=$1 tool=$2
    shift 2
    "$tool" -o Dir::Etc::sourcelist="$of/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$of/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}

vm_install() (
    [[ $(uname -m) == x86_64 ]] || die "the virtual machine needs an x86_64 host"
    packages=("${vm_tools[@]}")
    # Debian 12's own QEMU conflicts with a newer qemu-img that may be installed.
    if (. /etc/os-release && [[ ${VERSION_CODENAME-} == "$vm_suite" ]]) && command -v apt-get >/dev/null; then
        install_packages
        packages=("${vm_qemu[@]}")
        mapfile -t missing < <(missing_packages)
        ((${#missing[@]})) || return 0
        ((EUID == 0)) || die "only root can install ${missing[*]}"
        say "Installing ${missing[*]} from $vm_suite-backports"
        scratch=$(mktemp -d)
        trap 'rm -rf "$scratch"' EXIT
        chmod 755 "$scratch"
        vm_apt_prepare "$scratch"
        DEBIAN_FRONTEND=noninteractive vm_apt "$scratch" apt-get install -qq --no-install-recommends \
            -t "$vm_suite-backports" "${missing[@]}" </dev/null >/dev/null
    else
        packages+=("${vm_qemu[@]}")
        install_packages
    fi
)

# --- the guest -------------------------------------------------------------------------

# The stamp covers the text of these functions, so that changing one of them rebuilds the guest.
vm_recipe() { declare -p vm_suite vm_kernel_suite && declare -f vm_build vm_customize vm_apt_prepare; }

vm_prepare() {
    local wanted
    wanted=$(vm_recipe | sha256sum)
    up_to_date "$vm/stamp" "$wanted" && return
    mkdir -p "$vm"
    (
        # Two concurrent runs build one guest.
        flock 9
        up_to_date "$vm/stamp" "$wanted" && exit
        ((EUID == 0)) || die "building the virtual machine needs root"
        say "Building the virtual machine in ${vm#"$root"/}; this takes a minute, once"
        scratch=$(mktemp -d "$vm/build.XXXXXX")
        trap 'rm -rf "$scratch"' EXIT
        chmod 755 "$scratch"
        rm -f "$vm/stamp"
        vm_build "$scratch" 2> >(grep -v 'unsandboxed as root' >&2)
        mv -f "$scratch"/{vmlinuz,root.img} "$vm"
        echo "$wanted" >"$vm/stamp"
    ) 9>"$vm/lock"
}

vm_build() {
    local scratch=$1 guest=$1/root apt=$1/kernel-apt kernel
    vm_apt_prepare "$scratch"
    vm_apt_prepare "$apt" "$vm_kernel_suite"
    mmdebstrap --quiet --variant=minbase \
        --include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd \
        --include=python3,procps,iproute2,passt,sudo,util-linux,less,kmod \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$vm_suite" "$guest" "$scratch/sources.list"

    # Only the kernel's files are needed: its drivers for booting are built in, so there is no initrd.
    # sock_diag(7) needs its modules.
    kernel=$(vm_apt "$apt" apt-cache show linux-image-cloud-amd64 |
        sed -n 's/^Depends: \([^ ,]*\).*/\1/p' | sort -V | tail -n 1)
    (cd "$scratch" && vm_apt "$apt" apt-get download -qq "$kernel")
    dpkg-deb -x "$scratch/$kernel"_*.deb "$scratch/kernel"
    mv "$scratch"/kernel/boot/vmlinuz-* "$scratch/vmlinuz"
    # /lib is a link there.
    cp -a "$scratch/kernel/lib/modules" "$guest/usr/lib/"
    depmod -b "$guest" "${kernel#linux-image-}"

    vm_customize "$guest"
    truncate -s 2G "$scratch/root.img"
    mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1 -d "$guest" "$scratch/root.img"
}

vm_customize() {
    local guest=$1 unit
    # Without a fixed id, each boot would be a first boot.
    echo 00000000000000000000000000c64123 >"$guest/etc/machine-id"
    echo guest >"$guest/etc/hostname"
    echo "127.0.0.1 localhost guest" >"$guest/etc/hosts"
    echo "/dev/nvme0n1 / ext4 rw 0 1" >"$guest/etc/fstab"
    rm -f "$guest"/etc/apt/sources.list "$guest"/etc/resolv.conf

    # One user whose manager always runs, and one without a manager.
    chroot "$guest" useradd --create-home --uid 1000 --shell /bin/bash tester
    chroot "$guest" useradd --create-home --uid 1001 --shell /bin/bash plain
    mkdir -p "$guest/var/lib/systemd/linger"
    touch "$guest/var/lib/systemd/linger/tester"
    echo "tester ALL=(ALL) NOPASSWD: ALL" >"$guest/etc/sudoers.d/tester"
    chmod 440 "$guest/etc/sudoers.d/tester"

    # Emulated processors are slow, so nothing is started that no test needs: no logins at a console,
    # no updates, no hotplugging.
    for unit in getty.target getty@.service serial-getty@.service {apt-daily,apt-daily-upgrade}.timer \
        {dpkg-db-backup,e2scrub_all,fstrim}.timer e2scrub_reap.service modprobe@.service kmod-static-nodes.service \
        dev-{hugepages,mqueue}.mount sys-kernel-{config,debug,tracing}.mount sys-fs-fuse-connections.mount \
        proc-sys-fs-binfmt_misc.automount systemd-journald-audit.socket systemd-initctl.socket \
        systemd-ask-password-{console,wall}.path systemd-fsck-root.service \
        systemd-{binfmt,firstboot,journal-flush,machine-id-commit,modules-load,pstore,random-seed,repart}.service \
        systemd-{sysusers,tmpfiles-setup-dev,update-utmp,update-utmp-runlevel}.service; do
        ln -s /dev/null "$guest/etc/systemd/system/$unit"
    done
    mkdir -p "$guest"/etc/systemd/{system,user}-generators
    for unit in "$guest"/usr/lib/systemd/{system,user}-generators/*; do
        ln -s /dev/null "${unit/usr\/lib/etc}"
    done

    cat >"$guest/etc/systemd/system/payload.service" <<'END'
[Unit]
Description=Run what the host attached, and power off
After=systemd-logind.service systemd-user-sessions.service dbus.service user@1000.service
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=exec
ExecStart=/usr/local/sbin/run-payload

[Install]
WantedBy=multi-user.target
END
    mkdir -p "$guest/etc/systemd/system/multi-user.target.wants"
    ln -s ../payload.service "$guest/etc/systemd/system/multi-user.target.wants/"

    # The second disk is a plain tar. Its type differs from that of the root disk, so that neither can take the
    # other's name. ttyS1 carries the output, ttyS2 the exit status.
    cat >"$guest/usr/local/sbin/run-payload" <<'END'
#!/bin/bash
# Debian 11's kernel does not have the first one built in, and finds the disk a little later.
modprobe --all virtio_pci virtio_blk || exit
for _ in {1..100}; do [[ -e /dev/vda ]] && break || sleep 0.1; done
tar --extract --no-overwrite-dir --file /dev/vda --directory / || exit
stty -F /dev/ttyS1 raw -echo
stty -F /dev/ttyS2 raw -echo
# Use a pipe, because programs write differently to a terminal.
exec 3> >(exec cat >/dev/ttyS1)
reader=$!
export HOME=/root LANG=C.UTF-8
cd /
/payload/run </dev/null >&3 2>&1 3>&-
status=$?
# A process that the payload left behind may hold the pipe forever.
exec 3>&-
(sleep 2; kill $reader) 2>/dev/null &
wait $reader
(echo $status >/dev/ttyS2)
# Wait until everything has been sent.
stty -F /dev/ttyS1 raw
stty -F /dev/ttyS2 raw
END
    chmod 755 "$guest/usr/local/sbin/run-payload"
}

# --- one boot --------------------------------------------------------------------------

# Use a subshell, because errexit is off in this shell if vm_run is called with `||`.
vm_ready() {
    root=$root bash -euo pipefail -c \
        '. "$root/scripts/lib/install.sh"; . "$root/scripts/lib/vm.sh"; vm_install; vm_prepare' "$0"
}

vm_run() {
    local work status=0
    vm_ready || exit
    work=$vm/run.$$
    rm -rf "$work"
    mkdir "$work" || exit
    vm_boot "$work" "$@" || status=$?
    rm -rf "$work"
    return "$status"
}

vm_boot() {
    local work=$1 payload=$2 disk=${3-} limit=${CGRUN_VM_TIMEOUT:-600}
    local root_drive in out line events="" qemu_status=0 status
    # These make emulated processors faster and do not affect the tests.
    local cpu=max,la57=off options="mitigations=off nokaslr selinux=0 apparmor=0 audit=0 cryptomgr.notests \
random.trust_cpu=on tsc=reliable rcupdate.rcu_expedited=1"
    root_drive=file=$vm/root.img,format=raw,snapshot=on
    if [[ -n $disk ]]; then
        [[ -e $disk ]] || qemu-img create -q -f qcow2 -F raw -b "$vm/root.img" "$disk" || return "$vm_lost"
        root_drive=file=$disk,format=qcow2
    fi
    tar --create --file "$work/payload.tar" --owner=0 --group=0 --mode=u+rwX,go+rX --directory "$payload" . ||
        return "$vm_lost"

    # QMP reports how the machine stopped: otherwise a reset and a power-off look alike.
    mkfifo "$work"/qmp.{in,out} || return "$vm_lost"
    exec {in}<>"$work/qmp.in" {out}<>"$work/qmp.out"
    echo '{"execute": "qmp_capabilities"}' >&"$in"

    # The kernel kills QEMU when this shell exits.
    setpriv --pdeathsig TERM timeout --foreground --kill-after 5 "$limit" \
        qemu-system-x86_64 -accel "${CGRUN_VM_ACCEL:-tcg,thread=multi}" -cpu "$cpu" -smp 2 -M q35 -m 1024 \
        -nodefaults -no-user-config -display none -no-reboot -nic none \
        -kernel "$vm/vmlinuz" \
        -append "root=/dev/nvme0n1 rootwait rw console=ttyS0 panic=-1 quiet $options" \
        -drive "id=root,if=none,$root_drive" -device nvme,drive=root,serial=root \
        -drive "id=payload,if=none,file=$work/payload.tar,format=raw,readonly=on" -device virtio-blk,drive=payload \
        -serial "file:$work/console" -serial stdio -serial "file:$work/status" \
        -chardev "pipe,id=qmp,path=$work/qmp" -mon chardev=qmp,mode=control \
        </dev/null || qemu_status=$?

    while IFS= read -r -t 0.1 -u "$out" line; do events+=$line$'\n'; done
    exec {in}>&- {out}>&-
    status=$(cat "$work/status" 2>/dev/null) || status=
    if [[ ! $status =~ ^[0-9]+$ ]]; then
        if [[ -n $disk && $events == *'"reason": "guest-reset"'* ]] && ! grep -q "Kernel panic" "$work/console"; then
            status=$vm_reset
        else
            status=$vm_lost
            {
                if ((qemu_status == 124)); then
                    echo "${0##*/}: the virtual machine did not stop within $limit s. The last lines of its console:"
                else
                    echo "${0##*/}: the virtual machine stopped without an exit status (QEMU's was $qemu_status). The last lines of its console:"
                fi
                tail -n 20 "$work/console" | sed 's/^/    /'
                grep SHUTDOWN <<<"$events" | sed 's/^/    /'
            } >&2 || true
        fi
    fi
    return "$status"
}

# --- vagrant ---------------------------------------------------------------------------

vagrant_validate() {
    (
        packages=(
            "vagrant           command -v vagrant"
            "vagrant-libvirt   vagrant plugin list | grep libvirt"
        )
        install_packages
    ) || exit
    # Without these, it writes to its working directory and asks the network for a newer version.
    (cd "$root/vagrant" && VAGRANT_DOTFILE_PATH=$root/target/vagrant VAGRANT_CHECKPOINT_DISABLE=1 vagrant validate)
}
