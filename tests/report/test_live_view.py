"""What is watched while it happens is what the recorder keeps, and reaches a viewer on this computer; nothing goes elsewhere."""

import socket

import numpy as np
import pytest

pytest.importorskip("rerun")

import rerun
from recordings import column, read_back

from genba.bench.worker import Job, Runner
from genba.registry import task
from genba.report.live_view import LiveRecorder, start_viewer, stop_viewer
from genba.spec.task import Picture

SEED = 1_000_003


def watched(recorder, policy="reactive"):
    runner = Runner(
        Job(task="arm/grip@1", policy=policy, policy_name=policy, record_as="watch", keep=frozenset([SEED])),
        recorder=recorder,
    )
    try:
        return runner.run(SEED)
    finally:
        runner.close()
        recorder.close()


def test_every_sample_and_action_stands_at_its_own_time(tmp_path):
    arm = task("arm/grip@1").embodiment
    done = watched(LiveRecorder(arm, path=tmp_path / "arm.rrd"))
    assert done.episode is not None
    chunks = read_back(tmp_path / "arm.rrd")
    for channel in arm.telemetry:
        stream = done.episode.streams[channel.name]
        assert len(stream) > 10
        for i, dimension in enumerate(channel.dimensions):
            times, values = column(chunks[f"telemetry/{channel.name}/{dimension.name}"], "Scalars:scalars")
            np.testing.assert_array_equal(times, stream.times_ns)
            np.testing.assert_array_equal(np.ravel(values), stream.values[:, i].astype(np.float64))
    told = done.episode.streams["action"]
    times, values = column(chunks[f"action/{arm.action.continuous[0].name}"], "Scalars:scalars")
    np.testing.assert_array_equal(times, told.times_ns)
    np.testing.assert_array_equal(np.ravel(values), told.values[:, 0].astype(np.float64))


def test_a_viewer_on_this_computer_gets_it(tmp_path, capfd):
    viewer, port = start_viewer(("--serve-grpc",))
    try:
        recorder = LiveRecorder(task("arm/grip@1").embodiment, path=None, port=port)
        done = watched(recorder)
        assert done.episode is not None
        got = rerun.RecordingStream("asked")
        got.connect_grpc(f"rerun+http://127.0.0.1:{port}/proxy")
        got.flush(timeout_sec=10)
        got.disconnect()
        assert viewer.poll() is None
    finally:
        stop_viewer(viewer)
    with socket.socket() as one:
        assert one.connect_ex(("127.0.0.1", port)) != 0


def test_pictures_and_outcome_stand_at_the_end(tmp_path):
    arm = task("arm/grip@1").embodiment
    recorder = LiveRecorder(arm, path=tmp_path / "arm.rrd")
    png = Picture(title="a", caption="", media_type="image/png", data=b"\x89PNG")
    gif = Picture(title="b", caption="", media_type="image/gif", data=b"GIF89a")
    recorder.show([gif, png], "# how it ended")
    recorder.close()
    from rerun.chunk import RrdReader

    static = {str(c.entity_path) for c in RrdReader(tmp_path / "arm.rrd").stream().to_chunks() if c.is_static}
    assert {"/pictures/0", "/episode"} <= static
    assert "/pictures/1" not in static
