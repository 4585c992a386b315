"""A small comma2k19 log: eight raw CAN frames with their DBC, and a second of everything else that the recorder sensed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FRAMES = "processed_log/CAN/raw_can"

DBC = """VERSION ""

NS_ :

BS_:

BU_: XXX

BO_ 36 KINEMATICS: 8 XXX
 SG_ YAW_RATE : 1|10@0+ (0.244,-125) [0|0] "deg/s" XXX
 SG_ ACCEL_X : 17|10@0+ (0.03589,-18.375) [0|0] "m/s^2" XXX
 SG_ ACCEL_Y : 33|10@0+ (0.03589,-18.375) [0|0] "m/s^2" XXX

BO_ 37 STEER_ANGLE_SENSOR: 8 XXX
 SG_ STEER_ANGLE : 3|12@0- (1.5,0) [0|0] "deg" XXX
 SG_ STEER_FRACTION : 39|4@0- (0.1,0) [0|0] "deg" XXX
 SG_ STEER_RATE : 35|12@0- (1,0) [0|0] "deg/s" XXX

BO_ 170 WHEEL_SPEEDS: 8 XXX
 SG_ WHEEL_SPEED_FR : 6|15@0+ (0.01,-67.67) [0|0] "km/h" XXX
 SG_ WHEEL_SPEED_FL : 22|15@0+ (0.01,-67.67) [0|0] "km/h" XXX
 SG_ WHEEL_SPEED_RR : 38|15@0+ (0.01,-67.67) [0|0] "km/h" XXX
 SG_ WHEEL_SPEED_RL : 54|15@0+ (0.01,-67.67) [0|0] "km/h" XXX

BO_ 180 SPEED: 8 XXX
 SG_ SPEED : 47|16@0+ (0.01,0) [0|0] "km/h" XXX
"""

#: 8 frames, 10 ms apart: every message twice; the steering frame says 1.5 deg * 2 + 0.1 deg * -1 = 2.9 deg
STEERING = bytes([0x00, 0x02, 0, 0, 0xF0, 0, 0, 0])
#: 6767 * 0.01 - 67.67 = 0 km/h front right; (6767 + 3600) * 0.01 - 67.67 = 36 km/h = 10 m/s on the others
WHEELS = np.array([6767, 10367, 10367, 10367], ">u2").tobytes()


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write the log into ``folder / "log"`` and its DBC beside it."""
    rng, log = np.random.default_rng(seed), folder / "log"
    start_s = 100.0 + seed
    save(log, f"{FRAMES}/t", start_s + 0.01 * np.arange(8))
    save(log, f"{FRAMES}/src", np.zeros(8, np.int64))
    save(log, f"{FRAMES}/address", np.array([36, 37, 170, 180] * 2))
    save(log, f"{FRAMES}/data", np.array([b"\x02\x00" * 4, STEERING, WHEELS, b"\x00" * 8] * 2, "S8"))
    for name, rate_hz, scale in (
        ("accelerometer", 104, 10.0),
        ("gyro", 104, 0.1),
        ("gyro_bias", 104, 0.01),
        ("magnetometer", 10, 30.0),
    ):
        save(log, f"processed_log/IMU/{name}/t", start_s + np.arange(rate_hz) / rate_hz)
        save(log, f"processed_log/IMU/{name}/value", rng.normal(0, scale, (rate_hz, 3)))
    for name, count in (("live_gnss_ublox", 9), ("live_gnss_qcom", 2)):
        # On the equator where it meets Greenwich, north by a thousandth of a degree each time, 5 m above the ellipsoid.
        fix = np.tile([0.0, 0.0, 9.0, 1.5e12, 5.0, 90.0], (count, 1))
        fix[:, 0], fix[:, 3] = 1e-3 * np.arange(count), 1.5e12 + 100.0 * np.arange(count)
        save(log, f"processed_log/GNSS/{name}/t", start_s + 0.1 * np.arange(count))
        save(log, f"processed_log/GNSS/{name}/value", fix)
    # Two cycles of three tracks and of one.
    save(log, "processed_log/CAN/radar/t", start_s + np.array([0.0, 0.001, 0.002, 0.05]))
    save(
        log, "processed_log/CAN/radar/value",
        [[50.0 + i, i - 1.0, -3.0, np.nan, np.nan, 0x210 + i, i == 0] for i in (0, 1, 5, 0)],
    )  # fmt: skip
    # Looking east (x), right south (y), down (z): of the earth's axes there, east is y, south is -z, down is -x.
    save(log, "global_pose/frame_times", start_s + 0.05 * np.arange(20))
    save(log, "global_pose/frame_positions", [[6378137.0 + 1.2, 2.0 * i, 0.0] for i in range(20)])
    save(log, "global_pose/frame_velocities", np.tile([0.0, 40.0, 0.0], (20, 1)))
    save(log, "global_pose/frame_orientations", np.tile([0.5, -0.5, -0.5, 0.5], (20, 1)))
    (folder / "car.dbc").write_text(DBC)
    return log, {"dbc": folder / "car.dbc"}


def save(log: Path, name: str, values: object) -> None:
    """Write one array as the set does: NumPy's format, no suffix."""
    (log / name).parent.mkdir(parents=True, exist_ok=True)
    with (log / name).open("wb") as file:
        np.save(file, np.asarray(values))
