"""Two small but real machines for tests: a cart that is pushed, and five orders on two lines.

They obey every contract of ``genba.spec`` (the tests prove it), run in microseconds and need no simulator. The cart
has continuous actions at a fixed rate; the lines have a ranking and an assignment that are asked for between events.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genba.config import read_toml_text
from genba.spec.action import Action, ActionChunk, single
from genba.spec.embodiment import Embodiment
from genba.spec.observation import Observation
from genba.spec.protocols import Step
from genba.spec.streams import Stream, dense, ragged
from genba.spec.task import Metric, Picture, Task
from genba.spec.units import to_ns

CART_TOML = """
id = "toy/cart@1"
description = "A cart of 1 kg on a rail, pushed by a force to a goal."
frames = ["rail"]
[control]
period_s = 0.05
deadline_s = 0.05
chunk_length = 8
execute_length = 4
horizon = 4
[[action.continuous]]
name = "force"
unit = "N"
low = -10.0
high = 10.0
rate_limit = 100.0
[[telemetry]]
name = "cart"
rate_hz = 100.0
frame = "rail"
history_s = 0.1
dimension = [
  { name = "position", unit = "m", low = -50.0, high = 50.0 },
  { name = "velocity", unit = "m/s", low = -50.0, high = 50.0 },
]
[[telemetry]]
name = "goal"
rate_hz = 20.0
frame = "rail"
history_s = 0.05
dimension = [{ name = "position", unit = "m", low = -2.0, high = 2.0 }]
"""

LINES_TOML = """
id = "toy/lines@1"
description = "Five orders wait for two lines; not every line can do every order."
[control]
period_s = 10.0
deadline_s = 1.0
[[action.choice]]
name = "next_order"
kind = "rank"
over = "orders"
[[action.choice]]
name = "line_for_order"
kind = "assign"
over = "lines"
for_each = "orders"
allowed_by = "capability"
[[entities]]
name = "orders"
rate_hz = 0.0
frame = "none"
max_rows = 5
dimension = [
  { name = "work", unit = "s", low = 0.0, high = 100.0 },
  { name = "slack", unit = "s", low = -5000.0, high = 5000.0 },
]
[[entities]]
name = "lines"
rate_hz = 0.0
frame = "none"
max_rows = 2
dimension = [{ name = "busy", unit = "s", low = 0.0, high = 1000.0 }]
[[relation]]
name = "capability"
source = "orders"
target = "lines"
unit = "1"
low = 0.0
high = 2.0
"""

CART_FACTS = read_toml_text(CART_TOML, Embodiment, where="toy.py/CART_TOML")
LINES_FACTS = read_toml_text(LINES_TOML, Embodiment, where="toy.py/LINES_TOML")

#: control steps of an episode
CART_STEPS, LINES_STEPS = 60, 60


class Cart:
    """x'' = force / 1 kg, integrated exactly over each control period; one sample each 10 ms."""

    embodiment = CART_FACTS

    def reset(self, seed: int) -> Step:
        rng = np.random.default_rng(seed)
        self.position_m, self.velocity_mps = float(rng.uniform(-1, 1)), 0.0
        self.goal_m = float(rng.uniform(-1, 1))
        self.time_ns, self.num_steps = 0, 0
        self.positions = [self.position_m]
        self.forces: list[float] = []
        samples = {
            "cart": dense([0], [[self.position_m, self.velocity_mps]]),
            "goal": dense([0], [[self.goal_m]]),
        }
        return Step(0, samples)

    def step(self, action: Action | None) -> Step:
        force_n = 0.0 if action is None or action.continuous is None else float(action.continuous[0])
        times, rows = [], []
        for _ in range(5):
            self.position_m += self.velocity_mps * 0.01 + 0.5 * force_n * 0.01**2
            self.velocity_mps += force_n * 0.01
            self.time_ns += to_ns(0.01)
            times.append(self.time_ns)
            rows.append([self.position_m, self.velocity_mps])
        self.num_steps += 1
        self.positions.append(self.position_m)
        self.forces.append(force_n)
        samples = {"cart": dense(times, rows), "goal": dense([self.time_ns], [[self.goal_m]])}
        return Step(self.time_ns, samples, truncated=self.num_steps >= CART_STEPS)

    def trace(self) -> dict[str, np.ndarray]:
        return {
            "position_m": np.array(self.positions),
            "force_n": np.array(self.forces),
            "goal_m": np.array([self.goal_m]),
        }

    def instruction(self) -> str:
        return ""

    def close(self) -> None:
        pass


class Pusher:
    """Critically damped: force = k (goal - x) - 2 sqrt(k) v, with k = 9 N/m."""

    name = "expert"

    def reset(self, seed: int) -> None:
        pass

    def act(self, observation: Observation) -> ActionChunk:
        position_m, velocity_mps = observation.streams["cart"].values[-1]
        goal_m = observation.streams["goal"].values[-1, 0]
        force_n = np.float32(np.clip(9 * (goal_m - position_m) - 6 * velocity_mps, -10, 10))
        return single(observation.time_ns, 0.05, Action(np.array([force_n], np.float32)))


class Constant:
    """The same force for ever, as a whole chunk."""

    def __init__(self, force_n: float = 0.0, length: int = 1) -> None:
        self.name, self.force_n, self.length = "constant", force_n, length

    def reset(self, seed: int) -> None:
        pass

    def act(self, observation: Observation) -> ActionChunk:
        return ActionChunk(observation.time_ns, 0.05, np.full((self.length, 1), self.force_n, np.float32))


class Broken:
    """Raises at its third decision."""

    name = "broken"

    def reset(self, seed: int) -> None:
        self.num_decisions = 0

    def act(self, observation: Observation) -> ActionChunk:
        self.num_decisions += 1
        if self.num_decisions == 3:
            raise ZeroDivisionError("the toy broke on purpose")
        return single(observation.time_ns, 0.05, Action(np.zeros(1, np.float32)))


def verify_cart(trace: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Success: within 5 cm of the goal at the end."""
    error_m = abs(float(trace["position_m"][-1]) - float(trace["goal_m"][0]))
    return {"success": float(error_m < 0.05), "error": error_m}


def _draw(trace: Mapping[str, np.ndarray], policy: str) -> list[Picture]:
    return [
        Picture(
            title="toy", caption=policy, media_type="image/svg+xml", data=b"<svg xmlns='http://www.w3.org/2000/svg'/>"
        )
    ]


CART = Task(
    id="toy/reach@1",
    description="Push the cart to the goal and stop there.",
    embodiment=CART_FACTS,
    make_env=Cart,
    policies={
        "expert": lambda env: Pusher(),
        "zero": lambda env: Constant(0.0),
        "broken": lambda env: Broken(),
    },
    expert="expert",
    baselines=("zero",),
    verify=verify_cart,
    draw=_draw,
    metrics=(Metric(name="error", unit="m", meaning="distance from the goal at the end", better="lower"),),
    primary="success",
    train_seeds=range(1_000),
    test_seeds=range(1_000_000, 1_000_200),
    max_steps=CART_STEPS,
)


class Lines:
    """A free line takes the best ranked order that it may do; the world asks only when that is possible."""

    embodiment = LINES_FACTS

    def reset(self, seed: int) -> Step:
        rng = np.random.default_rng(seed)
        self.work_s = rng.integers(2, 8, 5) * 10.0
        self.due_s = rng.integers(5, 30, 5) * 10.0
        self.able = rng.random((5, 2)) < 0.7
        self.able[np.arange(5), rng.integers(0, 2, 5)] = True
        self.waiting = list(range(5))
        self.busy_until_s = np.zeros(2)
        self.end_s = np.full(5, np.nan)
        self.time_s, self.num_steps = 0.0, 0
        return self._step()

    def step(self, action: Action | None) -> Step:
        if action is not None and action.choices:
            free = self.busy_until_s <= self.time_s
            for row in np.argsort(-action.choices["next_order"], kind="stable"):
                order = self.waiting[row]
                scores = np.where(free & self.able[order], action.choices["line_for_order"][row], -np.inf)
                if np.isfinite(scores).any():
                    line = int(np.argmax(scores))
                    self.end_s[order] = self.time_s + self.work_s[order]
                    self.busy_until_s[line] = self.end_s[order]
                    self.waiting.remove(order)
                    break
        self.num_steps += 1
        self.time_s += 10.0
        return self._step()

    def _step(self) -> Step:
        time_ns = to_ns(self.time_s)
        rows = np.stack([self.work_s, self.due_s - self.time_s], -1)[self.waiting].astype(np.float32)
        able = np.where(self.able[self.waiting], 1.0, np.nan).astype(np.float32)
        busy = np.maximum(self.busy_until_s - self.time_s, 0.0)[:, None].astype(np.float32)
        samples: dict[str, Stream] = {
            "orders": ragged([time_ns], [rows.reshape(-1, 2)]),
            "lines": ragged([time_ns], [busy]),
            "capability": ragged([time_ns], [able.reshape(-1, 2)]),
        }
        free = self.busy_until_s <= self.time_s
        due = any(bool((free & self.able[order]).any()) for order in self.waiting)
        finished = not self.waiting and bool(free.all())
        return Step(time_ns, samples, terminated=finished, truncated=self.num_steps >= LINES_STEPS, decision_due=due)

    def trace(self) -> dict[str, np.ndarray]:
        return {"end_s": self.end_s.copy(), "due_s": self.due_s.copy()}

    def instruction(self) -> str:
        return ""

    def close(self) -> None:
        pass


class Dispatcher:
    """Ranks by a sign times the slack and prefers the line that is busy least; an infeasible line is -inf."""

    def __init__(self, name: str, sign: float) -> None:
        self.name, self.sign = name, sign

    def reset(self, seed: int) -> None:
        pass

    def act(self, observation: Observation) -> ActionChunk:
        slack_s = observation.streams["orders"].sample(-1)[:, 1]
        busy_s = observation.streams["lines"].sample(-1)[:, 0]
        able = np.isfinite(observation.streams["capability"].sample(-1))
        lines = np.where(able, -busy_s[None, :], -np.inf).astype(np.float32)
        choices = {"next_order": (self.sign * slack_s).astype(np.float32), "line_for_order": lines}
        return single(observation.time_ns, 10.0, Action(None, choices))


def verify_lines(trace: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Success: everything made; lateness: summed over the orders."""
    late_s = np.maximum(trace["end_s"] - trace["due_s"], 0.0)
    return {
        "success": float(np.isfinite(trace["end_s"]).all()),
        "lateness": float(np.nan_to_num(late_s, nan=1e4).sum()),
    }


LINES = Task(
    id="toy/orders@1",
    description="Make five orders on two lines, late as little as possible.",
    embodiment=LINES_FACTS,
    make_env=Lines,
    policies={
        "expert": lambda env: Dispatcher("expert", -1.0),
        "most_slack": lambda env: Dispatcher("most_slack", 1.0),
    },
    expert="expert",
    baselines=("most_slack",),
    verify=verify_lines,
    draw=_draw,
    metrics=(Metric(name="lateness", unit="s", meaning="summed over the orders", better="lower"),),
    primary="lateness",
    train_seeds=range(1_000),
    test_seeds=range(1_000_000, 1_000_200),
    max_steps=LINES_STEPS,
)
