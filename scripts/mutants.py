"""Change one thing at a time in deciding code, and see whether its tests notice.

    python scripts/mutants.py genba.trust.merkle genba.trust.ledger --out docs/measurements/mutants.json
    python scripts/mutants.py genba.spec.units --tests tests/spec/test_units.py

Which tests hold a module says ``deciding.toml``, unless they are given. Each mutant is one changed comparison, condition,
number or returned truth value. It is run in a forked process against the tests that come by its line, and where these do not
notice, against all of them. Survivors are printed with their line and the exit status is 1: either a test is missing, or the change
makes no difference, which is then explained in ``deciding.toml``. Strings, asserts, annotations and defaults are left alone.

``--out`` puts what was found into a file beside what it says of other modules; ``--left`` then tries only what that file says
was not noticed, for when nothing but tests was added. It is no part of ``make test``: it takes about half a second per mutant.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coverage
import hypothesis
import pytest
from deciding import FACTS, explained_changes, tests_of

#: how much longer than without a change tests may run, and what they may take at least, in seconds of CPU; a mutant that needs
#: more counts as noticed
SLOWER, LEAST_S = 3, 4
#: memory that they may take, in bytes: a loop without end fills a list
MOST_BYTES = 4 << 30

COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
}


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what one node may be changed into, with words for it."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for other in COMPARISONS.get(type(operator), []):
                out = copy.deepcopy(node)
                out.ops[index] = other()
                yield f"{type(operator).__name__} -> {other.__name__}", out
    elif isinstance(node, ast.BoolOp):
        out = copy.deepcopy(node)
        out.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        yield f"{type(node.op).__name__} -> {type(out.op).__name__}", out
        for index in range(len(node.values)):
            rest = node.values[:index] + node.values[index + 1 :]
            yield f"operand {index} left out", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not left out", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield f"{node.value} -> {node.value + 1}", ast.Constant(node.value + 1)
    elif isinstance(node, ast.IfExp):
        yield "branches exchanged", ast.IfExp(node.test, node.orelse, node.body)


class _Points(ast.NodeVisitor):
    """Finds every node that may be changed; what only documents or declares is passed over."""

    def __init__(self) -> None:
        self.found: list[ast.AST] = []

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr):
            return
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self.visit(node.value)
            return
        if isinstance(node, ast.ClassDef):
            # Not its decorators, which say how it is printed and compared.
            for inner in node.body:
                self.visit(inner)
            return
        if isinstance(node, ast.FunctionDef):
            for inner in node.body:
                self.visit(inner)
            return
        self.found.append(node)
        self.generic_visit(node)


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._old:
            return ast.copy_location(self._new, node)
        return super().visit(node)


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module's changed code to whoever imports it."""

    def __init__(self, module: str, tree: ast.Module, path: Path) -> None:
        self._module, self._tree, self._path = module, tree, path

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != self._module:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: object) -> None:
        exec(compile(self._tree, str(self._path), "exec"), vars(module))


@dataclass(frozen=True, kw_only=True, slots=True)
class Unchanged:
    """How the tests run without a change."""

    tests_by_line: dict[int, list[str]]
    """Which tests come by a line, in the order in which they ran."""
    cpu_s: int
    """What all of them took, rounded up."""


def main() -> int:
    """Try every mutant and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="+", help="dotted names of the modules to change")
    parser.add_argument("--tests", nargs="+", help="test files that must notice; those of deciding.toml by default")
    parser.add_argument("--out", type=Path, help="put what was found into this JSON file")
    parser.add_argument("--left", action="store_true", help="try only what that file says was not noticed")
    arguments = parser.parse_args()
    # As `python -m pytest` does: processes that tests start find what the tests define.
    sys.path.insert(0, os.getcwd())
    out: Path | None = arguments.out
    if arguments.left and (out is None or not out.exists()):
        parser.error("--left needs an --out of before")
    num_left = 0
    for module in arguments.modules:
        known = json.loads(out.read_text(encoding="utf-8")) if out is not None and out.exists() else {}
        only = {(row["code"], row["change"]) for row in known[module]["unnoticed"]} if arguments.left else None
        found = _try_all(module, arguments.tests or tests_of(module), only)
        num_left += sum((row["code"], row["change"]) not in explained_changes(module) for row in found["unnoticed"])
        if out is not None:
            text = json.dumps(dict(sorted({**known, module: found}.items())), indent=1, ensure_ascii=False)
            out.write_text(text + "\n", encoding="utf-8")
    return 1 if num_left else 0


def _try_all(module: str, tests: Sequence[str], only: set[tuple[str, str]] | None) -> dict[str, Any]:
    """Try the mutants of one module; return how many there are, how many were noticed, and which were not.

    Args:
        module: its dotted name.
        tests: the files that must notice.
        only: the changes to try, by line of code and change; None for all. The others count as noticed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        sys.exit(f"no module {module}")
    path = Path(spec.origin)
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    unchanged = _run_unchanged(module, path, tests)
    reasons = explained_changes(module)
    points = _Points()
    points.visit(tree)
    unnoticed, total = [], 0
    for node in points.found:
        line = getattr(node, "lineno", 0)
        code = source.splitlines()[line - 1].strip()
        for words, new in changes(node):
            total += 1
            if only is not None and (code, words) not in only:
                continue
            # The tree is changed in a copy that shares nothing, found again by its place in the walk.
            index = list(ast.walk(tree)).index(node)
            mutant = copy.deepcopy(tree)
            old = list(ast.walk(mutant))[index]
            mutant = ast.fix_missing_locations(_Replace(old, new).visit(mutant))
            if _is_noticed(module, mutant, path, tests, unchanged, range(line, getattr(node, "end_lineno", line) + 1)):
                continue
            unnoticed.append({"line": line, "code": code, "change": words})
            kind = "explained" if (code, words) in reasons else "survived"
            print(f"{kind:9} {path.name}:{line}: {words}: {code}", flush=True)
    for code, words in reasons.keys() - {(one["code"], one["change"]) for one in unnoticed}:
        print(f"{FACTS.name} explains what does not survive: {module}: {words}: {code}", flush=True)
    print(f"{module}: {total - len(unnoticed)} of {total} mutants noticed", flush=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    noticed = total - len(unnoticed)
    return {"tests": [*tests], "commit": commit, "mutants": total, "noticed": noticed, "unnoticed": unnoticed}


def _is_noticed(
    module: str, tree: ast.Module, path: Path, tests: Sequence[str], unchanged: Unchanged, lines: range
) -> bool:
    near = list(dict.fromkeys(test for line in lines for test in unchanged.tests_by_line.get(line, ())))
    finder = _Mutated(module, tree, path)
    return (bool(near) and _fails(finder, near, unchanged)) or _fails(finder, tests, unchanged)


def _fails(finder: _Mutated, tests: Sequence[str], unchanged: Unchanged) -> bool:
    """Return whether the tests fail, or do not end, with this code."""

    def work() -> int:
        most_s = SLOWER * unchanged.cpu_s + LEAST_S
        resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s))
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
        sys.meta_path.insert(0, finder)
        # The first example that fails will do; the smallest is not looked for.
        hypothesis.settings.register_profile("first", phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate])
        hypothesis.settings.load_profile("first")
        return int(_pytest(["-x", *tests]))

    return _forked(work) != 0


def _run_unchanged(module: str, path: Path, tests: Sequence[str]) -> Unchanged:
    """Run the tests as they are, see which come by which line, and load for every mutant what they load but for this package."""
    with tempfile.TemporaryDirectory() as held:
        told = Path(held) / "told.json"

        def work() -> int:
            counted = coverage.Coverage(data_file=str(Path(held) / "counted"), include=[str(path)])
            counted.start()
            status = _pytest([*tests], _Contexts(counted))
            counted.stop()
            lines = counted.get_data().contexts_by_lineno(str(path))
            modules = [name for name in sys.modules if name.partition(".")[0] != "genba" and "test" not in name]
            told.write_text(json.dumps({"lines": lines, "modules": modules, "cpu_s": time.process_time()}))
            return int(status)

        if _forked(work):
            sys.exit(f"{module}: the tests fail without any change")
        found = json.loads(told.read_text())
    for name in found["modules"]:
        # Some are made by others and cannot be asked for by name.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    lines = {int(line): [one for one in contexts if one] for line, contexts in found["lines"].items()}
    return Unchanged(tests_by_line=lines, cpu_s=int(found["cpu_s"]) + 1)


class _Contexts:
    """Tells ``coverage`` which test runs."""

    def __init__(self, counted: coverage.Coverage) -> None:
        self._counted = counted

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._counted.switch_context(item.nodeid)
        yield
        self._counted.switch_context("")


def _pytest(arguments: Sequence[str], *plugins: object) -> int:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    # What is loaded already cannot be rewritten to explain its asserts, and nobody reads the explanation.
    return int(pytest.main(["-q", "--no-header", "--tb=no", "-rN", "--assert=plain", *arguments], plugins=[*plugins]))


def _forked(work: Callable[[], int]) -> int:
    """Return what ``work`` returns in a process of its own, which ends with it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        status = work()
    finally:
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
