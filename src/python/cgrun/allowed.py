"""The processes that the session allows to outlive the command (cgrun's `allow`). A test may leave them too."""

import json
import os
import re


def patterns(variable="CGRUN_ALLOWED"):
    try:
        texts = json.loads(os.environ.get(variable, "[]"))
    except ValueError:
        return []
    # A newer cgrun may say something else.
    return [it for it in texts if isinstance(it, str)] if isinstance(texts, list) else []


def allows(pattern, process):
    """A program's name or, with a wildcard or a space in it, the whole command line."""
    if not re.search(r"[*? ]", pattern):
        return pattern in process.names()
    regex = "".join({"*": ".*", "?": "."}.get(it) or re.escape(it) for it in pattern)
    return re.fullmatch(regex, process.command(), re.DOTALL) is not None


def keeps_namespaces(process):
    """Whether podman without root has started it, for all its later containers. No test could end it."""
    names = process.names()
    return "podman pause" in names or "catatonit" in names and process.command().split()[1:] == ["-P"]
