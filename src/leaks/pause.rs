//! The process that podman without root starts to keep its namespaces for the containers to come. Nothing ends it, so whoever
//! uses podman for the first time leaves it behind.

use std::ffi::OsStr;

use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::stat::ProcStat;

/// Its name; its command line is that of the podman that was forked.
const PAUSE: &str = "podman pause";
/// If this is installed, podman starts it instead. With another option it is the first process of a container.
const CATATONIT: &str = "catatonit";
const KEEPS_NAMESPACES: &str = "-P";

pub(super) fn is_pause_process(stat: &ProcStat) -> bool {
    let command = || ProcessInfo::read(stat.pid).map(|it| it.command).unwrap_or_default();
    stat.name == PAUSE
        || stat.name == CATATONIT && command().get(1).is_some_and(|it| it == OsStr::new(KEEPS_NAMESPACES))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    fn is_pause(name: &str, options: &[&str]) -> bool {
        let mut command = Command::new("bash");
        command.args(options).args(["-c", "printf %s \"$0\" >/proc/$$/comm; echo; read wait", name]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let stat = ProcStat::read(rustix::process::Pid::from_child(&child)).unwrap();
        assert_eq!(stat.name, name);
        let is_pause = is_pause_process(&stat);
        child.kill().unwrap();
        child.wait().unwrap();
        is_pause
    }

    #[test]
    fn it_is_known_by_its_name() {
        assert!(is_pause("podman pause", &[]));
        assert!(!is_pause("podman", &[]));
        assert!(is_pause("catatonit", &["-P"]));
        assert!(!is_pause("catatonit", &[]));
    }
}
