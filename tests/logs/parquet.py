"""A small log for the reader ``parquet``: an episode of every modality but cameras."""

from pathlib import Path

import numpy as np

from genba.data.writers.parquet import ParquetWriter
from genba.spec.embodiment import (
    ActionDimension,
    ActionSpace,
    CameraChannel,
    Choice,
    Control,
    Dimension,
    Embodiment,
    EntitiesChannel,
    PointsChannel,
    Relation,
    TelemetryChannel,
)  # fmt: skip
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream, dense, ragged

FACTS = Embodiment(
    id="log/written@1",
    description="A machine with one channel of each kind.",
    control=Control(period_s=0.1, deadline_s=0.1),
    action=ActionSpace(
        continuous=(ActionDimension(name="force", unit="N", low=-1.0, high=1.0),),
        choice=(Choice(name="sequence", kind="rank", over="orders"),),
    ),
    telemetry=(
        TelemetryChannel(
            name="arm", rate_hz=100.0, frame="none", history_s=0.5,
            dimension=(Dimension(name="angle", unit="rad", low=-9.0, high=9.0, repeat=3),),
        ),
    ),
    camera=(CameraChannel(name="eye", rate_hz=10.0, frame="none", history_s=0.1, height=8, width=9),),
    points=(
        PointsChannel(
            name="lidar", rate_hz=10.0, frame="none", history_s=0.1, max_points=50, range_max_m=100.0,
        ),
    ),
    entities=(
        EntitiesChannel(
            name="orders", rate_hz=0.0, frame="none", max_rows=6,
            dimension=(Dimension(name="due", unit="s", low=-9.0, high=9.0),),
        ),
    ),
    relation=(Relation(name="near", source="orders", target="orders", unit="1", low=0.0, high=1.0),),
)  # fmt: skip


def episode(seed: int = 0) -> Episode:
    """Return an episode with missing values, an empty sweep and odd times."""
    rng = np.random.default_rng(seed)

    def rows(*counts: int, width: int) -> list[np.ndarray]:
        return [rng.random((count, width), np.float32) for count in counts]

    arm = rng.standard_normal((20, 3)).astype(np.float32)
    arm[3, 1] = np.nan
    near = rows(4, 0, width=6)
    near[0][:, 4:] = np.nan
    streams = {
        "arm": dense(10**18 + 10_000_001 * np.arange(20), arm),
        "eye": Stream(np.array([5, 7], np.int64), rng.integers(0, 255, (2, 8, 9, 3), np.uint8)),
        "lidar": ragged([10, 20, 30], rows(7, 0, 3, width=3)),
        "orders": ragged([10, 25], rows(4, 0, width=1)),
        "near": ragged([10, 25], near),
        "action": dense([1, 2, 3], rng.random((3, 1))),
        "action.sequence": ragged([10], [rng.random(4, np.float32)]),
        "trace.marks": dense([1, 2], [[0.0], [1.0]]),
    }
    metadata = EpisodeMetadata(
        episode_id=f"log/written@1/{seed}", embodiment_id=FACTS.id, owner="工場", outcome={"late": 2.5},
        calibration={"base_from_eye": (1.0, 0.1)}, source="made",
    )  # fmt: skip
    return Episode(metadata, streams)


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write two episodes; return their folder and the reader's options."""
    path = folder / "written"
    ParquetWriter().write(path, FACTS, [episode(2 * seed), episode(2 * seed + 1)])
    return path, {}
