//! A container of podman's that somebody else has started, and into which the session runs a command. It goes on when the
//! session ends, whereas the command ends with the session.

use super::engine::{EngineKind, IMAGE};
use super::nested::Nested;
use crate::harness::until;

/// Starts a container outside of any session, and one that goes on in a session.
fn start(nested: &Nested) -> std::process::Child {
    nested.shell(&nested.run("--detach"));
    let host = &nested.engine.host;
    host.until_marked(1);
    let command = nested.podman(&format!("exec --detach inner sleep {}", host.marker()));
    let supervisor = nested.start(&command);
    host.until_marked(2);
    assert_eq!(host.named("conmon").len(), 2);
    supervisor
}

fn assert_spared(nested: &Nested) {
    let host = &nested.engine.host;
    let listed = nested.engine.list();
    assert!(listed.starts_with("inner: Up"), "{listed}");
    assert_eq!((host.marked().len(), host.named("conmon").len()), (1, 1));
    nested.shell(&nested.podman("exec inner true"));
    nested.shell(&nested.podman("rm --force --time 0 inner"));
    until("the container has ended", || host.marked().is_empty() && host.named("conmon").is_empty());
    nested.shell(&nested.podman(&format!("run --rm --network none --name inner {IMAGE} true")));
}

fn is_spared_if_cgrun_is_killed(nested: &Nested) {
    let supervisor = start(nested);
    nested.kill_supervisor(supervisor);
    assert_spared(nested);
}

fn is_spared_by_a_sweep(nested: &Nested) {
    let supervisor = start(nested);
    nested.kill_both(supervisor);
    nested.sweep();
    assert_spared(nested);
}

macro_rules! each {
    ($kind:ident: $($test:ident: $scenario:ident($place:ident);)*) => {
        $(#[test] fn $test() { super::$scenario(&super::Nested::$place(super::EngineKind::$kind)) })*
    };
}

mod with_root {
    each! { Podman:
        cgrun_is_killed: is_spared_if_cgrun_is_killed(new);
        cgrun_is_killed_and_conmon_elsewhere: is_spared_if_cgrun_is_killed(with_conmon_elsewhere);
        both_are_killed: is_spared_by_a_sweep(new);
        both_are_killed_and_conmon_elsewhere: is_spared_by_a_sweep(with_conmon_elsewhere);
    }
}

mod without_root {
    each! { RootlessPodman:
        cgrun_is_killed: is_spared_if_cgrun_is_killed(new);
        both_are_killed: is_spared_by_a_sweep(new);
    }
}
