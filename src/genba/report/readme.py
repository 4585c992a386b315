"""The README's table of results, generated from ``docs/results/*.json`` and never typed.

Read next: ``summary``, whose words it shares with the page.
"""

from __future__ import annotations

import math
from pathlib import Path

from genba.bench.results import Result
from genba.errors import ConfigError
from genba.report import summary
from genba.report.charts import seconds
from genba.report.run import read_results

START, END = "<!-- results:start -->", "<!-- results:end -->"
NOTHING = "*No results are kept in `docs/results` yet; `make demo` measures them on your machine.*"


def results_table(folder: Path) -> str:
    """Return the table of every result under ``folder`` as Markdown, one block per task.

    Raises:
        ConfigError: a file there is not a result.
    """
    results = read_results(folder)
    if not results:
        return NOTHING
    blocks = []
    for task_id in sorted({result.task for result in results}):
        those = [result for result in results if result.task == task_id]
        facts = summary.task_facts(task_id, those)
        other = facts.primary if facts.primary.name != "success" else None
        head = ["policy", "success (95 % Wilson)"]
        if other:
            unit = f", {other.unit}" if other.unit not in ("", "1", "count") else ""
            head.append(f"{summary.metric_name(other)}{unit} (95 % bootstrap)")
        head += ["decision p50 / p99", "late", "guard changed", "episodes"]
        lines = [f"**{task_id}**", "", _row(head), _row(["---"] + ["---:"] * (len(head) - 1))]
        lines += [_row(_cells(facts, result, bool(other))) for result in those]
        model = summary.best(facts, those, "model")
        for kind, name in (("expert", "Expert"), ("baseline", "Best baseline")):
            rival = summary.best(facts, those, kind)
            found = summary.compare(facts, model, rival) if model and rival else None
            if found:
                lines += ["", f"{name}: the model is {summary.words(found, facts)}."]
        blocks.append("\n".join(lines))
    hardware = sorted({_hardware(result) for result in results})
    commits = sorted({result.commit[:12] for result in results if result.commit})
    said = f"Measured on {'; '.join(hardware)}" + (f", commit {', '.join(commits)}" if commits else "") + "."
    return "\n\n".join([*blocks, said])


def with_table(readme: str, table: str, *, where: str) -> str:
    """Return the README's text with ``table`` between its markers.

    Raises:
        ConfigError: the markers are not there, once each and in order.
    """
    start, end = readme.find(START), readme.find(END)
    if start < 0 or end < start or readme.count(START) != 1 or readme.count(END) != 1:
        raise ConfigError(f"{where}: expected the markers {START} and {END} once each, in this order")
    return f"{readme[: start + len(START)]}\n{table}\n{readme[end:]}"


def _cells(facts: summary.TaskFacts, result: Result, primary: bool) -> list[str]:
    success, latency = result.success, result.latency
    name = f"**{summary.policy_name(result.policy)}**" if result.kind == "model" else summary.policy_name(result.policy)
    cells = [name, f"{summary.percent(success.mean)} ({success.low * 100:.0f} – {success.high * 100:.0f})"]
    if primary:
        value = summary.primary_value(facts, result)
        interval = f" ({summary.interval_text(value)})" if math.isfinite(value.low + value.high) else ""
        cells.append(summary.number(value.mean) + interval)
    steps = max(int(result.control.get("num_steps", 0)), 1)
    return [
        *cells,
        f"{seconds(latency.p50_s)} / {seconds(latency.p99_s)}",
        summary.percent(int(result.control.get("num_misses", 0)) / max(latency.num_decisions, 1)),
        summary.percent(int(result.control.get("num_guarded", 0)) / steps),
        str(len(result.seeds)),
    ]


def _hardware(result: Result) -> str:
    return f"{result.hardware.get('num_cores', '?')} cores of {result.hardware.get('cpu', 'an unnamed processor')}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
