//! `cgrun why` stays readable and short, whatever the processes are called and however many threads and files they have.

use std::time::{Duration, Instant};

use crate::why::{end, explained, id, script, session};

#[test]
fn why_makes_hostile_names_readable() {
    let text = "import os\n\
        name = b'pid 1 (x)\\n\\x1b[31mlook at pid 1\\xff' + b'a' * 4000\n\
        os.execv('/bin/sleep', [name, '924'])";
    let run = script("python3 rename.py & wait").file("rename.py", text).start();
    let said = explained(&run, &[r"(pid 1 (x)\n\u{1b}[31mlook at pid 1", "it sleeps for 15 min"], &[]);
    assert!(!said.contains('\x1b'), "{said:?}");
    assert!(said.lines().all(|line| line.chars().count() < 300), "{said}");
    end(run);
}

#[test]
fn why_of_a_process_with_many_threads_and_files_is_fast() {
    let text = "import os, threading, time\n\
        files = [open('/dev/null') for _ in range(300)]\n\
        for _ in range(300): threading.Thread(target=time.sleep, args=(900,)).start()\n\
        open('up', 'w').close()";
    let run = session(&["python3", "many.py"]).file("many.py", text).start();
    run.until_file("up");
    explained(&run, &["(python3 many.py): it sleeps for "], &[]);
    let begin = Instant::now();
    run.cgrun(&["why", &id(&run)]).assert_code(0);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    end(run);
}

/// Each lives for a few milliseconds.
#[test]
fn why_works_while_processes_die() {
    let run = script("sleep 925 & while :; do sh -c 'sleep 0.002 & true | true'; done").start();
    run.until_file("id");
    for _ in 0..20 {
        let why = run.cgrun(&["why", &id(&run)]);
        why.assert_code(0).assert_silent();
        assert!(!why.stdout.is_empty());
    }
    end(run);
}

/// It watches only a socket whose ends are both its own.
#[test]
fn why_takes_no_event_loop_at_rest_for_the_culprit() {
    let text = "import asyncio\n\
        async def main():\n\
        \x20   open('up', 'w').close()\n\
        \x20   await asyncio.Event().wait()\n\
        asyncio.run(main())";
    let run = script("python3 loop.py & sleep 926 & wait").file("loop.py", text).start();
    run.until_file("up");
    explained(&run, &["(sleep 926): it sleeps for 15 min"], &[]);
    end(run);
}

#[test]
fn why_names_a_script_next_to_its_interpreter_without_it() {
    let run = script("mkdir bin; ln -s /bin/sh bin/sh; mv tool bin; exec $PWD/bin/sh $PWD/bin/tool -q")
        .file("tool", "touch up; sleep 927");
    let run = run.start();
    run.until_file("up");
    let said = explained(&run, &["(sleep 927): it sleeps"], &[]);
    assert!(said.contains("(tool -q), "), "{said}");
    end(run);
}
