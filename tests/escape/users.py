"""Who tries to get out: a user, with a Python that they may execute."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genba.trust.sandbox.policy import Policy

HERE = Path(__file__).parent


@dataclass(frozen=True)
class User:
    """Somebody to run programs as, with a Python that they may execute."""

    id: int
    python: str

    def start(self, arguments: list[str], **options: Any) -> subprocess.Popen[str]:
        """Start a program as this user."""
        if os.geteuid() != self.id:
            options |= {"user": self.id, "group": self.id, "extra_groups": []}
        return subprocess.Popen(arguments, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def sandboxed(self, command: list[str], policy: Policy, log: Path, **options: Any) -> subprocess.Popen[str]:
        """Start a command under a policy as this user."""
        request = {"policy": dataclasses.asdict(policy), "command": command, "log": str(log)}
        return self.start([self.python, str(HERE / "launch.py"), json.dumps(request)], **options)
