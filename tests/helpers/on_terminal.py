#!/usr/bin/python3
"""Runs a shell command on a terminal of 33 lines with 101 columns, and talks to it.

Usage: on_terminal.py COMMAND [EXPECTED TYPED]...

Types each text once the one before it has appeared, writes all that the terminal has shown to stdout, and exits like
the command.
"""

import fcntl
import os
import pty
import struct
import sys
import termios

command, *dialogue = sys.argv[1:]
pid, master = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    os.execvp("sh", ["sh", "-c", f"exec {command}"])
shown, seen = b"", 0
steps = iter(zip(dialogue[::2], dialogue[1::2], strict=True))
step = next(steps, None)
while True:
    try:
        chunk = os.read(master, 65536)
    except OSError:  # The other end is closed.
        break
    if not chunk:
        break
    shown += chunk
    while step and (at := shown.find(step[0].encode(), seen)) >= 0:
        seen = at + len(step[0])
        os.write(master, step[1].encode())
        step = next(steps, None)
sys.stdout.buffer.write(shown.replace(b"\r\n", b"\n"))
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
