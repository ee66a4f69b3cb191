//! Kernels that cannot run a session.

use rustix::process::{PidfdFlags, getpid, pidfd_open};

/// What to do about the Windows Subsystem for Linux 1, which answers Linux's system calls with Windows, and has no
/// cgroups, namespaces or pidfds. Version 2 runs a Linux kernel.
pub(crate) const CONVERT_WSL1: &str = "WSL 1 has no Linux kernel and therefore no cgroups; convert the distribution to \
                                       WSL 2, in PowerShell: wsl --set-version NAME 2";

/// Why no session can run here, if that is so. cgrun cannot do without pidfds (pidfd_open(2), since Linux 5.3) and
/// without waiting for one (waitid(2), since Linux 5.4).
pub(crate) fn why_too_old() -> Option<String> {
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Err(rustix::io::Errno::NOSYS) if is_wsl1() => Some(CONVERT_WSL1.into()),
        Err(rustix::io::Errno::NOSYS) => {
            let release = rustix::system::uname().release().to_string_lossy().into_owned();
            Some(format!("cgrun needs Linux 5.4 or newer, and this is Linux {release}"))
        }
        _ => None,
    }
}

/// Whether we run in WSL 1.
pub(crate) fn is_wsl1() -> bool {
    std::fs::read_to_string("/proc/version").is_ok_and(|version| is_version_1(&version))
}

/// By `/proc/version`. Kernels of version 2 are called `microsoft-standard`.
fn is_version_1(version: &str) -> bool {
    version.contains("-Microsoft") && !version.contains("WSL2")
}

/// How to change the settings of this host that forbid user and PID namespaces, if any do.
pub(crate) fn settings_against_namespaces() -> Option<String> {
    let settings = [
        ("kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone=1", "0"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "kernel.apparmor_restrict_unprivileged_userns=0",
            "1",
        ),
        ("user/max_user_namespaces", "user.max_user_namespaces=15000", "0"),
        ("user/max_pid_namespaces", "user.max_pid_namespaces=15000", "0"),
    ];
    let in_the_way = settings.into_iter().filter(|(file, _, bad)| {
        std::fs::read_to_string(format!("/proc/sys/{file}")).is_ok_and(|value| value.trim() == *bad)
    });
    let remedies: Vec<_> = in_the_way.map(|(_, remedy, _)| format!("sysctl {remedy}")).collect();
    (!remedies.is_empty()).then(|| remedies.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_and_other_kernels_are_linux() {
        for (version, is_1) in [
            (
                "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com) (gcc version 5.4.0 (GCC) )",
                true,
            ),
            ("Linux version 4.19.104-microsoft-standard (oe-user@oe-host) (gcc version 8.2.0 (GCC))", false),
            ("Linux version 5.15.90.1-microsoft-standard-WSL2 (oe-user@oe-host) (gcc 9.3.0)", false),
            (
                "Linux version 6.1.0-13-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14))",
                false,
            ),
        ] {
            assert_eq!(is_version_1(version), is_1, "{version}");
        }
    }
}
