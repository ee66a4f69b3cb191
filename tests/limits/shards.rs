//! Limits of several sessions of one command.

use super::IN_SESSION;
use crate::harness::{Place, Session};

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn each_shard_has_the_limits_or_its_part_of_them() {
    let script = format!("{IN_SESSION}echo each $(cat pids.max memory.max)");
    let config = "[limits]\npids = 60\nmemory = '256MiB'\ndivided = true\n";
    for place in Place::SCOPES {
        for (config, options, each) in [
            ("", &["--pids", "60", "--memory", "256MiB"][..], "each 60 268435456"),
            (config, &[][..], "each 30 134217728"),
            (config, &["--divide-limits=false"][..], "each 60 268435456"),
        ] {
            let session = Session::at(place).options(["--shards", "2"]).options(options.iter().copied());
            let run = session.config(config).sh(&script).run();
            run.assert_code(0).assert_nothing_left();
            assert_eq!(run.stdout().matches(each).count(), 2, "{place:?}: {}", run.stdout());
        }
    }
}
