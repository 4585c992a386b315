"""Change one thing at a time in deciding code, and see whether its tests notice.

    python scripts/mutants.py genba.trust.sandbox.decide --tests tests/trust/sandbox/test_decide.py

Each mutant is one changed comparison, condition, number or returned truth value. It is run in a forked process against
the tests given, which must fail. Survivors are printed with their line and the exit status is 1: either a test is missing,
or the change makes no difference, which the reader decides. Strings, asserts, annotations and defaults are left alone.

It is no part of ``make test``: it takes about a second per mutant.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def main() -> int:
    """Try every mutant and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", help="dotted name of the module to change")
    parser.add_argument("--tests", nargs="+", required=True, help="test files that must notice")
    parser.add_argument("--timeout", type=int, default=120, help="seconds after which a mutant counts as noticed")
    arguments = parser.parse_args()
    spec = importlib.util.find_spec(arguments.module)
    if spec is None or spec.origin is None:
        parser.error(f"no module {arguments.module}")
    path = Path(spec.origin)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if _fails(arguments.module, tree, path, arguments):
        parser.error("the tests fail without any change")
    points = _Points()
    points.visit(tree)
    survivors, total = [], 0
    for node in points.found:
        for words, new in changes(node):
            total += 1
            # The tree is changed in a copy that shares nothing, found again by its place in the walk.
            index = list(ast.walk(tree)).index(node)
            mutant = copy.deepcopy(tree)
            old = list(ast.walk(mutant))[index]
            mutant = ast.fix_missing_locations(_Replace(old, new).visit(mutant))
            if not _fails(arguments.module, mutant, path, arguments):
                line = getattr(node, "lineno", 0)
                survivors.append((line, words))
                print(f"survived  {path.name}:{line}: {words}: {path.read_text().splitlines()[line - 1].strip()}")
    print(f"{arguments.module}: {total - len(survivors)} of {total} mutants noticed")
    return 1 if survivors else 0


def _fails(module: str, tree: ast.Module, path: Path, arguments: argparse.Namespace) -> bool:
    """Return whether the tests fail, or do not end, with this code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    signal.alarm(arguments.timeout)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.meta_path.insert(0, _Mutated(module, tree, path))
    status = pytest.main(["-q", "-x", "-p", "no:cacheprovider", *arguments.tests])
    os._exit(min(int(status), 1))


if __name__ == "__main__":
    sys.exit(main())
