"""Who decides on a floor: a rule, a search or a bundle, each answering a state with a plan before a deadline.

Whatever is asked, the plan that was pushed back by the event is the one to beat: a decision that costs more than leaving
things as they are is not taken. Read next: ``controller``, which asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from genba.errors import ConfigError, nearest
from genba.floor.state import FloorState
from genba.guard import for_embodiment
from genba.machines.factory.decoder import ATC, EDD, FIFO, WSPT, decode, run_plan, run_rule
from genba.machines.factory.features import channels
from genba.machines.factory.problem import Situation
from genba.machines.factory.search import anneal, best_of_atc, by_start
from genba.spec.action import Action
from genba.spec.observation import observe
from genba.spec.protocols import Guard
from genba.spec.streams import ragged
from genba.spec.units import to_ns

#: Moves of the search between two looks at the clock; some 10 ms at 150 free orders.
MOVES_AT_ONCE = 2_000

Planned = tuple[np.ndarray, np.ndarray]


class Decider(Protocol):
    """Makes a plan for the orders that are free."""

    name: str

    def decide(self, state: FloorState, *, deadline_s: float) -> Planned:
        """Return ``start_s`` and ``line``, int64 ``[free]``, within ``deadline_s`` seconds of CPU time."""
        ...


class RuleDecider:
    """A dispatching rule, one pass or a few."""

    def __init__(self, name: str, rule: Callable[[Situation], Planned]) -> None:
        self.name = name
        self._rule = rule

    def decide(self, state: FloorState, *, deadline_s: float) -> Planned:
        """Return the rule's plan; a rule takes the time that it takes."""
        return self._rule(state.situation())


class SearchDecider:
    """The best of twenty rules, annealed for as long as there is time."""

    name = "search"

    def decide(self, state: FloorState, *, deadline_s: float) -> Planned:
        """Return the best plan found in 0.8 of ``deadline_s``, which leaves time to check and to write it."""
        until_s = time.thread_time() + 0.8 * deadline_s
        situation = state.situation()
        start_s, line, _ = best_of_atc(situation)
        sequence, part = by_start(start_s), 0
        while time.thread_time() < until_s and len(sequence) > 1:
            # cool from the start: measured better than a long search's temperature in this little time
            sequence, line, _ = anneal(
                situation, sequence, line, num_moves=MOVES_AT_ONCE, seed=part, hot=0.003, cold=0.0003
            )
            part += 1
        return run_plan(situation, sequence, line)[0], line


class BundleDecider:
    """A deployed model: it sees what the factory's embodiment shows and answers with scores, which are decoded.

    Args:
        folder: of the bundle.

    Raises:
        BundleError: it is damaged, or made for another machine.
    """

    def __init__(self, folder: Path) -> None:
        # runs with onnxruntime, which a floor that is planned by rules does without
        from genba.runtime.bundle import Bundle
        from genba.runtime.engine import OnnxEngine
        from genba.runtime.policy import EnginePolicy
        from genba.spec.embodiment import load_embodiment

        self.embodiment = load_embodiment("factory/parallel-lines@1")
        self._policy = EnginePolicy(OnnxEngine(Bundle.read(folder, self.embodiment)))
        self._guard: Guard = for_embodiment(self.embodiment)
        self.name = f"bundle {folder.name}"

    def decide(self, state: FloorState, *, deadline_s: float) -> Planned:
        """Return what the model's scores decode to, or the plan in force where the guard refuses them."""
        situation, time_ns = state.situation(), to_ns(float(state.now_s))
        rows = channels(situation, state.schedule)
        streams = {name: ragged([time_ns], [values]) for name, values in rows.items()}
        observation = observe(self.embodiment, streams, time_ns, "")
        proposed = self._policy.act(observation).at(time_ns)
        assert proposed is not None
        choices = self._guard.check(Action(choices=proposed.choices), observation).action.choices
        if not choices:
            return _as_it_is(state, situation)
        num_lines = state.problem.num_lines
        start_s, line, _ = decode(
            situation, np.asarray(choices["sequence"]), np.asarray(choices["line"])[:, :num_lines]
        )
        return start_s, line


def _as_it_is(state: FloorState, situation: Situation) -> Planned:
    return state.schedule.start_s[situation.orders], state.schedule.line[situation.orders]


#: Deciders by name; a path is a bundle's folder.
RULES: dict[str, Callable[[Situation], Planned]] = {
    "fifo": lambda situation: run_rule(situation, FIFO)[:2],
    "edd": lambda situation: run_rule(situation, EDD)[:2],
    "wspt": lambda situation: run_rule(situation, WSPT)[:2],
    "atc": lambda situation: run_rule(situation, ATC)[:2],
    "atc_best_of_20": lambda situation: best_of_atc(situation)[:2],
}


def decider(name: str) -> Decider:
    """Return who is called ``name``: a rule, ``search``, or the folder of a bundle.

    Raises:
        ConfigError: neither.
        BundleError: a bundle that cannot be used here.
    """
    if name in RULES:
        return RuleDecider(name, RULES[name])
    if name == "search":
        return SearchDecider()
    if Path(name).is_dir():
        return BundleDecider(Path(name))
    raise ConfigError(
        f"policy: got {name!r}, expected the folder of a bundle or a known name{nearest(name, [*RULES, 'search'])}"
    )


def best_of(state: FloorState, proposed: Planned) -> Planned:
    """Return ``proposed``, or the plan in force where that costs no more."""
    situation = state.situation()
    rows = np.arange(len(situation.orders))

    def cost_s(planned: Planned) -> int:
        end_s = planned[0] + situation.processing_time_s[rows, planned[1]]
        return int((situation.weight * np.maximum(end_s - situation.due_s, 0)).sum())

    standing = _as_it_is(state, situation)
    return proposed if cost_s(proposed) < cost_s(standing) else standing
