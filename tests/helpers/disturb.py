"""Renames, creates and replaces what is in a directory, for a while or until that is gone: disturb.py DIRECTORY OUTSIDE."""

import contextlib
import itertools
import os
import sys

top, outside = sys.argv[1:]
open("disturbing", "w").close()
for number in itertools.count():
    with contextlib.suppress(OSError):
        os.mkdir(f"{top}/{number % 50}/new-{number}")
    with contextlib.suppress(OSError):
        os.rename(f"{top}/{number % 97}", f"{top}/moved-{number}")
    with contextlib.suppress(OSError):
        os.symlink(outside, f"{top}/{number % 97}")
    if not os.path.lexists(top) or number > 5_000:
        break
