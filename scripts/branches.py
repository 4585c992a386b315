"""Run the tests of the trust layer, and count which of its branches they take, in every process that they start.

    python scripts/branches.py --out docs/measurements/branches.json

Children count too: what a test runs as a program, the supervisor of a sandbox, and the command within it up to the moment that
it is executed. For that each Python that is started loads ``coverage`` first; what it counts lies in ``/dev/shm``, which a
confined command may write. Nothing is installed for it and nothing stays. Prints a table of files with what was not
taken, and ends with status 1 where something was not. It is no part of ``make test``; it takes a minute on two cores.

Not here: whether the tests would notice another branch (``mutants.py``), and the page that shows both (``deciding.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import coverage

#: The last two are left out: one trains for minutes, and one looks at an environment that measuring changes.
TESTS = (
    "tests/trust",
    "tests/data/test_governed.py",
    "tests/runtime/test_clearance.py",
    "tests/cli/test_audit.py",
    "tests/cli/test_trust_revoke.py",
    "tests/cli/test_trust_withdraw.py",
    "tests/cli/test_passport_way.py",
    "tests/data/test_withdraw.py",
    "tests/report/evidence",
    "--ignore=tests/trust/test_two_sites.py",
    "--deselect=tests/trust/sandbox/test_programs.py::test_what_drives_a_bundle_reports_to_nobody",
)

#: ``_exit`` and ``execv``: a process that ends without Python's own end, or becomes another program, saves what it counted.
SETTINGS = """\
[run]
branch = true
parallel = true
source_pkgs =
    genba.trust
    genba.runtime.clearance
data_file = {folder}/counted
patch =
    _exit
    execv
disable_warnings = no-data-collected, module-not-imported, module-not-measured
[report]
exclude_also =
    if TYPE_CHECKING:
    ^\\s*\\.\\.\\.$
"""

#: What every Python does first, one without ``coverage`` too. A limit on the size of files, by which a test stands for a full disk,
#: does not hold while counts are saved. An isolated Python (-I), such as the supervisor, reads no ``sitecustomize``: whoever
#: starts it tells it.
BEGINNING = """\
import subprocess
_count = '''
try:
    import coverage, resource
    def save(self, most=resource.RLIMIT_FSIZE, inner=coverage.Coverage.save):
        before = resource.getrlimit(most)
        resource.setrlimit(most, before[1:] * 2)
        inner(self)
        resource.setrlimit(most, before)
    coverage.Coverage.save = save
    coverage.process_startup()
except ImportError:
    pass
'''
exec(_count)
_start = subprocess.Popen.__init__
def _start_counting(self, args, *rest, **named):
    if isinstance(args, (list, tuple)) and list(args[1:3]) == ["-I", "-c"]:
        args = [*args[:3], f"exec({_count!r}); {args[3]}", *args[4:]]
    _start(self, args, *rest, **named)
subprocess.Popen.__init__ = _start_counting
"""


def main() -> int:
    """Run the tests, and print and store what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", default=TESTS, help=f"what to run; {' '.join(TESTS)} by default")
    parser.add_argument("--out", type=Path, help="write the table there as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="genba-branches-") as held:
        folder = Path(held)
        # A command that runs as another user counts too.
        folder.chmod(0o1777)
        settings = folder / "settings"
        settings.write_text(SETTINGS.format(folder=folder), encoding="utf-8")
        (folder / "sitecustomize.py").write_text(BEGINNING, encoding="utf-8")
        environment = {
            **os.environ,
            "COVERAGE_PROCESS_START": str(settings),
            "PYTHONPATH": os.pathsep.join(filter(None, [held, os.environ.get("PYTHONPATH")])),
        }
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", "2", *arguments.tests], env=environment
        ).returncode
        counted = coverage.Coverage(config_file=str(settings))
        counted.combine()
        counted.json_report(outfile=str(folder / "report.json"))
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    rows = {_name(path): _row(found) for path, found in sorted(report["files"].items())}
    for name, row in rows.items():
        print(f"{name:32} {_of(row, 'statements'):>9} {_of(row, 'branches'):>9}  {_left(row)}".rstrip())
    if status:
        print("tests failed, so nothing is stored")
        return status
    if arguments.out is not None:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        measured = {"command": "python scripts/branches.py", "tests": [*arguments.tests], "commit": commit}
        measured |= {"coverage": coverage.__version__, "python": sys.version.split()[0], "files": rows}
        arguments.out.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    return 1 if any(row["lines_left"] or row["branches_left"] for row in rows.values()) else 0


def _name(path: str) -> str:
    return path.partition("src/genba/")[2].removeprefix("trust/")


def _row(found: dict[str, object]) -> dict[str, object]:
    summary = found["summary"]
    assert isinstance(summary, dict)
    return {
        "statements": summary["num_statements"],
        "statements_taken": summary["covered_lines"],
        "branches": summary["num_branches"],
        "branches_taken": summary["covered_branches"],
        "lines_left": found["missing_lines"],
        "branches_left": found["missing_branches"],
    }


def _of(row: dict[str, object], what: str) -> str:
    return f"{row[f'{what}_taken']}/{row[what]}"


def _left(row: dict[str, object]) -> str:
    lines, branches = row["lines_left"], row["branches_left"]
    assert isinstance(lines, list) and isinstance(branches, list)
    jumps = [f"{start}->{end if end > 0 else 'end'}" for start, end in branches if start not in lines]
    return " ".join([*(str(line) for line in lines), *jumps])


if __name__ == "__main__":
    sys.exit(main())
