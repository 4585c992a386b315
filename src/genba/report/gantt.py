"""One interactive page of two plans: before and after, and a sentence for every order that moved.

The page needs nothing but itself: the chart is drawn by a small script of its own (``gantt.js``), which the page's
content security policy names by its digest; nothing else may run and nothing is loaded. Without scripts the sentences
and the numbers are still there. (Plotly's smallest bundle alone is a megabyte; this page of two hundred orders is under a tenth of
that.)
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from genba.floor.explain import Move, clock, moves
from genba.floor.state import FloorState


def write_gantt(path: Path, before: FloorState, after: FloorState, *, title: str) -> None:
    """Write the page.

    Args:
        path: where to.
        before: the floor under its old plan.
        after: the floor after what happened, under its new plan.
        title: what happened, in words.
    """
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(render_gantt(before, after, title=title), encoding="utf-8")
    temporary.replace(path)


def render_gantt(before: FloorState, after: FloorState, *, title: str) -> str:
    """Return the page as text; arguments as of ``write_gantt``."""
    here = Path(__file__).parent
    script = (here / "gantt.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("genba.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    moved = moves(before, after)
    data = {
        "lines": list(after.line_names),
        "families": len(after.problem.setup_s),
        "now": after.now_s,
        "down": [int(s) for s in after.down_until_s],
        "before": _bars(before),
        "after": _bars(after),
        "moved": {move.order: move.sentence for move in moved},
    }
    return environment.get_template("gantt.html.jinja").render(
        css=Markup((here / "gantt.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        # "<" cannot end the element that holds it
        data=Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        title=title,
        now=clock(after.now_s),
        numbers=_numbers(before, after, moved),
        moved=moved,
    )


def _bars(state: FloorState) -> list[list[Any]]:
    """Per order: name, line, start, end, family, due, weight; seconds on the plant's clock."""
    problem, end_s = state.problem, state.schedule.end_s(state.problem)
    return [
        [
            order,
            int(state.schedule.line[i]),
            int(state.schedule.start_s[i]),
            int(end_s[i]),
            int(problem.family[i]),
            int(problem.due_s[i]),
            int(problem.weight[i]),
        ]
        for i, order in enumerate(state.order_ids)
    ]


def _numbers(before: FloorState, after: FloorState, moved: list[Move]) -> list[tuple[str, str, str]]:
    """What is shown large: (what, before, after)."""

    def late(state: FloorState) -> str:
        return str(int((state.schedule.end_s(state.problem) > state.problem.due_s).sum()))

    changed = sum(move.line_before != move.line_after for move in moved)
    return [
        ("weighted lateness, hours", f"{before.cost_s() / 3600:.0f}", f"{after.cost_s() / 3600:.0f}"),
        ("orders late", late(before), late(after)),
        ("orders moved", "", str(len(moved))),
        ("of them to another line", "", str(changed)),
    ]
