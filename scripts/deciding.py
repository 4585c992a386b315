"""Reads ``deciding.toml``, and makes docs/trust-tests.md from it and from what branches.py and mutants.py measured.

    python scripts/deciding.py [--check]

No number on that page is typed, and every test that it names is there. ``make check`` looks whether the page is up to date.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

FACTS = Path(__file__).with_name("deciding.toml")
BRANCHES, MUTANTS = Path("docs/measurements/branches.json"), Path("docs/measurements/mutants.json")
PAGE = Path("docs/trust-tests.md")


def _facts() -> dict[str, Any]:
    return tomllib.loads(FACTS.read_text(encoding="utf-8"))


def tests_of(module: str) -> list[str]:
    """Return the test files that hold a module."""
    tests = _facts()["tests"]
    if module not in tests:
        raise SystemExit(f"{FACTS.name} names no tests of {module}; name them there, or with --tests")
    return list(tests[module])


def explained_changes(module: str) -> dict[tuple[str, str], str]:
    """Return the changes to a module that make no difference, by line of code and change, and why."""
    return {(one["code"], one["change"]): one["why"] for one in _facts().get("same", ()) if one["module"] == module}


def main() -> int:
    """Write the page, or say whether it is what it would be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; end with status 1 where the page is another"
    )
    arguments = parser.parse_args()
    parts = [HEAD, *_refused()]
    # Each is measured by itself, on a computer with nothing else to do; until then its part is not there.
    for path, show in ((BRANCHES, _branches), (MUTANTS, _mutants)):
        if path.exists():
            parts += show(json.loads(path.read_text(encoding="utf-8")))
    text = "\n".join(parts) + "\n"
    if not arguments.check:
        PAGE.write_text(text, encoding="utf-8")
    elif text != PAGE.read_text(encoding="utf-8"):
        print(f"{PAGE} is not what {FACTS.name} and the measurements say; run: python scripts/deciding.py")
        return 1
    return 0


HEAD = """# How the trust layer is tested

Made by `scripts/deciding.py`. What the layer does: [trust](trust.md), [agreements](agreements.md), [withdrawal](withdrawal.md); what it does not:
[SECURITY.md](../SECURITY.md).

## Bad input
"""


def _refused() -> list[str]:
    rows = ["| what | what is said | tests that hold it |", "|---|---|---|"]
    for one in _facts()["refused"]:
        for test in one["tests"]:
            _demand_test(test)
        tests = ", ".join(f"`{test.removeprefix('tests/')}`" for test in one["tests"])
        rows.append(f"| {one['what']} | {one['told']} | {tests} |")
    return rows


def _branches(measured: dict[str, Any]) -> list[str]:
    files = measured["files"]
    total = {
        name: sum(row[name] for row in files.values()) for name in next(iter(files.values())) if "left" not in name
    }
    out = [
        "\n## Branches\n",
        f"`{measured['command']}` runs {', '.join(f'`{one}`' for one in measured['tests'])} and counts in every process that they start: "
        f"{total['statements_taken']:,} of {total['statements']:,} statements and {total['branches_taken']:,} of {total['branches']:,} "
        f"branches of the {len(files)} files of `genba.trust` were taken (coverage {measured['coverage']}, Python {measured['python']}, commit "
        f"{measured['commit'][:12]}). Of these files not all:\n",
        "| file | statements | branches | not taken |",
        "|---|---:|---:|---|",
    ]
    for name, row in files.items():
        if row["lines_left"] or row["branches_left"]:
            jumps = [f"{start} → {stop if stop > 0 else 'end'}" for start, stop in row["branches_left"]]
            left = ", ".join(dict.fromkeys([*map(str, row["lines_left"]), *jumps]))
            statements, taken = row["statements_taken"], row["branches_taken"]
            out.append(f"| `{name}` | {statements} of {row['statements']} | {taken} of {row['branches']} | {left} |")
    return out


def _mutants(measured: dict[str, Any]) -> list[str]:
    out = [
        "\n## Mutants\n",
        "`scripts/mutants.py` changes one comparison, condition, number or truth value at a time and runs the module's tests.\n",
        "| module | mutants | noticed | explained | left |",
        "|---|---:|---:|---:|---:|",
    ]
    rows, explained = {}, []
    for module, found in measured.items():
        name, reasons = module.removeprefix("genba.trust."), explained_changes(module)
        known = [(one, why) for one in found["unnoticed"] if (why := reasons.get((one["code"], one["change"])))]
        rows[name] = [found["mutants"], found["noticed"], len(known), len(found["unnoticed"]) - len(known)]
        for one, why in known:
            code = one["code"].replace("|", "\\|")
            explained.append(f"| {name} | `{code}` | {one['change']} | {why} |")
    rows["all"] = [sum(numbers) for numbers in zip(*rows.values(), strict=True)]
    out += [f"| {name} | {' | '.join(map(str, numbers))} |" for name, numbers in rows.items()]
    return [*out, "\nThese make no difference:\n", "| module | line | change | why |", "|---|---|---|---|", *explained]


def _demand_test(test: str) -> None:
    path, _, name = test.partition("::")
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
        raise SystemExit(f"{FACTS.name}: no test {test}")


if __name__ == "__main__":
    sys.exit(main())
