//! A process outside every session, in the test's network.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::helpers;

/// It is killed at the end of the test.
pub(crate) struct Stranger(Child);

impl Stranger {
    /// A helper program (`tests/helpers/NAME`), which writes its files into `directory`.
    pub(crate) fn start(directory: &Path, helper: &str, arguments: &[&str]) -> Self {
        let child = Command::new("python3")
            .arg(helpers().join(helper))
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Starts the helper `server.py`, and waits until it listens.
    pub(crate) fn serve(directory: &Path, port: u16, arguments: &[&str]) -> Self {
        let stranger = Self::start(directory, "server.py", &[&[&*port.to_string()], arguments].concat());
        super::until("the stranger listens", || super::is_listening(port));
        stranger
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
