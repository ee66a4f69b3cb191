"""Which leaks the session's baseline lists (cgrun-leaks.toml). cgrun itself tells, so that both agree."""

import json
import os
import subprocess

from .leak_log import entry_of

# In seconds.
PATIENCE = 10


class KnownLeaks:
    def __init__(self, variable="CGRUN_KNOWN_LEAKS"):
        self.environment = {variable: os.environ.get(variable, "")}
        try:
            self.program = json.loads(self.environment[variable])["cgrun"]
        except (ValueError, TypeError, KeyError):
            self.program = None

    def among(self, described, run=subprocess.run, pipe=subprocess.PIPE, null=subprocess.DEVNULL):
        """Those of the processes that are known. None is if that cannot be found out."""
        if not self.program or not described:
            return set()
        command = [self.program, "ps", "--known"]
        line = entry_of(list(described.values()))
        try:
            said = run(command, input=line, stdout=pipe, stderr=null, env=self.environment, timeout=PATIENCE).stdout
            known = iter(json.loads(said))
            return {it for it in described if next(known, False)}
        except (OSError, ValueError, TypeError, subprocess.SubprocessError):
            return set()
