"""Start several processes of one training run on this computer, as ``torchrun`` does on many."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from genba.errors import CheckpointError

#: Threads that wait by spinning make two processes on two cores many times slower than one; and after a worker dies,
#: torch 2.13 can only restart with a store of its own per attempt.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def launch(
    arguments: list[str], num_processes: int, *, command: Sequence[str] = (sys.executable, "-m", "genba.cli.main")
) -> None:
    """Run ``command ARGUMENTS`` (``genba ARGUMENTS``) in processes joined in one process group; wait for them.

    Raises:
        CheckpointError: they did not end well; what they printed says why, and the newest checkpoint is whole.
    """
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}"]
    run += ["--no-python", *command, *arguments]
    done = subprocess.run(run, env=os.environ | ENVIRONMENT, check=False)
    if done.returncode:
        raise CheckpointError(f"training ended with status {done.returncode}; the same command resumes it")
