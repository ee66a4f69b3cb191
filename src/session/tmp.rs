//! The session's temporary directory, from before its first process until after its last.

use anyhow::Result;

use super::running_session::Session;
use crate::containment;
use crate::runtime::exit_code::Exit;
use crate::scratch::{Ended, HURRY, PATIENCE, Scratch};
use crate::teardown::Verdict;
use crate::text::plain;

impl Session<'_> {
    /// Makes it, if the plan has one.
    pub(super) fn make_tmp(&mut self) -> Result<()> {
        let Some(keep) = self.plan.tmp else { return Ok(()) };
        let containment = &self.context.containment;
        // Programs take an empty one for none.
        let parent = std::env::var_os("TMPDIR").filter(|path| !path.is_empty());
        let parent = self.plan.cwd.join(parent.unwrap_or_else(|| "/tmp".into()));
        let scratch = Scratch::create(&parent, &containment.id, keep, self.plan.identity.as_ref())?;
        self.env = self.env.with_all(scratch.variables(|name| self.env.get(name).is_some()));
        let noted = containment.path().map(|cgroup| containment::write_scratch(cgroup, &scratch.note()));
        self.record.scratch = Some(scratch);
        if let Some(Err(error)) = noted {
            // Root without CAP_SYS_ADMIN.
            self.report.say(&format!(
                "cgrun sweep will not find the session's temporary directory, which cannot be noted on its cgroup: {}",
                plain(&error)
            ));
        }
        Ok(())
    }

    /// Removes it, unless it is to be kept. Who has cancelled the session does not wait long.
    pub(super) fn end_tmp(&mut self, verdict: &Verdict, exit: Exit) -> Option<Ended> {
        let limit = if matches!(exit, Exit::Signal(_)) { HURRY } else { PATIENCE };
        let ended = self.record.end_scratch(verdict, exit != Exit::Code(0), limit);
        ended.iter().for_each(|it| self.report.tmp(it));
        ended
    }
}
