"""Adds to a wheel the licences of the crates that its program contains, and the list of these crates.

maturin makes such a list too, but with the paths of this machine, and with what is only needed to build and to test.

Arguments: the wheel, and the directory that dist_licences.py has written to.
"""

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

LICENCES = "THIRD-PARTY-LICENCES.txt"
FIELD = "License-File: "


def record_line(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def with_licence_file(metadata):
    """Each licence file needs a field of its own in the metadata."""
    lines = metadata.decode().splitlines(keepends=True)
    last = max(at for at, line in enumerate(lines) if line.startswith(FIELD))
    lines.insert(last + 1, f"{FIELD}{LICENCES}\n")
    return "".join(lines).encode()


def add_files(path, directory):
    with zipfile.ZipFile(path) as wheel:
        entries = [(it, wheel.read(it)) for it in wheel.infolist() if "/sboms/" not in it.filename]
    (record,) = [it for it, _ in entries if it.filename.endswith(".dist-info/RECORD")]
    info = record.filename.removesuffix("RECORD")
    (crates,) = directory.glob("cgrun-*.cdx.json")
    added = {f"{info}licenses/{LICENCES}": directory / LICENCES, f"{info}sboms/cgrun.cdx.json": crates}
    files = {it: data for it, data in entries if it is not record}
    for entry, data in files.items():
        if entry.filename == f"{info}METADATA":
            files[entry] = with_licence_file(data)
    for name, file in added.items():
        entry = zipfile.ZipInfo(name, record.date_time)
        entry.external_attr = record.external_attr
        files[entry] = file.read_bytes()
    lines = [record_line(entry.filename, data) for entry, data in files.items()]
    files[record] = "".join([*lines, f"{record.filename},,\n"]).encode()
    draft = path.with_suffix(".part")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        for entry, data in files.items():
            wheel.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
    draft.replace(path)


if __name__ == "__main__":
    add_files(Path(sys.argv[1]), Path(sys.argv[2]))
