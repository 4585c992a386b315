"""The car's bus: its telemetry as frames by a DBC, over a virtual CAN bus and back, and a log of them on request.

Each sample of ``telemetry`` is two frames of ``urban_car.dbc``, sent by one node and received by another; what a policy then sees
is what those frames hold. A field's step is a twentieth of the signal's noise or less: the observation stays the same within half a
step. It holds neither sensors nor noise. Read next: ``simulator``, which sends what it measured.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from genba.errors import SimulatorError
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS

DBC = Path(__file__).with_name("urban_car.dbc")
#: message -> the columns of ``telemetry`` that it carries, by signal
MESSAGES = {"LONGITUDINAL": {"SPEED": 0, "ACCELERATION": 1}, "LATERAL": {"YAW_RATE": 2, "STEERING_ANGLE": 3}}
NUM_SIGNALS = sum(len(columns) for columns in MESSAGES.values())
#: what the log calls the bus
CHANNEL = "can0"
#: a counter's bits
COUNTER_VALUES = 16

_NUMBERS = itertools.count()


class CanBus:
    """Two nodes on one virtual bus: the car's, which sends, and its computer's, which receives.

    Args:
        log: where every frame is written as ``candump -l`` writes it; an existing file is replaced. None for no log.
    """

    def __init__(self, log: Path | None = None) -> None:
        can, cantools = _libraries()
        self._can = can
        self._database = cantools.database.load_file(DBC)
        self._messages = [(self._database.get_message_by_name(name), columns) for name, columns in MESSAGES.items()]
        # A name that no other bus of this process has. The clock is the simulation's, not the computer's.
        where = {"interface": "virtual", "channel": f"genba-car-{next(_NUMBERS)}", "preserve_timestamps": True}
        self._car, self._computer = can.Bus(**where), can.Bus(**where)
        self._log = None if log is None else can.CanutilsLogWriter(str(log), channel=CHANNEL)
        self._count = 0

    def cross(self, telemetry: Stream) -> Stream:
        """Send samples over the bus and return what was received: the same clock, values in steps of the DBC.

        Args:
            telemetry: float32 ``[samples, 4]`` as the embodiment's channel of that name.

        Raises:
            SimulatorError: a number that the DBC has no room for, or a frame that did not arrive.
        """
        for time_ns, sample in zip(telemetry.times_ns.tolist(), telemetry.values.tolist(), strict=True):
            self._send(time_ns, sample)
        rows = np.empty((len(telemetry), NUM_SIGNALS), np.float32)
        times_ns = np.empty(len(telemetry), np.int64)
        for i in range(len(telemetry)):
            times_ns[i], rows[i] = self._receive()
        return Stream(times_ns, rows)

    def close(self) -> None:
        """Leave the bus, and end the log."""
        self._car.shutdown()
        self._computer.shutdown()
        if self._log is not None:
            self._log.stop()

    def _send(self, time_ns: int, sample: list[float]) -> None:
        for message, columns in self._messages:
            said = {signal: sample[column] for signal, column in columns.items()}
            try:
                data = message.encode(said | {"COUNTER": self._count % COUNTER_VALUES})
            except Exception as error:  # cantools' own, which has no place for what is wrong here
                raise SimulatorError(f"vehicle: {DBC.name}: {message.name}: cannot hold {said} ({error})") from error
            frame = self._can.Message(
                timestamp=time_ns / SECOND_NS, arbitration_id=message.frame_id, data=data, is_extended_id=False
            )
            self._car.send(frame)
            if self._log is not None:
                self._log.on_message_received(frame)
        self._count += 1

    def _receive(self) -> tuple[int, list[float]]:
        """Return the next sample's time and numbers, put together from its frames."""
        row, times_s = [float("nan")] * NUM_SIGNALS, set()
        for message, columns in self._messages:
            frame = self._computer.recv(timeout=0)
            if frame is None or frame.arbitration_id != message.frame_id:
                raise SimulatorError(f"vehicle: bus: got {frame or 'no frame'}, expected one of {message.name}")
            said: dict[str, Any] = message.decode(frame.data)
            for signal, column in columns.items():
                row[column] = float(said[signal])
            times_s.add(frame.timestamp)
        (time_s,) = times_s
        return round(time_s * SECOND_NS), row


def _libraries() -> tuple[Any, Any]:
    # Imported here: they come with an extra, and the car drives without its bus too.
    try:
        import can
        import cantools
    except ModuleNotFoundError as error:
        raise SimulatorError(
            "vehicle: a CAN bus needs python-can and cantools; install them with: pip install 'genba[can]'"
        ) from error
    return can, cantools
