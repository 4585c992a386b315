"""Who decides on a floor: a rule, a search or a bundle, each answering a state with a plan before a deadline.

Whatever is asked, the plan that was pushed back by the event is the one to beat: a decision that costs more than leaving
things as they are is not taken. Read next: ``controller``, which asks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from genba.errors import ConfigError, PassportError, nearest
from genba.floor.state import FloorState
from genba.guard import for_embodiment
from genba.machines.factory.anytime import AnytimeScheduler, Propose
from genba.machines.factory.decoder import ATC, EDD, FIFO, WSPT, as_decision, run_rule
from genba.machines.factory.features import channels
from genba.machines.factory.problem import Situation
from genba.machines.factory.search import best_of_atc
from genba.spec.action import Action
from genba.spec.observation import observe
from genba.spec.protocols import Guard
from genba.spec.streams import ragged
from genba.spec.units import to_ns
from genba.trust.machine import MachineTrust

Planned = tuple[np.ndarray, np.ndarray]


class Decider(Protocol):
    """Makes a plan for the orders that are free."""

    name: str

    def decide(self, state: FloorState, *, deadline_s: float) -> Planned:
        """Return ``start_s`` and ``line``, int64 ``[free]``, within ``deadline_s`` seconds."""
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
    """Rules, then local search from the best of them, for as long as there is time."""

    name = "search"

    def decide(self, state: FloorState, *, deadline_s: float) -> Planned:
        """Return the best plan found within ``deadline_s``."""
        return _in_time(state, deadline_s, None)


class BundleDecider:
    """A deployed model: it sees what the factory's embodiment shows and answers with scores, which are decoded; local
    search goes on from there for as long as there is time.

    Args:
        folder: of the bundle.
        trust: the machine's trust folder, which decides whether the bundle may act, and goes on deciding.
        acts: whether its plans go into force anywhere; where they only answer a question, nothing is checked without a
            trust folder.

    Raises:
        BundleError: it is damaged, or made for another machine.
        PassportError: it may not act here, or would act unchecked: a floor may be a real one.
        GenbaError: as ``genba.runtime.clearance.clear`` says.
    """

    def __init__(self, folder: Path, *, trust: Path | None = None, acts: bool = True) -> None:
        # runs with onnxruntime, which a floor that is planned by rules does without
        from genba.runtime.bundle import Bundle
        from genba.runtime.clearance import clear
        from genba.runtime.engine import OnnxEngine
        from genba.runtime.policy import EnginePolicy
        from genba.spec.embodiment import load_embodiment

        self.embodiment = load_embodiment("factory/parallel-lines@2")
        bundle = Bundle.read(folder, self.embodiment)
        if acts and trust is None:
            raise PassportError(
                f"{folder}: a floor may be a real one, so no bundle acts on it unchecked; name the machine's trust folder "
                "(--trust)"
            )
        self._clearance = None if trust is None else clear(bundle, MachineTrust(trust)).__enter__()
        self._policy = EnginePolicy(OnnxEngine(bundle))
        self._guard: Guard = for_embodiment(self.embodiment)
        self.name = f"bundle {folder.name}"

    def decide(self, state: FloorState, *, deadline_s: float) -> Planned:
        """Return the best plan found within ``deadline_s``, the model's among its starts unless the guard refuses it.

        Raises:
            PassportError: the bundle lost its leave to act; the plan in force stays.
        """
        if self._clearance is not None and self._clearance.refusal:
            raise PassportError(self._clearance.refusal)
        return _in_time(state, deadline_s, lambda situation: self._scores(state, situation))

    def _scores(self, state: FloorState, situation: Situation) -> tuple[np.ndarray, np.ndarray]:
        time_ns = to_ns(float(state.now_s))
        rows = channels(situation, state.schedule)
        streams = {name: ragged([time_ns], [values]) for name, values in rows.items()}
        observation = observe(self.embodiment, streams, time_ns, "")
        proposed = self._policy.act(observation).at(time_ns)
        assert proposed is not None
        choices = self._guard.check(Action(choices=proposed.choices), observation).action.choices
        if not choices:
            # nothing of it is used: the standing plan, which the scheduler has already, as if the model had said it
            return as_decision(*_as_it_is(state, situation), state.problem.num_lines)
        return np.asarray(choices["sequence"]), np.asarray(choices["line"])[:, : state.problem.num_lines]


def _in_time(state: FloorState, deadline_s: float, propose: Propose | None) -> Planned:
    # the wall's clock: on a busy computer a decision is worse, never late
    scheduler = AnytimeScheduler(state.schedule)
    situation = state.situation()
    schedule = scheduler.decide(situation, deadline_s, propose)
    return schedule.start_s[situation.orders], schedule.line[situation.orders]


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


def decider(name: str, *, trust: Path | None = None, acts: bool = True) -> Decider:
    """Return who is called ``name``: a rule, ``search``, or the folder of a bundle.

    Args:
        name: who.
        trust, acts: of a bundle, as ``BundleDecider`` says.

    Raises:
        ConfigError: neither.
        BundleError: a bundle that cannot be used here.
        PassportError: a bundle that may not act here.
    """
    if name in RULES:
        return RuleDecider(name, RULES[name])
    if name == "search":
        return SearchDecider()
    if Path(name).is_dir():
        return BundleDecider(Path(name), trust=trust, acts=acts)
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
