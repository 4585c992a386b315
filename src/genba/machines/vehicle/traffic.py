"""The parent's side of the SUMO process: start it, ask it, end it.

Holds no road and no ego. Read next: ``traffic_process``, what runs on the other side, or ``simulator``, who asks.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from typing import IO

import numpy as np

from genba.errors import SimulatorError
from genba.machines.vehicle.conditions import Standing
from genba.machines.vehicle.network import SYSTEM_PACKAGES, Control, load_road, sumo_home
from genba.machines.vehicle.scenario import Scenario
from genba.machines.vehicle.traffic_process import HEADER

#: Columns of a row of objects.
ID, KIND, X, Y, HEADING, SPEED, LENGTH, WIDTH = range(8)
NUM_COLUMNS = 8
#: how long one answer may take before the process counts as hung
TIMEOUT_S = 60.0


class Traffic:
    """Other cars, people and the light, moved by SUMO in a process of its own."""

    #: what runs there
    program = "genba.machines.vehicle.traffic_process"

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._log: IO[bytes] | None = None

    def reset(
        self,
        scenario: Scenario,
        standing: Sequence[Standing] = (),
        *,
        control: Control = "signalised",
        is_signal_off: bool = False,
    ) -> tuple[np.ndarray, int, np.ndarray]:
        """Begin a scenario, with vehicles that stand where they are put, and run its warm-up.

        Returns:
            The ego's front bumper x, y, heading, speed ``[4]``; the light's colour (0 none, 1 red, 2 yellow, 3 green); the
            others, float64 ``[objects, 8]`` in the columns above.

        Raises:
            SimulatorError: SUMO cannot start or refuses.
        """
        request = {**scenario.to_json(), "net_file": str(load_road(control).net_file)}
        request |= {"has_light": control == "signalised", "is_signal_off": is_signal_off}
        request["standing"] = [asdict(vehicle) for vehicle in standing]
        numbers = self._ask(b"R", json.dumps(request).encode())
        return numbers[:4], int(numbers[4]), numbers[5:].reshape(-1, NUM_COLUMNS)

    def step(self, x_m: float, y_m: float, heading_rad: float, speed_mps: float) -> tuple[int, np.ndarray]:
        """Put the ego's front bumper somewhere, let 0.1 s pass, and return the light's colour and the others.

        Raises:
            SimulatorError: SUMO broke off.
        """
        numbers = self._ask(b"S", struct.pack("<4d", x_m, y_m, heading_rad, speed_mps))
        return int(numbers[0]), numbers[1:].reshape(-1, NUM_COLUMNS)

    def close(self) -> None:
        """End the process."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        home = sumo_home()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.program, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "SUMO_HOME": str(home), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        theirs.close()
        ours.settimeout(TIMEOUT_S)
        self._socket = ours
        return ours

    def _ask(self, kind: bytes, payload: bytes) -> np.ndarray:
        connection = self._socket or self._start()
        try:
            connection.sendall(HEADER.pack(kind, len(payload)) + payload)
            reply, length = HEADER.unpack(_receive(connection, HEADER.size))
            body = _receive(connection, length)
        except OSError as error:
            status = self._process.poll() if self._process else None
            said = self._said()
            self.close()
            raise SimulatorError(
                f"vehicle: the SUMO process broke off (exit status {status}, {error}){said}; run "
                f"`python -c 'import libsumo'` to see why; it needs: apt-get install {SYSTEM_PACKAGES}"
            ) from error
        if reply == b"E":
            text = body.decode() + self._said()
            self.close()
            advice = f"; install: apt-get install {SYSTEM_PACKAGES}" if "ImportError" in text else ""
            raise SimulatorError(f"vehicle: SUMO: {text}{advice}")
        return np.frombuffer(body, np.float64)

    def _said(self) -> str:
        """Return the last lines that SUMO printed: libsumo's own exceptions say only ``Process Error``."""
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return ": " + " | ".join(lines[-4:]) if lines else ""


def _receive(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionError("it closed its end")
        parts += part
    return bytes(parts)
