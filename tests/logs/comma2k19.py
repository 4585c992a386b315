"""A small comma2k19 log: two seconds of raw CAN frames, and the DBC that decodes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FRAMES = "processed_log/CAN/raw_can"

#: (frame id, message, [(signal, start, length, sign, scale, offset, unit)])
MESSAGES = (
    (36, "KINEMATICS", (("YAW_RATE", 1, 10, "+", 0.244, -125, "deg/s"), ("ACCEL_X", 17, 10, "+", 0.03589, -18.375, "m/s^2"),
                        ("ACCEL_Y", 33, 10, "+", 0.03589, -18.375, "m/s^2"))),
    (37, "STEER_ANGLE_SENSOR", (("STEER_ANGLE", 3, 12, "-", 1.5, 0, "deg"), ("STEER_FRACTION", 39, 4, "-", 0.1, 0, "deg"),
                                ("STEER_RATE", 35, 12, "-", 1, 0, "deg/s"))),
    (170, "WHEEL_SPEEDS", tuple((f"WHEEL_SPEED_{wheel}", start, 15, "+", 0.01, -67.67, "km/h")
                                for wheel, start in (("FR", 6), ("FL", 22), ("RR", 38), ("RL", 54)))),
    (180, "SPEED", (("SPEED", 47, 16, "+", 0.01, 0, "km/h"),)),
)  # fmt: skip


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write the log as ``folder / "log"`` and its DBC beside it; return the log and the reader's options."""
    rng, log, count = np.random.default_rng(seed), folder / "log", 160
    (log / FRAMES).mkdir(parents=True)
    arrays = {
        "t": 100.0 + seed + np.arange(count) * 0.0125,
        "src": np.zeros(count, np.int64),
        "address": np.resize(np.array([frame_id for frame_id, _, _ in MESSAGES]), count),
        "data": np.array([rng.integers(0, 256, 8, np.uint8).tobytes()[:-1] + b"\x01" for _ in range(count)], "S8"),
    }
    for name, array in arrays.items():
        with (log / FRAMES / name).open("wb") as file:
            np.save(file, array)
    lines = ['VERSION ""', "NS_ :", "BS_:", "BU_: XXX", ""]
    for frame_id, message, signals in MESSAGES:
        lines.append(f"BO_ {frame_id} {message}: 8 XXX")
        for name, start, length, sign, scale, offset, unit in signals:
            lines.append(f' SG_ {name} : {start}|{length}@0{sign} ({scale},{offset}) [0|0] "{unit}" XXX')
        lines.append("")
    (folder / "car.dbc").write_text("\n".join(lines), encoding="ascii")
    return log, {"dbc": folder / "car.dbc"}
