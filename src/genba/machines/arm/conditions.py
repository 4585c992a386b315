"""Conditions that no training sees: each changes one thing about the world of ``arm/grip@1``, physically.

A condition meets the same boxes as the task itself (the same seed draws the same box) and changes what it names; the
ranges lie outside those that are trained on. It holds facts and draws; ``scene`` and ``simulator`` make them real,
``tasks`` names each as a task without train seeds. Read next: ``sensing``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from genba.machines.arm.objects import GripObject, draw_object, stiff_enough

#: What a condition would have held harder than this and than usual is made lighter, in N per pad: beyond 35 N the simulated
#: pads may be pressed through the sides of a box.
MOST_REQUIRED_N = 25.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """What is different. A range is drawn from evenly; None leaves the box as it is."""

    #: part of the task's id; empty for the task itself
    name: str
    #: one sentence
    description: str
    #: Coulomb coefficient; trained on 0.3 to 1.0
    friction: tuple[float, float] | None = None
    #: mass at the end over mass at the start, for every box; trained on 1.3 to 1.8 for half of them
    pour_factor: tuple[float, float] | None = None
    shape: Literal["box", "cylinder"] = "box"
    #: of the centre of mass along the depth, in metres, to either side; trained on 0
    offset_m: tuple[float, float] | None = None
    #: acceleration of the box by a knock on the way up, m/s^2; trained on none
    knock_mps2: tuple[float, float] | None = None
    #: standard deviation of every sensor over its usual one
    noise_factor: float = 1.0
    #: lag of the gripper over its usual one
    lag_factor: float = 1.0
    #: whether one pad, drawn by the seed, feels nothing but its own noise
    pad_is_dead: bool = False

    def draw(self, seed: int) -> GripObject:
        """Draw the object of an episode; the same seed gives the same object."""
        thing = usual = draw_object(seed)
        rng = np.random.default_rng([seed, 2])
        if self.friction is not None:
            thing = replace(thing, friction=float(rng.uniform(*self.friction)))
        if self.pour_factor is not None:
            thing = replace(thing, pour_factor=float(rng.uniform(*self.pour_factor)))
        if self.offset_m is not None:
            thing = replace(thing, offset_m=float(rng.uniform(*self.offset_m) * rng.choice([-1.0, 1.0])))
        if self.knock_mps2 is not None:
            aside = float(rng.uniform(-0.5, 0.5))
            thing = replace(
                thing,
                knock_mps2=float(rng.uniform(*self.knock_mps2)),
                knock_direction=(float(np.sin(aside)), 0.0, -float(np.cos(aside))),
                knock_s=KNOCK_S,
                knock_height_m=float(rng.uniform(*KNOCK_HEIGHTS_M)),
            )
        thing = replace(thing, shape=self.shape)
        most_n = max(MOST_REQUIRED_N, usual.required_force_n)
        if thing.required_force_n > most_n:
            thing = replace(thing, mass_kg=thing.mass_kg * most_n / thing.required_force_n)
        return stiff_enough(thing)

    def dead_pad(self, seed: int) -> int | None:
        """Return which pad feels nothing in an episode, 0 for the left one, or None."""
        return int(np.random.default_rng([seed, 4]).integers(2)) if self.pad_is_dead else None


#: How long a knock lasts, in seconds, and at which heights of the hand it comes, in metres: while it moves up.
KNOCK_S = 0.04
KNOCK_HEIGHTS_M = (0.05, 0.11)

NOMINAL = Condition(name="", description="As trained on.")

#: Every condition, by name, in the order of tables.
CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        Condition(
            name="heavy-filling",
            description="Every box grows to 1.9 to 2.6 times its mass while shaken.",
            pour_factor=(1.9, 2.6),
        ),
        Condition(name="slippery", description="Friction of 0.18 to 0.29.", friction=(0.18, 0.29)),
        Condition(name="cylinder", description="An upright cylinder, held along two lines.", shape="cylinder"),
        Condition(
            name="off-centre",
            description="The mass hangs 5 to 12 mm beside the pads and turns the box between them.",
            offset_m=(0.005, 0.012),
        ),
        Condition(name="noisy", description="Three times the noise on every sensor.", noise_factor=3.0),
        Condition(name="dead-pad", description="One pad feels nothing but its own noise.", pad_is_dead=True),
        Condition(name="slow-gripper", description="The gripper's lag is doubled, to 60 ms.", lag_factor=2.0),
        Condition(
            name="knock",
            description="On its way up the box is knocked downwards, by 6 to 12 m/s^2 for 40 ms.",
            knock_mps2=(6.0, 12.0),
        ),
    )
}
