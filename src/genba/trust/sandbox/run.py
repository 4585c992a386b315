"""The caller's side: run a command under a policy, or put this very command under one.

``run_sandboxed`` starts the supervisor's process and waits for it. Where the kernel cannot enforce the policy nothing is
run, unless development's override is given: then the command runs open, and the log and standard error say so.

Read next: ``confine``, what the started process does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from genba.errors import SandboxError
from genba.trust.sandbox.confine import STOPPED
from genba.trust.sandbox.log import EgressLog, Sync
from genba.trust.sandbox.policy import PathRule, Policy, is_beneath, runtime_paths
from genba.trust.sandbox.support import missing

#: Set to 1 by a developer whose kernel cannot enforce: commands then run open, and say so.
UNENFORCED_VARIABLE = "GENBA_SANDBOX_UNENFORCED"
#: Names the run inside it. Never believed: ``is_sandboxed`` tries.
RUN_VARIABLE = "GENBA_SANDBOX_RUN"

#: This package: what must not be writable inside.
_CODE = Path(__file__).resolve().parents[2]
_SUPERVISOR = (
    "import sys; sys.path.insert(0, sys.argv[1]); from genba.trust.sandbox.confine import main; "
    "sys.exit(main(int(sys.argv[2]), int(sys.argv[3])))"
)


def run_sandboxed(
    command: Sequence[str],
    policy: Policy,
    log: Path,
    *,
    sync: Sync = "line",
    keep: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    run: str = "",
    is_override: bool = False,
) -> int:
    """Run ``command`` so that it reaches what ``policy`` lists and nothing else, and log every attempt.

    Beside the policy's paths the command gets what programs need to run (``runtime_paths``) and a temporary folder of its
    own, which is deleted afterwards and which ``TMPDIR`` names. Every process that it started ends with it.

    Args:
        command: program and arguments; the program is looked up in ``PATH``.
        policy: what may be reached; names in it are resolved here, once.
        log: file that lines are appended to; must lie where the command cannot write.
        sync: when lines are put on disk.
        keep: descriptors beside 0, 1 and 2 that the command inherits.
        environment: of the command; this process's by default.
        folder: where the command starts; this process's by default.
        run: what the log's lines call this run; a new name by default.
        is_override: run open where nothing can be enforced. ``GENBA_SANDBOX_UNENFORCED=1`` says the same.

    Returns:
        The exit status of the command, 128 + N where signal N ended it, 125 where it was stopped because the log could
        not be written.

    Raises:
        SandboxError: it was not run: the kernel cannot enforce, the policy cannot hold, or the program cannot be executed.
    """
    if not command:
        raise SandboxError("no command; expected a program and its arguments")
    lacking = missing()
    is_override = is_override or os.environ.get(UNENFORCED_VARIABLE) == "1"
    if lacking and not is_override:
        found = "; ".join(f"{one.name}: {one.found}" for one in lacking)
        raise SandboxError(
            f"this computer cannot enforce the policy, so nothing was run ({found}). Run it elsewhere; for development "
            f"only, --unenforced or {UNENFORCED_VARIABLE}=1 runs it open and says so in the log"
        )
    with tempfile.TemporaryDirectory(prefix="genba-run-") as held:
        own = Path(held).resolve()
        temporary = own / "tmp"
        temporary.mkdir()
        policy = _with_runtime(policy.pin(), temporary)
        log = log.resolve()
        _check_out_of_reach(policy, log)
        run = run or uuid.uuid4().hex
        environment = {**(os.environ if environment is None else environment)}
        environment |= {"TMPDIR": str(temporary), RUN_VARIABLE: run}
        if lacking:
            reason = "; ".join(f"{one.name}: {one.found}" for one in lacking)
            return _run_open(list(command), policy, log, reason, run, environment, folder, keep)
        request = {
            "command": list(command),
            "keep": list(keep),
            "policy": dataclasses.asdict(policy),
            "log": str(log),
            "sync": sync,
            "run": run,
            "hosts": str(own / "hosts"),
            "environment": environment,
        }
        return _supervised(request, folder, keep)


def enter_sandbox(policy: Policy, log: Path, *, sync: Sync = "line", is_override: bool = False) -> None:
    """Put this very command under ``policy``: run it again inside, and exit with its status. Inside already, return.

    For a command line's beginning, before anything is opened: everything up to this call happens twice.
    """
    if is_sandboxed():
        return
    sys.exit(run_sandboxed([sys.executable, *sys.orig_argv[1:]], policy, log, sync=sync, is_override=is_override))


def is_sandboxed() -> bool:
    """Return whether this process really is under a supervisor: it tries something that only a supervisor refuses."""
    if RUN_VARIABLE not in os.environ:
        return False
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except PermissionError:
        return True
    return False


def _supervised(request: Mapping[str, object], folder: Path | None, keep: Sequence[int]) -> int:
    request_in, request_out = os.pipe()
    report_in, report_out = os.pipe()
    # -I: neither the folder that the command starts in nor its variables say which modules the supervisor is made of.
    program = [sys.executable, "-I", "-c", _SUPERVISOR, str(_CODE.parent), str(request_in), str(report_out)]
    process = subprocess.Popen(program, pass_fds=[request_in, report_out, *keep], cwd=folder)
    os.close(request_in)
    os.close(report_out)
    try:
        # A supervisor that ended at once reads nothing; its report and status say why.
        with contextlib.suppress(BrokenPipeError), os.fdopen(request_out, "w", encoding="utf-8") as file:
            json.dump(request, file)
        with os.fdopen(report_in, encoding="utf-8") as file:
            report = file.read()
        status = process.wait()
    except KeyboardInterrupt:
        # The terminal interrupted the command too; it ends in its own way.
        process.wait()
        raise
    if report:
        raise SandboxError(report)
    return status if status >= 0 else 128 - status


def _with_runtime(policy: Policy, temporary: Path) -> Policy:
    readable, writable = runtime_paths()
    own = PathRule(path=str(temporary), source="temporary folder of this run")
    return dataclasses.replace(
        policy, readable=(*policy.readable, *readable), writable=(*policy.writable, *writable, own)
    )


def _check_out_of_reach(policy: Policy, log: Path) -> None:
    """Refuse a policy under which the command could rewrite its log, or the code that confines it next time."""
    code = {os.path.realpath(path) for path in (_CODE, sys.prefix)}
    for rule in policy.writable:
        if is_beneath(str(log), rule.path):
            raise SandboxError(
                f"{log}: lies in {rule.path}, which the command may write ({rule.source}); expected a log out of its reach"
            )
        if found := next((one for one in code if is_beneath(one, rule.path) or is_beneath(rule.path, one)), None):
            raise SandboxError(
                f"{rule.path}: may be written ({rule.source}) but holds or lies in {found}, the code that confines the "
                "next command; expected a folder for data"
            )


def _run_open(
    command: list[str],
    policy: Policy,
    log: Path,
    reason: str,
    run: str,
    environment: Mapping[str, str],
    folder: Path | None,
    keep: Sequence[int],
) -> int:
    """Run a command with nothing enforced, and say so wherever somebody may look."""
    print(f"genba sandbox: NOTHING IS ENFORCED: {reason}. The command runs open.", file=sys.stderr)
    lines = EgressLog(log, run=run)
    lines.start(command, policy, is_enforced=False, warning=f"NOTHING IS ENFORCED: {reason}")
    try:
        status = subprocess.run(command, env=environment, cwd=folder, pass_fds=keep, check=False).returncode
    except OSError as error:
        lines.end(STOPPED, f"not run: {error}")
        raise SandboxError(f"{command[0]}: cannot be executed: {error.strerror}") from error
    status = status if status >= 0 else 128 - status
    lines.end(status, "NOTHING WAS ENFORCED")
    lines.close()
    return status
