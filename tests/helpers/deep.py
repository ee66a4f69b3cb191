"""Makes directories LEVELS deep in TMPDIR, each with a file. The path of the last one is longer than any call takes."""

import os
import sys

os.chdir(os.environ["TMPDIR"])
for _ in range(int(sys.argv[1])):
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY))
    os.mkdir("a-directory-with-a-name")
    os.chdir("a-directory-with-a-name")
