"""Runs one command under a policy: ``python launch.py REQUEST`` with JSON, as whatever user and Python started it."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from genba.config import build
from genba.errors import GenbaError
from genba.trust.sandbox.policy import Policy
from genba.trust.sandbox.run import run_sandboxed

request = json.loads(sys.argv[1])
policy = build(request["policy"], Policy, where="request", path="policy")
try:
    sys.exit(run_sandboxed(request["command"], policy, Path(request["log"]), sync="end"))
except GenbaError as error:
    sys.exit(f"{type(error).__name__}: {error}")
