"""many_reports.py REPORT DIRECTORY COUNT NIGHT: writes the reports of COUNT sessions of a night, made from a real REPORT.

Twelve hosts run shards of a suite with 40 leaking tests, each session another part of them. From the second night on, four
tests are repaired and three others leak."""

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


def reports(template, count, night):
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
        yield f"shard-{number + 1}.json", report


def main(report, directory, count, night):
    template = json.loads(Path(report).read_text())
    for name, text in reports(template, int(count), int(night)):
        (Path(directory) / name).write_text(json.dumps(text, indent=2))


main(*sys.argv[1:])
