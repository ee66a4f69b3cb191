"""many_reports.py REPORT DIRECTORY COUNT NIGHT [full]: writes the reports of COUNT sessions of a night, made from a real REPORT.

Twelve hosts run shards of a suite with 40 leaking tests, each session another part of them. From the second night on, four
tests are repaired and three others leak. With `full`, sessions also have what is not a process, leaked containers, and what
hung sessions waited for."""

import copy
import json
import random
import sys
from pathlib import Path

NIGHT = 86_400
PROGRAMS = ["python -m http.server *", "python mail.py", "node server.js", "redis-server *", "npm run dev", "sleep 900"]
LETTERS = "bcdfghjkmnpqrstvwxz24679"


def leaking_tests(night):
    first = 4 if night > 1 else 0
    last = 43 if night > 1 else 40
    return [(f"tests/test_{n % 8}.py::test_that_starts_{n}", PROGRAMS[n % len(PROGRAMS)]) for n in range(first, last)]


def leak(template, test, program):
    process = copy.deepcopy(template)
    process["program"] = program
    process["started_during"]["test"] = test
    return process


def leftover(kind, test, container=None):
    """What is left that is not a process."""
    return {
        "kind": kind,
        "name": f"/dev/shm/{kind}",
        "key": None,
        "size_bytes": 65536,
        "file_count": None,
        "uid": 0,
        "creator_pid": None,
        "process": "python -m pytest",
        "started_during": test,
        "fate": "removed",
        "remove_with": None,
        "container": container,
        "leaked": container is not None,
    }


def container(chance):
    return {
        "engine": chance.choice(["docker", "podman"]),
        "id": f"{chance.getrandbits(48):012x}",
        "name": "db",
        "image": chance.choice(["postgres:17", "redis:8", "minio/minio:latest"]),
        "ports": [5432],
        "running": True,
        "age_seconds": chance.randint(1, 600),
        "log": [f"line {n} of the log of a container" for n in range(20)],
    }


def fill(report, chance, tests):
    """Adds what most sessions do not have."""
    for test, _ in chance.sample(tests, 3):
        report["leftovers"].append(leftover(chance.choice(["file", "shared_memory", "semaphores"]), test))
        report["leftovers"].append(leftover("container", test, container(chance)))
    report["leaked_container_count"] = 3
    report["outcome"] |= {"cause": "timed_out", "reason": "timed out after 30m", "exit_code": 124}
    report["why"] = [f"pid {n} (python -m pytest) waits for pid {n + 1}, which holds a lock" for n in range(40)]
    frames = [f"function_{n} (tests/test_shop.py:{n})" for n in range(60)]
    stack = {"command_line": "python -m pytest", "tool": "py-spy", "problem": None}
    stack["sections"] = [{"title": "MainThread", "lines": frames}]
    report["stacks"] = [{"pid": n, **stack} for n in range(1, 6)]


def reports(template, count, night, is_full):
    others = random.Random(f"{night} full")
    chance = random.Random(night)
    tests = leaking_tests(night)
    process = template["leaks"][0]
    for number in range(count):
        report = copy.deepcopy(template)
        leaks = [] if chance.random() < 0.3 else chance.sample(tests, chance.randint(1, 8))
        report["leaks"] = [leak(process, *it) for it in leaks for _ in range(chance.randint(1, 3))]
        report["leaked_process_count"] = len(report["leaks"])
        report["session"]["id"] = "".join(chance.choice(LETTERS) for _ in range(8))
        report["session"]["host"] = f"ci-{number % 12 + 1}"
        report["session"]["command"] = ["pytest", "-q", f"--shard={number + 1}"]
        report["session"]["started_at_unix_seconds"] = 1_795_824_000 + night * NIGHT + chance.randint(0, 10_000)
        report["session"]["duration_seconds"] = round(chance.lognormvariate(5, 0.7), 3)
        report["outcome"]["exit_code"] = chance.choice([0] * 9 + [1])
        report["usage"] = {
            "session": {
                "name": "session",
                "cpu_user_usec": chance.randint(10**7, 10**9),
                "cpu_system_usec": chance.randint(10**6, 10**8),
                "memory_peak_bytes": chance.randint(2**27, 2**32),
                "processes_peak": chance.randint(10, 400),
            },
            "components": [],
            "limits_hit": [],
        }
        if is_full and others.random() < 0.5:
            fill(report, others, tests)
        yield f"shard-{number + 1}.json", report


def main(report, directory, count, night, full=""):
    template = json.loads(Path(report).read_text())
    for name, text in reports(template, int(count), int(night), full == "full"):
        (Path(directory) / name).write_text(json.dumps(text, indent=2))


main(*sys.argv[1:])
