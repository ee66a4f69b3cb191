//! `cgrun why` says which children have exited without their parent knowing, and which one is waited for.

use crate::containments::Host;
use crate::why::{end, explained, script, session};

everywhere!(why_finds_the_one_child_that_is_waited_for);

/// The number that wait(2) was asked for is that of the PID namespace of the process.
fn why_finds_the_one_child_that_is_waited_for(host: Host) {
    let text = "import subprocess\n\
        started = [subprocess.Popen(['sleep', seconds]) for seconds in ('911', '912', '913')]\n\
        started[1].wait()";
    let run = host.start(session(&["python3", "-c", text]));
    explained(&run, &["(sleep 912): it sleeps for 15 min"], &["waits for its child "]);
    end(run);
}

#[test]
fn why_says_that_a_child_was_killed_and_its_parent_does_not_know() {
    let text = "import os, subprocess\n\
        killed = subprocess.Popen(['sh', '-c', 'kill -9 $$'])\n\
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\n\
        subprocess.run(['sleep', '914'])";
    let run = session(&["python3", "-c", text]).start();
    explained(
        &run,
        &["(sleep 914): it sleeps for 15 min"],
        &["its child ", " (sh) was killed by SIGKILL, and it has not waited for it"],
    );
    end(run);
}

/// The worker was to put something into the queue.
#[test]
fn why_says_that_a_worker_was_killed_whose_result_is_awaited() {
    let program = "import multiprocessing, os\n\
        def work(queue): os.kill(os.getpid(), 9)\n\
        if __name__ == '__main__':\n    \
            queue = multiprocessing.Queue()\n    \
            multiprocessing.Process(target=work, args=(queue,)).start()\n    \
            queue.get()";
    let run = session(&["python3", "queue_of.py"]).file("queue_of.py", program).start();
    let killed = "(python3) was killed by SIGKILL, and it has not waited for it";
    explained(
        &run,
        &["(python3 queue_of.py): it reads a pipe that only it itself can write to", killed],
        &[],
    );
    end(run);
}

#[test]
fn why_tells_the_exit_code_of_a_child_that_nobody_waits_for() {
    let text = "sh -c 'exit 3' & exec sleep 915";
    let run = script(text).start();
    explained(&run, &["(sleep 915): it sleeps", "(sh) has exited with code 3"], &[]);
    end(run);
}

/// The first thread waits for another one, and that one for a child.
#[test]
fn why_follows_the_thread_that_another_thread_waits_for_at_a_pipe() {
    let text = "import os, subprocess, threading\n\
        reads, writes = os.pipe()\n\
        def work():\n    \
            subprocess.run(['sleep', '916'])\n    \
            os.write(writes, b'.')\n\
        threading.Thread(target=work).start()\n\
        os.read(reads, 1)";
    let run = session(&["python3", "-c", text]).start();
    explained(&run, &["(sleep 916): it sleeps for 15 min"], &["waits for its child "]);
    end(run);
}

#[test]
fn why_names_a_busy_process_rather_than_one_whose_threads_wait_for_each_other() {
    let text = "import os, threading\n\
        reads, writes = os.pipe()\n\
        threading.Thread(target=threading.Event().wait).start()\n\
        os.read(reads, 1)";
    let run = script("python3 waits.py & yes >/dev/null & wait").file("waits.py", text).start();
    explained(&run, &["(yes): it is busy"], &["reads a pipe that only its own threads can write to"]);
    end(run);
}
