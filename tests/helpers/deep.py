"""Makes directories LEVELS deep in TMPDIR, each with a file. The path of the last one is longer than any call takes."""

import os
import sys

NAME = "a-directory-with-a-name"

directory = os.open(os.environ["TMPDIR"], os.O_RDONLY)
for _ in range(int(sys.argv[1])):
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.mkdir(NAME, dir_fd=directory)
    inner = os.open(NAME, os.O_RDONLY, dir_fd=directory)
    os.close(directory)
    directory = inner
