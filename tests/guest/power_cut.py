"""A power cut during a session: `before` ends with a hard reset, `after` finds a clean host."""

import subprocess
import sys
import time

from main import CGRUN, assert_nothing_left, processes, sessions, until


def before():
    script = "setsid -f sleep 4321; exec sleep 4321"
    subprocess.Popen([CGRUN, "sh", "-c", script])
    until(lambda: len(processes("sleep 4321")) >= 2 and sessions(), "the session runs")
    # This test is not about the disk, so files written before must exist afterwards.
    subprocess.run(["sync"], check=True)
    with open("/proc/sysrq-trigger", "w") as trigger:
        trigger.write("b")
    time.sleep(60)
    sys.exit("the machine was not reset")


def after():
    assert_nothing_left()
    subprocess.run([CGRUN, "true"], check=True)
    print("clean after a power cut")


{"before": before, "after": after}[sys.argv[1]]()
