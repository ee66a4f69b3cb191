"""Ends while its child is between two images: with so many arguments that takes the kernel some 10 ms."""

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
