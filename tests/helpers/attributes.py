"""Sets attributes as chattr(1) does: attributes.py i|a FILE..."""

import fcntl
import os
import struct
import sys

GET, SET = 0x80086601, 0x40086602
FLAGS = {"i": 0x10, "a": 0x20, "-": 0}

flag, *paths = sys.argv[1:]
for path in paths:
    file = os.open(path, os.O_RDONLY)
    (flags,) = struct.unpack("l", fcntl.ioctl(file, GET, struct.pack("l", 0)))
    flags = flags & ~0x30 | FLAGS[flag]
    fcntl.ioctl(file, SET, struct.pack("l", flags))
    os.close(file)
