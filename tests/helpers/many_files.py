"""Creates COUNT files in COUNT / 100 directories, fast."""

import os
import sys

PER_DIRECTORY = 100

count, top = int(sys.argv[1]), os.environ["TMPDIR"]
for number in range(count // PER_DIRECTORY):
    os.mkdir(f"{top}/{number}")
    directory = os.open(f"{top}/{number}", os.O_RDONLY)
    for name in range(PER_DIRECTORY):
        file = os.open(str(name), os.O_CREAT | os.O_WRONLY, dir_fd=directory)
        os.write(file, b"tea\n")
        os.close(file)
    os.close(directory)
