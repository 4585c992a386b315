"""A machine at work, as it happens: a recorder that also sends every sample and every action to Rerun.

Samples go over as they come, on their own clocks, laid out as ``rerun_view`` lays out what is stored. On a screen the episode
is held back to the machine's own time, or a share of it; a file is written as fast as the machine simulates.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from genba.errors import DataError
from genba.report.rerun_view import blueprint, load_rerun, log_stream, name_lines, quiet
from genba.runtime.recorder import Recorder
from genba.spec.action import Action
from genba.spec.embodiment import Embodiment
from genba.spec.episode import ACTION
from genba.spec.streams import Stream, ragged
from genba.spec.task import Picture
from genba.spec.units import SECOND_NS

#: how long a viewer may take to listen, in seconds
VIEWER_WAIT_S = 30.0
#: and how long to end once it was told to
VIEWER_END_S = 5.0
#: stills of an episode's end that have a place in the layout
NUM_PICTURES = 2


class LiveRecorder(Recorder):
    """A recorder whose episodes can be watched while they happen.

    Args:
        embodiment: the machine.
        path: a ``.rrd`` file to write; None to send to a viewer.
        port: where a viewer on this computer listens, if ``path`` is None.
        speed: machine seconds per second of watching; 0 for as fast as it goes.

    Raises:
        DataError: Rerun is not installed, or the file cannot be written.
    """

    def __init__(self, embodiment: Embodiment, *, path: Path | None, port: int = 0, speed: float = 0.0) -> None:
        self._rr, _ = load_rerun()
        self._recording = self._rr.RecordingStream("genba")
        streams = [*(channel.name for channel in (*embodiment.channels, *embodiment.relation)), ACTION]
        layout = blueprint(embodiment, streams, num_pictures=NUM_PICTURES)
        try:
            if path is None:
                address = f"rerun+http://127.0.0.1:{port}/proxy"
                self._recording.connect_grpc(address, default_blueprint=layout)
            else:
                self._recording.save(str(path), default_blueprint=layout)
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path or 'viewer'}: cannot be written to: {error}") from error
        name_lines(self._rr, self._recording, embodiment, streams)
        self._speed, self._began = speed, (0, 0.0)
        super().__init__(embodiment)

    def reset(self) -> None:
        """Begin a new episode."""
        super().reset()
        self._began = (0, 0.0)

    def samples(self, samples: Mapping[str, Stream]) -> None:
        """Add new samples of any channels, and send them."""
        super().samples(samples)
        filled = {name: stream for name, stream in samples.items() if len(stream)}
        for name, stream in filled.items():
            log_stream(self._rr, self._recording, self.embodiment, name, stream)
        if self._speed and filled:
            self._keep_pace(max(int(stream.times_ns[-1]) for stream in filled.values()))

    def action(self, time_ns: int, action: Action | None) -> None:
        """Add what the machine was told, and send it."""
        super().action(time_ns, action)
        if action is None:
            return
        at = np.array([time_ns], np.int64)
        if action.continuous is not None:
            told = Stream(at, np.asarray(action.continuous, np.float32)[None])
            log_stream(self._rr, self._recording, self.embodiment, ACTION, told)
        for name, scores in action.choices.items():
            chosen = ragged([time_ns], [np.asarray(scores, np.float32)])
            log_stream(self._rr, self._recording, self.embodiment, f"{ACTION}.{name}", chosen)

    def show(self, pictures: Sequence[Picture], text: str) -> None:
        """Log what the episode came to: its pictures, and a text in Markdown."""
        self._recording.log("episode", self._rr.TextDocument(text, media_type="text/markdown"), static=True)
        # Rerun shows no GIF; an animation stays what the report is for.
        stills = [picture for picture in pictures if picture.media_type == "image/png"]
        for i, picture in enumerate(stills[:NUM_PICTURES]):
            image = self._rr.EncodedImage(contents=picture.data, media_type=picture.media_type)
            self._recording.log(f"pictures/{i}", image, static=True)

    def close(self) -> None:
        """Write out what is under way."""
        self._recording.flush()
        self._recording.disconnect()

    def _keep_pace(self, time_ns: int) -> None:
        first_ns, began_s = self._began
        if not began_s:
            self._began = (time_ns, time.monotonic())
            return
        ahead_s = (time_ns - first_ns) / SECOND_NS / self._speed - (time.monotonic() - began_s)
        if ahead_s > 0:
            time.sleep(ahead_s)


def start_viewer(
    arguments: Sequence[str] = ("--expect-data-soon", "--hide-welcome-screen"),
) -> tuple[subprocess.Popen[bytes], int]:
    """Start Rerun's viewer, silenced, and wait until it listens; return the process and its port on this computer.

    Args:
        arguments: of ``python -m rerun``; ``("--serve-grpc",)`` starts one without a window.

    Raises:
        DataError: it ended or did not listen.
    """
    load_rerun()
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    command = [sys.executable, "-m", "rerun", "--bind", "127.0.0.1", "--port", str(port), *arguments]
    viewer = subprocess.Popen(command, env=quiet(os.environ), start_new_session=True)
    until_s = time.monotonic() + VIEWER_WAIT_S
    while time.monotonic() < until_s:
        if viewer.poll() is not None:
            raise DataError(f"Rerun's viewer ended with status {viewer.returncode}; --save FILE.rrd needs no screen")
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return viewer, port
        time.sleep(0.1)
    stop_viewer(viewer)
    raise DataError(f"Rerun's viewer did not listen within {VIEWER_WAIT_S:g} s; --save FILE.rrd needs no screen")


def stop_viewer(viewer: subprocess.Popen[bytes]) -> None:
    """End a viewer: the process that was started and the program that it started in turn."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(viewer.pid, signal.SIGTERM)
        viewer.wait()
        until_s = time.monotonic() + VIEWER_END_S
        while time.monotonic() < until_s:
            os.killpg(viewer.pid, 0)
            time.sleep(0.05)
        os.killpg(viewer.pid, signal.SIGKILL)
    viewer.wait()
