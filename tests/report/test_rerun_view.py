"""A saved recording, read back with Rerun's own reader, holds every number at its own time; nothing is reported home."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("rerun")

from pathlib import Path

from random_episodes import random_episode
from recordings import column, read_back

from genba.data.vault import Vault
from genba.report.rerun_view import blueprint, load_rerun, quiet, write_recording
from genba.spec.embodiment import load_embodiment

EVERYTHING = load_embodiment(Path(__file__).parents[1] / "model" / "everything.toml")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(the vault's shard, the recording's chunks by entity path: list of record batches)."""
    folder = tmp_path_factory.mktemp("view")
    vault = Vault.open(folder / "vault", create=True, embodiments=[EVERYTHING])
    vault.append(random_episode(EVERYTHING, 3, num_steps=20, labelled=True))
    shard = vault.shard(vault.entries()[0])
    write_recording(folder / "episode.rrd", EVERYTHING, shard)
    return shard, read_back(folder / "episode.rrd")


def test_every_number_is_there_at_its_own_time(saved):
    shard, chunks = saved
    named = {c.name: (f"telemetry/{c.name}", c.dimensions) for c in EVERYTHING.telemetry}
    named |= {c.name: (f"entities/{c.name}", c.dimensions) for c in EVERYTHING.entities}
    named |= {kind: (kind, EVERYTHING.action.continuous) for kind in ("action", "label")}
    for name, (folder, dimensions) in named.items():
        stream = shard.streams[name].decode()
        for i, dimension in enumerate(dimensions):
            times, values = column(chunks[f"{folder}/{dimension.name}"], "scalars")
            np.testing.assert_array_equal(times, stream.times_ns)
            np.testing.assert_array_equal(np.concatenate(values).astype(np.float32), stream.values[:, i])
            assert [len(v) for v in values] == [len(np.atleast_2d(stream.sample(k))) for k in range(len(stream))]


def test_scores_and_relations_are_there_row_by_row(saved):
    shard, chunks = saved
    for name, path in (
        ("duration", "relations/duration"),
        ("action.line", "action/line"),
        ("label.line", "label/line"),
    ):
        stream = shard.streams[name].decode()
        times, values = column(chunks[path], "scalars")
        np.testing.assert_array_equal(times, stream.times_ns)
        np.testing.assert_array_equal(np.concatenate(values).astype(np.float32), stream.values.ravel())


def test_points_and_pictures_are_the_stored_ones(saved):
    shard, chunks = saved
    sweeps = shard.streams["lidar"].decode()
    times, values = column(chunks["world/base/lidar"], "positions")
    np.testing.assert_array_equal(times, sweeps.times_ns)
    for k, points in enumerate(values):
        np.testing.assert_array_equal(np.reshape(points, (-1, 3)).astype(np.float32), sweeps.sample(k))
    stored = shard.streams["front"]
    times, blobs = column(chunks["world/base/front"], "blob")
    np.testing.assert_array_equal(times, stored.times_ns)
    for k, (blob,) in enumerate(blobs):
        np.testing.assert_array_equal(np.asarray(blob, np.uint8), stored.blocks(k, k + 1)[0])


def test_layout_has_a_plot_per_channel_and_unit():
    _, rrb = load_rerun()
    views = []

    def walk(part):
        if isinstance(part, rrb.View):
            views.append(part)
        for inner in getattr(part, "contents", None) or ():
            if isinstance(inner, (rrb.View, rrb.Container)):
                walk(inner)

    walk(blueprint(EVERYTHING, [c.name for c in EVERYTHING.channels] + ["action"]).root_container)
    names = [str(view.name) for view in views]
    assert {"front", "space", "joints [rad]", "joints [id]", "force [N]", "action [rad/s]", "action [N]"} <= set(names)


def test_nothing_is_reported_home(tmp_path):
    """Writing makes neither a report's identity nor its queue, and starts no thread that sends one."""
    script = (
        "import os\nfrom genba.report.rerun_view import load_rerun\nrr, _ = load_rerun()\n"
        "r = rr.RecordingStream('x'); r.save('x.rrd'); r.log('a', rr.Scalars(1.0)); r.disconnect()\n"
        "print(*(open(f'/proc/self/task/{t}/comm').read().strip() for t in os.listdir('/proc/self/task')))\n"
        "print(os.environ['TELEMETRY_ENABLED'], 'FORCE_RERUN_ANALYTICS' in os.environ)\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    places = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "XDG_DATA_HOME": str(home / "data")}
    forced = {**os.environ, **places, "FORCE_RERUN_ANALYTICS": "1"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=forced, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    threads, state = done.stdout.strip().splitlines()
    assert "pipeline" not in threads
    assert state == "false False"
    # The viewer's own binary, in the environment that ``genba data view`` starts it in.
    shown = subprocess.run(
        [sys.executable, "-m", "rerun", "analytics", "config"],
        cwd=tmp_path, env=quiet(forced), capture_output=True, text=True,
    )  # fmt: skip
    # With reports on it would print their identity here.
    assert (shown.returncode, shown.stdout.strip()) == (0, "null"), shown.stderr
    assert not list(home.rglob("data/rerun/analytics/*.json")), "a queue of reports was begun"
    assert not list((home / ".local").rglob("*.json"))
