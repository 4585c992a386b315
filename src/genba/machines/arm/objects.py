"""The things to be gripped: boxes whose mass, friction, stiffness and strength nobody is told.

It holds the draw of one object from a seed and the force that holds it. It knows no simulator. Read next:
``conditions``, which changes what is drawn; ``scene``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

#: Standard gravity in m/s^2. Source: CGPM 1901, CR 70.
GRAVITY_MPS2 = 9.80665
#: Half the height and half the depth of every box in metres.
HALF_HEIGHT_M = 0.045
HALF_DEPTH_M = 0.020
#: How deep one side may be pressed in at the crush load, in metres: less than half of the narrowest box.
PRESSED_AT_CRUSH_M = 0.008
#: From a pad's centre to the corners it touches a flat side with, sqrt(9^2 + 11^2) mm: the arm of what resists turning.
PAD_REACH_M = 0.0142


@dataclass(frozen=True, kw_only=True, slots=True)
class GripObject:
    """One object and what will happen to it."""

    #: kg
    mass_kg: float
    #: Coulomb coefficient between rubber pad and object
    friction: float
    #: of each sprung side, N/m
    stiffness_npm: float
    #: between the gripped sides, m
    width_m: float
    #: of the pads above the object's centre, m
    grasp_height_m: float
    #: amplitude of the shake's acceleration, m/s^2
    shake_mps2: float
    #: the mass at the end divided by the mass at the start; 1 where nothing is poured in
    pour_factor: float
    #: when the pouring starts, in seconds after the shake's start
    pour_start_s: float
    #: crush load divided by the required force
    strength: float
    #: upright
    shape: Literal["box", "cylinder"] = "box"
    #: of the centre of mass from the middle, along the depth, m
    offset_m: float = 0.0
    #: acceleration of the object's mass by a knock, m/s^2 (0: none), in a direction ``[depth, width, height]``; how long
    #: it lasts, s; and at which height of the hand it comes, m
    knock_mps2: float = 0.0
    knock_direction: tuple[float, float, float] = (0.0, 0.0, -1.0)
    knock_s: float = 0.0
    knock_height_m: float = 0.0

    @property
    def required_force_n(self) -> float:
        """Return the least force per pad that holds the object at its heaviest and at the peak of the shake.

        Two pads carry m (g + a) by friction: 2 mu F = m (g + a). Where the mass hangs beside the pads, they also keep it
        from turning, and share the friction between the two. Source: Coulomb's law; ellipsoid of Howe and Cutkosky
        (1996), "Practical force-motion models for sliding manipulation", IJRR 15(6). A knock is not counted.
        """
        carried_n = self.mass_kg * self.pour_factor * (GRAVITY_MPS2 + self.shake_mps2) / (2.0 * self.friction)
        return carried_n * float(np.hypot(1.0, self.offset_m / PAD_REACH_M))

    @property
    def crush_load_n(self) -> float:
        """Return the force per pad that the object does not survive."""
        return self.required_force_n * self.strength


def draw_object(seed: int) -> GripObject:
    """Draw the object of an episode; the same seed gives the same object."""
    rng = np.random.default_rng([seed, 0])
    pours = rng.random() < 0.5
    drawn = {
        "mass_kg": float(np.exp(rng.uniform(np.log(0.08), np.log(1.0)))),
        "friction": float(rng.uniform(0.3, 1.0)),
        "width_m": float(rng.uniform(0.030, 0.055)),
        "grasp_height_m": float(rng.uniform(-0.012, 0.012)),
        "shake_mps2": float(rng.uniform(1.0, 4.0)),
        "pour_factor": float(rng.uniform(1.3, 1.8)) if pours else 1.0,
        "pour_start_s": float(rng.uniform(0.2, 0.6)),
        "strength": float(rng.uniform(1.5, 3.0)),
    }
    stiffness_npm = float(np.exp(rng.uniform(np.log(1.5e3), np.log(15e3))))
    return stiff_enough(GripObject(stiffness_npm=stiffness_npm, **drawn))


def stiff_enough(thing: GripObject) -> GripObject:
    """Return ``thing`` at least as stiff as its crush load asks for: a softer one would be pressed through itself."""
    return replace(thing, stiffness_npm=max(thing.stiffness_npm, thing.crush_load_n / PRESSED_AT_CRUSH_M))
