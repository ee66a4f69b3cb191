"""The processes that the session allows to outlive the command (cgrun's `allow`). A test may leave them too."""

import json
import os
import re

# Every session allows it. Its command line is that of the podman that was forked.
PAUSE = "podman pause"


def patterns(variable="CGRUN_ALLOWED"):
    try:
        texts = json.loads(os.environ.get(variable, "[]"))
    except ValueError:
        return []
    # A newer cgrun may say something else.
    return [it for it in texts if isinstance(it, str)] if isinstance(texts, list) else []


def allows(pattern, process):
    """A program's name or, with a wildcard or a space in it, the whole command line."""
    if pattern == PAUSE or not re.search(r"[*? ]", pattern):
        return pattern in process.names()
    regex = "".join({"*": ".*", "?": "."}.get(it) or re.escape(it) for it in pattern)
    return re.fullmatch(regex, process.command(), re.DOTALL) is not None
