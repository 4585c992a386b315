"""The arrows of ARCHITECTURE.md hold: packages import downwards only, and what must not import something does not."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "genba").rglob("*.py"))


def test_every_import_contract_is_kept(tmp_path):
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    arguments = ["--config", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path)]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_model_knows_nothing_of_how_it_is_spread_over_machines():
    # Import contracts see torch as one thing; this looks inside it.
    for path in SOURCES:
        if path.parent.name == "model":
            assert "torch.distributed" not in _imported(path), path


@pytest.mark.parametrize(
    "module", ["genba.spec.conformance", "genba.guard", "genba.data.vault", "genba.runtime.engine"]
)
def test_what_runs_on_the_machine_loads_without_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_nothing_that_unpickles_a_file_is_used():
    """What a file says is parsed, never run. (Pipes between our own processes are no files: ``genba.child``.)"""
    unpickling = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not unpickling & {name.partition(".")[0] for name in _imported(path)}, path
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load"):
                continue
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            assert owner != "torch", f"{path}: line {node.lineno}: torch.load unpickles"
            if owner in ("np", "numpy"):
                told = {k.arg: k.value for k in node.keywords}.get("allow_pickle")
                assert isinstance(told, ast.Constant) and told.value is False, f"{path}: line {node.lineno}: np.load"


def test_every_module_says_what_it_holds():
    for path in SOURCES:
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        assert len(first) >= 20, f"{path}: its docstring begins with {first!r}, expected a sentence"


def test_no_room_is_called_after_nothing():
    forbidden = {"utils", "util", "helpers", "helper", "misc", "common"}
    assert not [path for path in SOURCES if path.stem in forbidden or path.parent.name in forbidden]


def test_sibling_machines_have_the_same_files():
    shared = [
        "README.md",
        "embodiment.toml",
        "simulator.py",
        "expert.py",
        "baselines.py",
        "verifier.py",
        "picture.py",
        "tasks.py",
    ]
    machines = ROOT / "src" / "genba" / "machines"
    absent = [
        f"{m}/{name}" for m in ("arm", "vehicle", "factory") for name in shared if not (machines / m / name).is_file()
    ]
    assert not absent


def _imported(path: Path) -> str:
    """Every dotted name that a file imports, anywhere in it, one per line."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return "\n".join(names)
