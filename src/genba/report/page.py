"""Put a run into one HTML page that needs nothing but itself.

The page has no script and asks the network for nothing: styles, charts and pictures stand in it, and a content security
policy holds it to that. A part that has no data says which command makes it. Read next: ``page.html.jinja``.
"""

from __future__ import annotations

import base64
import datetime
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from genba import __version__, registry
from genba.bench.metrics import Interval
from genba.bench.results import LATENCY_EDGES_S, Result
from genba.report import charts, summary
from genba.report.run import Run, read_run
from genba.report.summary import TaskFacts
from genba.spec.embodiment import load_embodiment
from genba.spec.task import Picture

#: What the machines are called on the page, by the first part of a task's or an embodiment's id.
MACHINES = {"arm": "Robot arm", "vehicle": "Car", "factory": "Factory"}
#: Losses that are shown first; the rest follow by name. Persistence is no loss: it stands beside the world model.
FIRST_LOSSES = ("total", "flow", "world", "readout")
NO_LOSSES = {"persistence"}


def write_page(run_dir: Path | str, out: Path | None = None) -> Path:
    """Make the page of a run and return its path: ``out``, or ``report.html`` in the run's folder.

    Raises:
        ConfigError: no such folder, or a damaged file in it.
    """
    run = read_run(run_dir)
    path = out or run.path / "report.html"
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(render(run), encoding="utf-8")
    temporary.replace(path)
    return path


def render(run: Run) -> str:
    """Return the page as text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("genba.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "seconds": charts.seconds,
        "percent": summary.percent,
        "number": summary.number,
        "metric_name": summary.metric_name,
    }
    task_ids = sorted(set(run.task_ids) | set(registry.MAIN_TASKS), key=_order)
    text = environment.get_template("page.html.jinja").render(
        css=Markup((Path(__file__).parent / "page.css").read_text(encoding="utf-8")),
        run=run,
        record=run.record,
        tasks=[_task(run, task_id) for task_id in task_ids],
        training=_training(run.metrics),
        world=_world(run.metrics),
        stages=_stages(run),
        provenance=_provenance(run),
        where=run.record.trust if run.record else {},
        models=_models(run),
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes").replace("+00:00", " UTC"),
        version=__version__,
    )
    return text


def _order(task_id: str) -> tuple[int, str]:
    machine = task_id.partition("/")[0]
    return (list(MACHINES).index(machine) if machine in MACHINES else len(MACHINES), task_id)


def _task(run: Run, task_id: str) -> dict[str, Any]:
    results = [result for result in run.results if result.task == task_id]
    facts = summary.task_facts(task_id, results)
    columns = [metric for metric in facts.metrics if any(metric.name in result.metrics for result in results)]
    columns.sort(key=lambda metric: metric.name != facts.primary.name)
    model = summary.best(facts, results, "model")
    pictures = run.pictures.get(task_id, ())
    return {
        "id": task_id,
        "anchor": task_id.replace("/", "-").replace("@", "-"),
        "machine": MACHINES.get(task_id.partition("/")[0], task_id),
        "facts": facts,
        "columns": columns,
        "rows": [_row(facts, columns, result) for result in results],
        "headline": _headline(facts, results, model) if model else None,
        "latencies": _latencies(results),
        "pictures": [
            {
                "title": picture.title,
                "caption": picture.caption,
                # A strip gets the page's whole width, and so does a chart that stands alone.
                "wide": _aspect(picture) > (2.6 if len(pictures) > 1 else 1.3),
                "data": f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode()}",
            }
            for picture in pictures
        ],
        "num_episodes": sorted({len(result.seeds) for result in results}),
        "frozen": all(result.on_test_seeds for result in results),
    }


def _aspect(picture: Picture) -> float:
    """Return a picture's width over its height."""
    if picture.media_type == "image/svg+xml":
        box = re.search(rb"viewBox=[\"'][\d.\s-]*?([\d.]+)[\s,]+([\d.]+)[\"']", picture.data)
        return float(box[1]) / float(box[2]) if box else 1.0
    with Image.open(io.BytesIO(picture.data)) as image:
        return image.width / image.height


def _row(facts: TaskFacts, columns: Sequence[Any], result: Result) -> dict[str, Any]:
    control, steps = result.control, max(int(result.control.get("num_steps", 0)), 1)
    decisions = max(result.latency.num_decisions, 1)
    return {
        "policy": summary.policy_name(result.policy),
        "kind": result.kind if result.kind in ("model", "expert", "baseline") else "other",
        "success": result.success,
        "metrics": [
            {
                "value": summary.number(result.metrics[metric.name].mean) if metric.name in result.metrics else "–",
                "interval": summary.interval_text(result.metrics[metric.name]) if metric.name in result.metrics else "",
                "primary": metric.name == facts.primary.name,
            }
            for metric in columns
        ],
        "num_episodes": len(result.seeds),
        "latency": result.latency,
        "deadline_s": result.deadline_s,
        "enforced": result.deadline_enforced,
        "missed": int(control.get("num_misses", 0)),
        "missed_share": int(control.get("num_misses", 0)) / decisions,
        "fallbacks": int(control.get("num_fallbacks", 0)),
        "fallback_share": int(control.get("num_fallbacks", 0)) / steps,
        "guarded": int(control.get("num_guarded", 0)),
        "guarded_share": int(control.get("num_guarded", 0)) / steps,
        "reasons": ", ".join(f"{name} {count}" for name, count in dict(control.get("interventions", {})).items()),
        "num_steps": int(control.get("num_steps", 0)),
    }


def _headline(facts: TaskFacts, results: Sequence[Result], model: Result) -> dict[str, Any]:
    comparisons = []
    for kind in ("expert", "baseline"):
        other = summary.best(facts, results, kind)
        found = summary.compare(facts, model, other) if other else None
        if other and found:
            of = "expert" if kind == "expert" else "best baseline"
            comparisons.append({"of": of, "verdict": found.verdict, "words": summary.words(found, facts)})
    value = summary.primary_value(facts, model)
    share = facts.primary.name == "success"
    low, high = (summary.primary_text(facts, Interval(end, end, end)) for end in (value.low, value.high))
    return {
        "value": summary.primary_text(facts, value),
        "name": "success" if share else summary.metric_name(facts.primary),
        "interval": f"{low} – {high}" if math.isfinite(value.low + value.high) else "",
        "success": None if share else summary.percent(model.success.mean),
        "num_episodes": len(model.seeds),
        "comparisons": comparisons,
        "p99": charts.seconds(model.latency.p99_s),
        "deadline": charts.seconds(model.deadline_s),
    }


def _latencies(results: Sequence[Result]) -> list[dict[str, Any]]:
    measured = [result for result in results if result.latency.num_decisions]
    if not measured:
        return []
    deadline_s = measured[0].deadline_s
    shown_s = charts.shown_range([result.latency.histogram for result in measured], LATENCY_EDGES_S, deadline_s)
    return [
        {
            "policy": summary.policy_name(result.policy),
            "num_decisions": result.latency.num_decisions,
            "p50": charts.seconds(result.latency.p50_s),
            "p99": charts.seconds(result.latency.p99_s),
            "max": charts.seconds(result.latency.max_s),
            "chart": Markup(
                charts.histogram(
                    result.latency.histogram,
                    LATENCY_EDGES_S,
                    shown_s=shown_s,
                    deadline_s=result.deadline_s,
                    style=result.kind if result.kind in ("model", "expert") else "baseline",
                    label=f"Decision latencies of {result.policy}",
                )
            ),
        }
        for result in measured
    ]


def _training(metrics: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """One group per embodiment, each a chart per loss: batches, their trailing mean, held-back episodes."""
    names = {name for line in metrics for name in line if name.startswith("loss/")}
    groups = []
    for embodiment_id in sorted({_between(name) for name in names}, key=_order):
        terms = {name.rpartition("/")[2] for name in names if _between(name) == embodiment_id} - NO_LOSSES
        panels = []
        for term in sorted(terms, key=lambda t: (FIRST_LOSSES.index(t) if t in FIRST_LOSSES else 99, t)):
            x, y = _series(metrics, f"loss/{embodiment_id}/{term}")
            held_x, held_y = _series(metrics, f"eval/{embodiment_id}/{term}")
            chart = charts.curves(
                [
                    charts.Series(name="batches", x=x, y=y, style="raw"),
                    charts.Series(name="trailing mean", x=x, y=charts.smooth(y), style="expert"),
                    charts.Series(name="held-back episodes", x=held_x, y=held_y, style="model"),
                ],
                label=f"{term} loss of {embodiment_id} over train steps",
            )
            if chart:
                panels.append({"name": summary.policy_name(term.replace(".", " ")), "chart": Markup(chart)})
        machine = MACHINES.get(embodiment_id.partition("/")[0], embodiment_id)
        groups.append({"machine": machine, "embodiment_id": embodiment_id, "panels": panels})
    return groups


def _world(metrics: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    suffix = "/world_error"
    names = {name for line in metrics for name in line if name.startswith("eval/") and name.endswith(suffix)}
    panels = []
    for embodiment_id in sorted({_between(name) for name in names}, key=_order):
        x, ours = _series(metrics, f"eval/{embodiment_id}{suffix}")
        x_theirs, theirs = _series(metrics, f"eval/{embodiment_id}/persistence_error")
        if not ours or not theirs:
            continue
        chart = charts.curves(
            [
                charts.Series(name="persistence", x=x_theirs, y=theirs, style="baseline"),
                charts.Series(name="world model", x=x, y=ours, style="model"),
            ],
            label=f"World model error of {embodiment_id} against persistence",
            from_zero=True,
        )
        panels.append(
            {
                "machine": MACHINES.get(embodiment_id.partition("/")[0], embodiment_id),
                "embodiment_id": embodiment_id,
                "horizon": _horizon(embodiment_id),
                "chart": Markup(chart),
                "ours": summary.number(ours[-1]),
                "theirs": summary.number(theirs[-1]),
                "ratio": ours[-1] / theirs[-1] if theirs[-1] else math.nan,
            }
        )
    return panels


def _horizon(embodiment_id: str) -> str:
    """Say how far ahead the world model looks; empty for a machine that is not registered here."""
    if embodiment_id not in registry.EMBODIMENTS:
        return ""
    control = load_embodiment(embodiment_id).control
    return charts.seconds(control.horizon * control.period_s)


def _stages(run: Run) -> list[dict[str, Any]]:
    if run.record is None or not run.record.stages:
        return []
    total_s = sum(stage.wall_s for stage in run.record.stages) or 1.0
    return [
        {"name": stage.name, "detail": stage.detail, "wall_s": stage.wall_s, "share": stage.wall_s / total_s}
        for stage in run.record.stages
    ]


def _provenance(run: Run) -> list[tuple[str, str]]:
    """Facts of the run, each once; where there is no record, what the results say."""
    rows: list[tuple[str, str]] = []
    record, results = run.record, run.results
    if record:
        rows += [
            ("command", record.command),
            ("date", record.date),
            ("commit", record.commit),
            ("preset", record.preset),
            ("parameters", f"{record.num_parameters:,}".replace(",", " ") if record.num_parameters else ""),
            ("seed", str(record.seed)),
        ]
    else:
        rows += [("commit", ", ".join(sorted({result.commit for result in results})))]
    hardware = record.hardware if record and record.hardware else (results[0].hardware if results else {})
    rows += [("hardware", ", ".join(f"{name.removeprefix('num_')} {value}" for name, value in hardware.items()))]
    return [(name, value) for name, value in rows if value]


def _models(run: Run) -> list[dict[str, Any]]:
    """Every result's own evidence: what was run, on which seeds, by which weights."""
    return [
        {
            "task": result.task,
            "policy": summary.policy_name(result.policy),
            "digest": result.weights_digest,
            "passport": _passport(result),
            "seeds": _seeds(result.seeds),
            "frozen": result.on_test_seeds,
            "command": result.command,
            "commit": result.commit,
            "wall_s": result.wall_s,
            "simulated_s": result.simulated_s,
        }
        for result in run.results
    ]


def _passport(result: Result) -> dict[str, Any]:
    """Say whether a model's passport allowed it to act, and in how many control steps it did no longer; nobody is named."""
    checked = re.match(r"checked: sha256:([0-9a-f]{12})", result.passport)
    refused = sum(int(count) for count in result.control.get("refusals", {}).values())
    return {
        "state": "held" if checked else "not checked" if result.passport else "",
        "digest": checked[1] if checked else "",
        "refused": refused,
    }


def _seeds(seeds: Sequence[int]) -> str:
    """Write seeds as a range where they are one."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} – {seeds[-1]}"
    return ", ".join(map(str, seeds[:8])) + (" …" if len(seeds) > 8 else "")


def _between(name: str) -> str:
    """Return the embodiment id of ``kind/<embodiment id>/term``, which itself holds a slash."""
    return name.partition("/")[2].rpartition("/")[0]


def _series(metrics: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    lines = [line for line in metrics if name in line]
    return [line["step"] for line in lines], [line[name] for line in lines]
