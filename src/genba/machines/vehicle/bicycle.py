"""The ego's body and how it moves: a kinematic bicycle inside a friction circle, with actuators that take time.

It knows no road and no traffic. Read next: ``simulator``, which steps it 50 times a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LENGTH_M = 4.6
WIDTH_M = 1.85
HEIGHT_M = 1.5
WHEELBASE_M = 2.8
#: rear axle to rear bumper
REAR_OVERHANG_M = 0.9
#: rear axle to front bumper, and to the middle of the body
FRONT_M = LENGTH_M - REAR_OVERHANG_M
CENTRE_M = FRONT_M - LENGTH_M / 2

GRAVITY_MPS2 = 9.81
#: friction of tyres on dry asphalt
MU = 0.9

MIN_ACCELERATION_MPS2, MAX_ACCELERATION_MPS2 = -8.0, 3.0
MAX_STEERING_RAD = 0.6
MAX_STEERING_RATE_RADPS = 0.8
#: time constant with which drive and brakes follow a command
ACTUATOR_LAG_S = 0.1


@dataclass(frozen=True, slots=True)
class BicycleState:
    """Where the car is: position of the rear axle in the world, heading, speed, and what its actuators do."""

    x_m: float
    y_m: float
    heading_rad: float
    speed_mps: float
    acceleration_mps2: float = 0.0
    steering_rad: float = 0.0
    yaw_rate_radps: float = 0.0


def advance(
    state: BicycleState, acceleration_mps2: float, steering_rad: float, dt_s: float, mu: float = MU
) -> BicycleState:
    """Move the car by ``dt_s`` under commands that are bounded to what its actuators can do.

    The rear axle's kinematic bicycle: x' = v cos(heading), y' = v sin(heading), heading' = v tan(steering) / wheelbase.
    Braking stops at standstill; there is no reverse. Sideways acceleration v * heading' is bounded by what the friction
    circle leaves: sqrt((mu g)^2 - a^2); beyond it the car slides wide instead of turning.

    Source: R. Rajamani, Vehicle Dynamics and Control, 2nd ed., section 2.2 (kinematic model).
    """
    wanted = min(max(acceleration_mps2, MIN_ACCELERATION_MPS2), MAX_ACCELERATION_MPS2)
    acceleration = state.acceleration_mps2 + (wanted - state.acceleration_mps2) * (1 - math.exp(-dt_s / ACTUATOR_LAG_S))
    steering_goal = min(max(steering_rad, -MAX_STEERING_RAD), MAX_STEERING_RAD)
    turn = MAX_STEERING_RATE_RADPS * dt_s
    steering = state.steering_rad + min(max(steering_goal - state.steering_rad, -turn), turn)

    grip = mu * GRAVITY_MPS2
    acceleration = min(max(acceleration, -grip), grip)
    speed = state.speed_mps + acceleration * dt_s
    if speed <= 0.0:
        speed = 0.0
        acceleration = -state.speed_mps / dt_s
    mean_speed = 0.5 * (state.speed_mps + speed)
    yaw_rate = mean_speed * math.tan(steering) / WHEELBASE_M
    sideways_limit = math.sqrt(max(grip**2 - acceleration**2, 0.0))
    if abs(yaw_rate) * mean_speed > sideways_limit:
        yaw_rate = math.copysign(sideways_limit / mean_speed, yaw_rate)
    middle = state.heading_rad + 0.5 * yaw_rate * dt_s
    return BicycleState(
        state.x_m + mean_speed * dt_s * math.cos(middle),
        state.y_m + mean_speed * dt_s * math.sin(middle),
        math.remainder(state.heading_rad + yaw_rate * dt_s, 2 * math.pi),
        speed,
        acceleration,
        steering,
        yaw_rate,
    )
