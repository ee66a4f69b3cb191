//! Every client works through the socket of the session as it does without (`--containers`).

use std::process::{Command, Output};

use super::engine::{Engine, EngineKind, IMAGE};
use super::host::{output, text};
use crate::harness::{cgrun_program, helpers};

/// A program, and the engine that it is led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Docker,
    /// Docker's command line, and podman's service.
    DockerOfPodman,
    /// With podman's own interface.
    PodmanRemote,
}

impl Client {
    pub(super) fn engine(self) -> Engine {
        match self {
            Self::Docker => Engine::start(EngineKind::Docker),
            _ => {
                let mut engine = Engine::start(EngineKind::Podman);
                // Without them its service does not know when a container has exited.
                engine.serve_with(&["--events-backend", "file"]);
                engine
            }
        }
    }

    /// The program, what removes a container at once, and the kind of an event.
    fn words(self) -> [&'static str; 3] {
        match self {
            Self::PodmanRemote => ["podman --remote", "podman --remote rm --force --time 0", "{{.Status}}"],
            _ => ["docker", "docker rm --force", "{{.Action}}"],
        }
    }

    /// A session that runs this script. `$D` is the program.
    pub(super) fn command(self, engine: &Engine, script: &str) -> Command {
        let mut command = Command::new(cgrun_program());
        let ([program, remove, action], terminal) = (self.words(), helpers().join("on_terminal.py"));
        let prologue = format!(
            "set -eu; D='{program}'; RUN='{program} run --network none'; RM='{remove}'; ACTION='{action}'; \
             IMAGE={IMAGE}; TERMINAL={}\n",
            terminal.display()
        );
        command.args(["--containers", "--timeout", "60s", "sh", "-c", &(prologue + script)]);
        command.current_dir(engine.host.path()).env("XDG_STATE_HOME", engine.host.path());
        match self {
            Self::Docker => command.env("DOCKER_HOST", "unix:///run/docker.sock"),
            Self::DockerOfPodman => command.env("DOCKER_HOST", "unix:///run/podman/podman.sock"),
            Self::PodmanRemote => command.env("CONTAINER_HOST", "unix:///run/podman/podman.sock"),
        };
        command.env_remove("NEXTEST").env("HOME", engine.host.path());
        command
    }

    /// Runs a script that removes what it has created, and returns what it has said.
    pub(super) fn says(self, script: &str) -> String {
        let engine = self.engine();
        let done = output(&mut self.command(&engine, script));
        assert_success(&done);
        text(&done.stdout)
    }
}

pub(super) fn assert_success(done: &Output) {
    let (said, complaints) = (text(&done.stdout), text(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{said}\n{complaints}");
}

fn input_through_a_pipe_ends_and_output_is_whole(client: Client) {
    let said = client.says(
        "code=0; printf 'one\\ntwo\\n' | $RUN -i --name box $IMAGE sh -c 'cat; echo end; echo error >&2; exit 7' 2>errors || code=$?
         echo \"code $code\"; cat errors; $RM box >/dev/null
         head -c 5000000 /dev/urandom >sent
         $RUN --rm -i $IMAGE cat <sent >received; cmp sent received
         [ -z \"$($D ps --all --quiet)\" ]",
    );
    assert_eq!(said, "one\ntwo\nend\ncode 7\nerror\n");
}

fn a_program_in_a_container_has_the_terminal(client: Client) {
    let said = client.says(
        "code=0; cat >talk <<'END'
echo typed $((6 * 7)); until [ \"$(busybox stty size)\" = '33 101' ]; do sleep 0.05; done; echo sized $?; exit 4
END
         $TERMINAL \"$RUN --name box -it $IMAGE sh\" '# ' \"$(cat talk)
\" || code=$?
         echo \"code $code\"; $RM box >/dev/null",
    );
    assert!(said.contains("typed 42") && said.contains("sized 0") && said.ends_with("code 4\n"), "{said}");
}

fn commands_are_executed_in_a_container(client: Client) {
    let said = client.says(
        "$RUN --detach --name box $IMAGE tail -f /dev/null >/dev/null
         code=0; printf 'a\\nb\\n' | $D exec -i box sh -c 'cat; echo end; exit 6' || code=$?
         echo \"code $code\"
         head -c 5000000 /dev/urandom >sent
         $D exec -i box cat <sent >received; cmp sent received
         code=0; $TERMINAL \"$D exec -it box sh\" '# ' \"echo typed \\$((6 * 7)); exit 9
\" || code=$?
         echo \"code $code\"; $RM box >/dev/null",
    );
    assert!(said.starts_with("a\nb\nend\ncode 6\n"), "{said}");
    assert!(said.contains("typed 42") && said.ends_with("code 9\n"), "{said}");
}

fn a_container_is_attached_to_and_waited_for(client: Client) {
    let said = client.says(
        "$D create --network none -i --name box $IMAGE sh -c 'while read line; do echo got $line; done; exit 3' >/dev/null
         code=0; printf 'a\\nb\\n' | $D start --attach --interactive box || code=$?
         echo \"code $code\"; $D wait box; $D rm box >/dev/null
         $RUN --detach --name ticks $IMAGE sh -c 'while :; do echo tick; sleep 0.1; done' >/dev/null
         $D attach --no-stdin --sig-proxy=false ticks | head -n 1
         ($D wait ticks >waited) & $D kill ticks >/dev/null; wait; cat waited
         $D rm ticks >/dev/null",
    );
    assert_eq!(said, "got a\ngot b\ncode 3\n3\ntick\n137\n");
}

fn files_are_copied_both_ways(client: Client) {
    let said = client.says(
        "$RUN --detach --name box $IMAGE tail -f /dev/null >/dev/null
         mkdir tree; head -c 3000000 /dev/urandom >tree/sent; echo small >tree/other
         $D cp tree box:/tmp/; $D cp box:/tmp/tree/sent received; cmp tree/sent received
         tar c tree/other | $D cp - box:/tmp; $D cp box:/tmp/tree - | tar x --to-stdout tree/other
         $RM box >/dev/null",
    );
    assert_eq!(said, "small\n");
}

/// podman 4.3 can lose lines that are written fast, and those that are written last.
fn logs_are_followed_to_their_end(client: Client) {
    let lines = if client == Client::Docker { 20_000 } else { 500 };
    let said = client.says(&format!(
        "$RUN --detach --name box $IMAGE sh -c 'wait_for() {{ until [ -e $1 ]; do sleep 0.05; done; }}
            echo first; wait_for /tmp/go; busybox seq {lines}; echo last; wait_for /tmp/end' >/dev/null
         mkfifo lines; $D logs --follow box >lines & exec 3<lines; read -r line <&3; echo $line
         $D exec box touch /tmp/go; sed -u '/^last$/q' <&3 >rest; wc -l <rest; tail -n 1 rest
         $D exec box touch /tmp/end; cat <&3; wait; $RM box >/dev/null",
    ));
    assert_eq!(said, format!("first\n{}\nlast\n", lines + 1));
}

fn events_arrive_while_they_happen(client: Client) {
    let said = client.says(
        "mkfifo lines; $D events --since $(date +%s) --format \"$ACTION\" --filter type=container >lines & events=$!
         exec 3<lines; $D create --name box $IMAGE true >/dev/null; read -r line <&3; echo $line
         $D rm box >/dev/null; until [ $line = destroy ] || [ $line = remove ]; do read -r line <&3; done
         kill $events; wait $events || :",
    );
    assert_eq!(said, "create\n");
}

macro_rules! with_every_client {
    ($($scenario:ident),* $(,)?) => {
        mod docker { $(#[test] fn $scenario() { super::$scenario(super::Client::Docker) })* }
        mod docker_of_podman { $(#[test] fn $scenario() { super::$scenario(super::Client::DockerOfPodman) })* }
        mod podman_remote { $(#[test] fn $scenario() { super::$scenario(super::Client::PodmanRemote) })* }
    };
}

with_every_client! {
    input_through_a_pipe_ends_and_output_is_whole,
    a_program_in_a_container_has_the_terminal,
    commands_are_executed_in_a_container,
    a_container_is_attached_to_and_waited_for,
    files_are_copied_both_ways,
    logs_are_followed_to_their_end,
    events_arrive_while_they_happen,
}
