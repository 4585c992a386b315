"""Reads demonstrations in HDF5, in the two layouts that robot learning uses: ALOHA's and robomimic's.

*ALOHA*: one episode per file, ``/observations/{qpos,qvel,effort}``, ``/observations/images/<camera>`` (pixels, or JPEGs padded
with zeros), ``/action``. A log is one file, or a folder of ``episode_<n>.hdf5``. *robomimic* (and LIBERO): many demonstrations
per file, ``/data/<demo>/{actions,obs/<signal>,rewards,dones}``.

Neither states a clock: samples are one control step apart from 0. ALOHA does not even state the rate, so ``rate_hz`` must be
given (its authors recorded at 50 Hz); robomimic states it where its environment does (``control_freq``). Signals keep their
names. ALOHA's two arms of 14 numbers are known (radians, grippers from 0 to 1); everything else has unit ``1``. What an
action led to (``rewards``, ``dones``) is stamped one step later. Left out, and said so: the simulator's inner ``states``, which
no sensor sees, ``next_obs``, which repeats ``obs``, and maps of depth. Any other layout is refused with what was found.

Source: Zhao et al., "Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware", RSS 2023, arXiv 2304.13705, and its
code (MIT); robomimic v0.3 data set structure (MIT).
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers import robot_facts
from genba.data.readers.hdf5_file import SafeDataset, SafeGroup, is_hdf5, open_file
from genba.data.readers.hdf5_layouts import (
    Demonstration,
    Log,
    Signal,
    dataset_at,
    files_of,
    layout_of,
    look_through,
    picture_bytes,
)
from genba.data.readers.log_facts import EMBODIMENT_OPTION, held_to
from genba.data.readers.options import provenance
from genba.data.video_files import decode_picture
from genba.errors import DataError, FormatError, ReaderError
from genba.spec.embodiment import ActionSpace, CameraChannel, Embodiment, InstructionChannel, TelemetryChannel
from genba.spec.episode import ACTION, Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS

#: ALOHA's arms: left, then right; each six joints and a gripper.
_ARM = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
ALOHA_JOINTS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in _ARM)

#: What ALOHA's numbers are, joint by joint; its efforts are motor currents in no stated unit.
ALOHA_UNITS = {"qpos": ("rad",) * 6 + ("1",), "qvel": ("rad/s",) * 6 + ("1",), "action": ("rad",) * 6 + ("1",)}

_LOG = logging.getLogger(__name__)


class Hdf5Reader:
    """Demonstrations in ALOHA's or robomimic's HDF5."""

    name = "hdf5"
    description = "HDF5 in ALOHA's layout (a file or a folder of episode_<n>.hdf5) or robomimic's"
    options: Mapping[str, str] = {
        "rate_hz": "control steps per second; needed where the file does not state it (ALOHA's authors recorded at 50)",
        "embodiment": EMBODIMENT_OPTION,
        "channel_order": "of compressed images: rgb, as JPEG defines it, or bgr where the recorder swapped them (default: rgb)",
    }

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` is such a file, or a folder of ALOHA's; never raises."""
        path = Path(path)
        try:
            files = files_of(path)
            if not files or not is_hdf5(files[0]):
                return False
            with open_file(files[0]) as root:
                layout = layout_of(root)
            return layout == "aloha" or (layout == "robomimic" and path.is_file())
        except (ReaderError, OSError):
            return False
        except DataError:
            # It begins as HDF5, and h5py is missing: reading it says so, which "no log that a reader knows" would not.
            return True

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts of the machine: as the user gives them, or derived from all values.

        Raises:
            FormatError: a file that its layout does not allow.
            ReaderError: an option is missing or does not fit the log.
        """
        provenance(self, options)
        path = Path(path)
        log = look_through(path)
        return _facts(path, log, _rate(path, log, options), options)

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield every demonstration, in the order of their numbers.

        Args:
            path: the file, or ALOHA's folder.
            options: ``rate_hz``, ``embodiment``, ``channel_order``; ``owner``, ``site``, ``jurisdiction``, ``agreement``.

        Raises:
            FormatError: a file that its layout does not allow, by name and numbers.
            ReaderError: an option is missing or does not fit the log.
        """
        given, path = provenance(self, options), Path(path)
        order = str(options.get("channel_order") or "rgb")
        if order not in ("rgb", "bgr"):
            raise ReaderError(f"{path}: option channel_order: got {order!r}, expected 'rgb' or 'bgr'")
        log = look_through(path)
        rate_hz = _rate(path, log, options)
        facts = _facts(path, log, rate_hz, options)
        for key, reason in log.demonstrations[0].left_out.items():
            _LOG.warning("%s: %s is left out: %s", path, key, reason)
        for demonstration in log.demonstrations:
            episode = _read(log, demonstration, facts, rate_hz, given, is_swapped=order == "bgr")
            if options.get("embodiment"):
                episode = held_to(facts, episode, path, given=True)
            yield episode


def _rate(path: Path, log: Log, options: Mapping[str, Any]) -> float:
    given = options.get("rate_hz")
    if given is None:
        if not log.rate_hz:
            hint = "; ALOHA's authors recorded at 50 Hz" if log.layout == "aloha" else ""
            raise ReaderError(f"{path}: states no rate; give the option rate_hz{hint}")
        return log.rate_hz
    try:
        rate_hz = float(given)
    except (TypeError, ValueError):
        rate_hz = math.nan
    if not 0 < rate_hz <= 1e6:
        raise ReaderError(f"{path}: option rate_hz: got {given!r}, expected a number more than 0")
    if log.rate_hz and abs(rate_hz - log.rate_hz) > 1e-9 * rate_hz:
        raise ReaderError(
            f"{path}: option rate_hz: got {rate_hz:g}, but the file states {log.rate_hz:g} (control_freq)"
        )
    return rate_hz


def _facts(path: Path, log: Log, rate_hz: float, options: Mapping[str, Any]) -> Embodiment:
    """Derive the machine's facts from the signals and from every value."""
    first, ranges = log.demonstrations[0], robot_facts.Ranges()
    for demonstration in log.demonstrations:
        with open_file(demonstration.file) as root:
            group = _group(root, demonstration)
            for name, signal in (*demonstration.channels.items(), ("", demonstration.action)):
                if signal.kind != "numbers":
                    continue
                dataset = dataset_at(group, signal.key)
                for block in dataset.blocks():
                    ranges.add(name, _numbers(dataset, block, signal))
    clock: dict[str, Any] = {"rate_hz": rate_hz, "history_s": 1 / rate_hz, "frame": "none"}
    longest = max(len(demonstration.instruction.encode()) for demonstration in log.demonstrations)
    try:
        facts = Embodiment(
            id="log/unnamed@1",
            description=f"Derived from HDF5 in {log.layout}'s layout; limits are not stated.",
            control=robot_facts.control(rate_hz),
            action=ActionSpace(
                continuous=robot_facts.action_dimensions(
                    _names(log, first.action), ranges.limits(""), _units(log, first.action)
                )
            ),
            telemetry=tuple(
                TelemetryChannel(
                    name=name,
                    dimension=robot_facts.dimensions(_names(log, signal), ranges.limits(name), _units(log, signal)),
                    **clock,
                )
                for name, signal in first.channels.items()
                if signal.kind == "numbers"
            ),
            camera=tuple(
                CameraChannel(name=name, height=signal.shape[0], width=signal.shape[1], **clock)
                for name, signal in first.channels.items()
                if signal.kind != "numbers"
            ),
            instruction=(InstructionChannel(name="instruction", max_bytes=max(64, longest)),) if longest else (),
        )
    except ValueError as error:
        raise FormatError(first.file, f"not the facts of a machine ({error})") from error
    derived = robot_facts.named_by_content(log.machine, facts)
    return robot_facts.given_or_derived(path, options.get("embodiment"), derived)


def _names(log: Log, signal: Signal) -> list[str]:
    """Return a name for each number: ALOHA's joints where it has all of them, else the signal's with its place."""
    short = signal.key.rpartition("/")[2]
    if log.layout == "aloha" and signal.shape == (len(ALOHA_JOINTS),):
        return list(ALOHA_JOINTS)
    if signal.shape == (1,):
        return [short]
    return [f"{short}_{'_'.join(map(str, place))}" for place in np.ndindex(signal.shape)]


def _units(log: Log, signal: Signal) -> tuple[str, ...]:
    short = signal.key.rpartition("/")[2]
    if log.layout == "aloha" and signal.shape == (len(ALOHA_JOINTS),) and short in ALOHA_UNITS:
        return ALOHA_UNITS[short] * 2
    return ("1",) * signal.size


def _group(root: SafeGroup, demonstration: Demonstration) -> SafeGroup:
    for name in filter(None, demonstration.group.split("/", 1)):
        inner = root.group(name)
        assert inner is not None, demonstration.group
        root = inner
    return root


def _numbers(dataset: SafeDataset, rows: np.ndarray, signal: Signal) -> np.ndarray:
    values, inexact = robot_facts.to_float32(dataset.path, dataset.name, rows.reshape(len(rows), signal.size))
    if inexact:
        _LOG.warning(
            "%s: %s: %d whole numbers beyond 2**24 are rounded to float32", dataset.path, dataset.name, inexact
        )
    return values


def _read(
    log: Log,
    demonstration: Demonstration,
    facts: Embodiment,
    rate_hz: float,
    given: Mapping[str, Any],
    *,
    is_swapped: bool,
) -> Episode:
    step_ns = SECOND_NS / rate_hz
    times_ns = np.rint(np.arange(demonstration.length) * step_ns).astype(np.int64)
    state, streams, outcome = hashlib.sha256(demonstration.instruction.encode()), {}, {}
    with open_file(demonstration.file) as root:
        group = _group(root, demonstration)
        for name, signal in (*demonstration.channels.items(), (ACTION, demonstration.action)):
            dataset = dataset_at(group, signal.key)
            rows = dataset.read()
            state.update(f"{signal.key} {rows.dtype.str} {rows.shape}".encode() + np.ascontiguousarray(rows).tobytes())
            if signal.kind == "numbers":
                values = _numbers(dataset, rows, signal)
            else:
                values = rows if signal.kind == "pixels" else _pictures(dataset, rows, signal, is_swapped)
            streams[name] = Stream(times_ns + round(step_ns) if signal.is_later else times_ns, values)
            if signal.key == "rewards" and signal.size == 1:
                outcome["return"] = float(np.nansum(values, dtype=np.float64))
    left_out = f"; left out: {', '.join(demonstration.left_out)}" if demonstration.left_out else ""
    place = f" {demonstration.group}" if demonstration.group else ""
    metadata = EpisodeMetadata(
        episode_id=f"{facts.id}/{state.hexdigest()[:16]}",
        embodiment_id=facts.id,
        **given,
        instruction=demonstration.instruction,
        outcome=outcome,
        # The rate is said here too, because most of these files do not say it.
        source=f"{log.layout} HDF5 {demonstration.file.name}{place} at {rate_hz:g} Hz{demonstration.note}{left_out}",
    )
    return Episode(metadata, streams)


def _pictures(dataset: SafeDataset, rows: np.ndarray, signal: Signal, is_swapped: bool) -> np.ndarray:
    height, width = signal.shape
    frames = np.empty((len(rows), height, width, 3), np.uint8)
    for i, row in enumerate(rows):
        try:
            frame = decode_picture(picture_bytes(row), height, width)
        except ValueError as error:
            raise FormatError(dataset.path, f"{dataset.name}: frame {i}: {error}") from error
        frames[i] = frame[..., ::-1] if is_swapped else frame
    return frames
