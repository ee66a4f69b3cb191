//! The session's temporary directory, from before its first process until after its last.

use anyhow::Result;

use super::running_session::Session;
use crate::containment;
use crate::scratch::{Ended, Scratch};
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

    /// Removes it, unless it is to be kept.
    pub(super) fn end_tmp(&mut self, verdict: &Verdict, has_failed: bool) -> Option<Ended> {
        let ended = self.record.end_scratch(verdict, has_failed);
        ended.iter().for_each(|it| self.report.tmp(it));
        ended
    }
}
