"""Exits while its child is in the middle of exec, which takes about 10 ms with so many arguments."""

import os
import sys

child = os.fork()
if child == 0:
    os.execvp("sleep", ["sleep", "900"] + ["0"] * 300_000)
name = f"/proc/{child}/comm"
while open(name).read() != "sleep\n":
    if os.waitpid(child, os.WNOHANG)[0]:
        sys.exit("it was not executed")
os._exit(0)
