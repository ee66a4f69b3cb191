"""Ends while its child is between two images: with so many arguments that takes the kernel some 20 ms."""

import os

child = os.fork()
if child == 0:
    os.execvp("sleep", ["sleep", "900"] + ["0"] * 500_000)
name = f"/proc/{child}/comm"
while open(name).read() != "sleep\n":
    pass
os._exit(0)
