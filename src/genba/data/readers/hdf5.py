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
import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers import robot_facts
from genba.data.readers.hdf5_file import SafeDataset, SafeGroup, is_hdf5, open_file
from genba.data.readers.options import provenance
from genba.data.video_files import decode_picture, picture_size
from genba.errors import FormatError, ReaderError
from genba.spec.embodiment import ActionSpace, CameraChannel, Embodiment, InstructionChannel, TelemetryChannel
from genba.spec.episode import ACTION, Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS

#: ALOHA's arms: left, then right; each six joints and a gripper.
_ARM = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
ALOHA_JOINTS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in _ARM)

#: What ALOHA's numbers are, joint by joint; its efforts are motor currents in no stated unit.
ALOHA_UNITS = {"qpos": ("rad",) * 6 + ("1",), "qvel": ("rad/s",) * 6 + ("1",), "action": ("rad",) * 6 + ("1",)}

#: A signal of more numbers per step than this is a picture or a map, not telemetry.
MAX_DIMENSIONS = 1024

#: The most bytes of decoded frames that one episode may ask for.
MAX_EPISODE_BYTES = 8 << 30

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Signal:
    """What one data set of a demonstration becomes."""

    #: where it is, below the demonstration
    key: str
    kind: str  # "numbers", "pixels" or "jpegs"
    #: numbers of one step, or height and width
    shape: tuple[int, ...]
    #: whether it is what the action led to
    is_later: bool = False

    @property
    def size(self) -> int:
        """Numbers of one step."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Demonstration:
    """One episode: where it is and what is in it."""

    file: Path
    #: the group that holds it; empty for the whole file
    group: str
    length: int
    #: channel -> signal
    channels: Mapping[str, _Signal]
    action: _Signal
    left_out: Mapping[str, str]
    instruction: str
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Log:
    """Every demonstration of a log."""

    layout: str
    machine: str
    #: as the log states it, or 0
    rate_hz: float
    demonstrations: tuple[_Demonstration, ...]


class Hdf5Reader:
    """Demonstrations in ALOHA's or robomimic's HDF5."""

    name = "hdf5"
    description = "HDF5 in ALOHA's layout (a file or a folder of episode_<n>.hdf5) or robomimic's"
    options: Mapping[str, str] = {
        "rate_hz": "control steps per second; needed where the file does not state it (ALOHA's authors recorded at 50)",
        "embodiment": robot_facts.EMBODIMENT_OPTION,
        "channel_order": "of compressed images: rgb, as JPEG defines it, or bgr where the recorder swapped them (default: rgb)",
    }

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` is such a file, or a folder of ALOHA's; never raises."""
        path = Path(path)
        try:
            files = _files(path)
            if not files or not is_hdf5(files[0]):
                return False
            with open_file(files[0]) as root:
                layout = _layout(root)
            return layout == "aloha" or (layout == "robomimic" and path.is_file())
        except (ReaderError, OSError):
            return False

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts of the machine: as the user gives them, or derived from all values.

        Raises:
            FormatError: a file that its layout does not allow.
            ReaderError: an option is missing or does not fit the log.
        """
        provenance(self, options)
        path = Path(path)
        log = _look_through(path)
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
        log = _look_through(path)
        rate_hz = _rate(path, log, options)
        facts = _facts(path, log, rate_hz, options)
        for key, reason in log.demonstrations[0].left_out.items():
            _LOG.warning("%s: %s is left out: %s", path, key, reason)
        for demonstration in log.demonstrations:
            episode = _read(log, demonstration, facts, rate_hz, given, is_swapped=order == "bgr")
            if options.get("embodiment"):
                robot_facts.check_against(path, facts, episode)
            yield episode


def _files(path: Path) -> list[Path]:
    """Return the files of a log in the order of their numbers."""
    if path.is_file():
        return [path]
    numbered = []
    for child in path.iterdir() if path.is_dir() else ():
        match = re.fullmatch(r"episode_(\d{1,9})\.(hdf5|h5)", child.name)
        if match and child.is_file():
            numbered.append((int(match.group(1)), child))
    return [child for _, child in sorted(numbered)]


def _layout(root: SafeGroup) -> str:
    names = root.names()
    if "observations" in names and "action" in names and root.group("observations") is not None:
        return "aloha"
    data = root.group("data") if "data" in names else None
    if data is not None and any(_actions(data, name) is not None for name in data.names()[:1]):
        return "robomimic"
    return ""


def _actions(data: SafeGroup, name: str) -> SafeDataset | None:
    demonstration = data.group(name)
    return demonstration.dataset("actions") if demonstration is not None else None


def _look_through(path: Path) -> _Log:
    """Find every demonstration and its signals; no value is read yet, but for the first picture of each camera."""
    if not path.exists():
        raise ReaderError(f"{path}: no such file or folder, expected HDF5")
    files = _files(path)
    if not files:
        raise ReaderError(f"{path}: got a folder without episode_<n>.hdf5, expected ALOHA's files")
    demonstrations: list[_Demonstration] = []
    layout = machine = ""
    rate_hz = 0.0
    for file in files:
        with open_file(file) as root:
            layout = _layout(root)
            if layout == "aloha":
                demonstrations.append(_aloha(file, root))
                machine = "aloha sim" if root.flag("sim") else "aloha"
            elif layout == "robomimic" and path.is_file():
                machine, rate_hz, found = _robomimic(file, root)
                demonstrations += found
            else:
                raise FormatError(
                    file,
                    f"got {', '.join(root.names()[:8]) or 'nothing'} at the top, expected ALOHA's (observations, action) or "
                    f"robomimic's (data/<demo>/actions)",
                )
    first = demonstrations[0]
    for other in demonstrations[1:]:
        if (other.channels, other.action) != (first.channels, first.action):
            _name_difference(first, other)
    return _Log(layout=layout, machine=machine, rate_hz=rate_hz, demonstrations=tuple(demonstrations))


def _name_difference(first: _Demonstration, other: _Demonstration) -> None:
    one, two = ({**demo.channels, ACTION: demo.action} for demo in (first, other))
    name = next(name for name in sorted({*one, *two}) if one.get(name) != two.get(name))
    got, expected = (_outline(signals.get(name)) for signals in (two, one))
    where = f"{other.group or 'the file'}: {name}"
    raise FormatError(
        other.file, f"{where}: got {got}, expected {expected} as in {first.file.name} {first.group}".rstrip()
    )


def _outline(signal: _Signal | None) -> str:
    return "nothing" if signal is None else f"{signal.kind} of {list(signal.shape)}"


def _aloha(file: Path, root: SafeGroup) -> _Demonstration:
    observations = root.group("observations")
    assert observations is not None
    action = _dataset(file, root, "action")
    signals, left_out = _signals(observations, "observations", ("images",))
    images = observations.group("images") if "images" in observations.names() else None
    if images is not None:
        found, more = _signals(images, "observations/images", ())
        signals, left_out = [*signals, *found], {**left_out, **more}
    if "base_action" in root.names():
        # What the wheels of a mobile ALOHA were told; it belongs to the arms' action in no fixed order.
        left_out["base_action"] = "the command of a mobile base, beside the arms' action"
    return _demonstration(file, root, "", action, "action", signals, left_out)


def _robomimic(file: Path, root: SafeGroup) -> tuple[str, float, list[_Demonstration]]:
    data = root.group("data")
    assert data is not None
    environment = _json_object(data.text("env_args"))
    kwargs = environment.get("env_kwargs")
    stated: Any = kwargs.get("control_freq") if isinstance(kwargs, dict) else None
    rate_hz = float(stated) if type(stated) in (int, float) and 0 < stated <= 1e6 else 0.0
    problem = _json_object(data.text("problem_info"))
    masks = _masks(root)
    demonstrations = []
    for name in sorted(data.names(), key=lambda name: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", name)]):
        group = data.group(name)
        if group is None:
            raise FormatError(file, f"data/{name}: got no group, expected a demonstration")
        action = _dataset(file, group, "actions", f"data/{name}")
        observations = group.group("obs") if "obs" in group.names() else None
        signals, left_out = _signals(observations, "obs", ()) if observations is not None else ([], {})
        for key, is_kept in (("rewards", True), ("dones", True), ("states", False), ("next_obs", False)):
            if key not in group.names():
                continue
            if is_kept:
                found, more = _signals(group, "", tuple(n for n in group.names() if n != key))
                signals += [(f"{key}", _Signal(key=key, kind=s.kind, shape=s.shape, is_later=True)) for _, s in found]
                left_out |= more
            else:
                left_out[key] = "what no sensor sees" if key == "states" else "the same as obs one step later"
        said = problem.get("language_instruction") or _json_object(group.text("ep_meta")).get("lang") or ""
        demonstrations.append(
            _demonstration(
                file,
                group,
                f"data/{name}",
                action,
                "actions",
                signals,
                left_out,
                instruction=" ".join(map(str, said)) if isinstance(said, list) else str(said),
                note=f"; in {', '.join(masks[name])}" if name in masks else "",
            )
        )
    machine = str(environment.get("env_name") or "unknown")
    return f"robomimic {machine}", rate_hz, demonstrations


def _demonstration(
    file: Path,
    group: SafeGroup,
    place: str,
    action: SafeDataset,
    action_key: str,
    signals: Iterable[tuple[str, _Signal]],
    left_out: Mapping[str, str],
    *,
    instruction: str = "",
    note: str = "",
) -> _Demonstration:
    signals = list(signals)
    if len(action.shape) != 2 or action.dtype.kind not in "buif" or not 1 <= action.shape[1] <= MAX_DIMENSIONS:
        raise FormatError(
            file, f"{action.name}: got {action.dtype}{list(action.shape)}, expected numbers [steps, dimension]"
        )
    length = action.shape[0]
    if length < 1:
        raise FormatError(file, f"{action.name}: got no step, expected at least one")
    for _, signal in signals:
        found = _at(group, signal.key).shape[0]
        if found != length:
            raise FormatError(
                file,
                f"{place + '/' if place else ''}{signal.key}: got {found} steps, expected {length} as in {action.name}",
            )
        if signal.kind != "numbers" and length * signal.size * 3 > MAX_EPISODE_BYTES:
            raise FormatError(
                file,
                f"{signal.key}: got {length} frames of {list(signal.shape)}, {length * signal.size * 3} bytes, expected at "
                f"most {MAX_EPISODE_BYTES}; split the episode",
            )
    if any("\ud800" <= c <= "\udfff" for c in instruction):
        raise FormatError(file, f"{place}: got an instruction that is not text ({instruction!r})")
    # Reserved first, so that a signal of the same name gets another.
    names = robot_facts.distinct_names(["instruction", ACTION, *(name for name, _ in signals)])[2:]
    return _Demonstration(
        file=file,
        group=place,
        length=length,
        channels=dict(zip(names, (signal for _, signal in signals), strict=True)),
        action=_Signal(key=action_key, kind="numbers", shape=action.shape[1:]),
        left_out=left_out,
        instruction=instruction,
        note=note,
    )


def _signals(
    group: SafeGroup, place: str, without: tuple[str, ...]
) -> tuple[list[tuple[str, _Signal]], dict[str, str]]:
    """Return what the members of a group become, and why others are left out."""
    signals: list[tuple[str, _Signal]] = []
    left_out: dict[str, str] = {}
    for name in group.names():
        if name in without:
            continue
        key, dataset = f"{place}/{name}".strip("/"), group.dataset(name)
        if dataset is None:
            left_out[key] = "a group of its own, which the layout does not know"
            continue
        shape, kind = dataset.shape, dataset.dtype.kind
        if not shape:
            left_out[key] = "one value for the whole episode"
        elif dataset.dtype == np.uint8 and len(shape) == 4 and shape[3] == 3 and min(shape[1:3]) >= 8:
            signals.append((name, _Signal(key=key, kind="pixels", shape=shape[1:3])))
        elif (kind == "S" and len(shape) == 1) or (
            dataset.dtype == np.uint8 and len(shape) == 2 and place.endswith("images")
        ):
            signals.append((name, _Signal(key=key, kind="jpegs", shape=_first_size(dataset))))
        elif kind in "buif" and 1 <= math.prod(shape[1:]) <= MAX_DIMENSIONS:
            signals.append((name, _Signal(key=key, kind="numbers", shape=shape[1:] or (1,))))
        else:
            left_out[key] = f"{dataset.dtype}{list(shape)}, for which there is no channel"
    return signals, left_out


def _first_size(dataset: SafeDataset) -> tuple[int, int]:
    if not dataset.shape[0]:
        raise FormatError(dataset.path, f"{dataset.name}: got no frame, expected one per step")
    try:
        size = picture_size(_blob(dataset.read(0, 1)[0]))
    except ValueError as error:
        raise FormatError(dataset.path, f"{dataset.name}: frame 0: {error}") from error
    if min(size) < 8:
        raise FormatError(dataset.path, f"{dataset.name}: got {size[0]} x {size[1]} pixels, expected at least 8 a side")
    return size


def _blob(row: Any) -> bytes:
    """Return one compressed picture without the zeros that it was padded with: no picture ends in one."""
    return (row if isinstance(row, bytes) else row.tobytes()).rstrip(b"\0")


def _dataset(file: Path, group: SafeGroup, name: str, place: str = "") -> SafeDataset:
    dataset = group.dataset(name) if name in group.names() else None
    if dataset is None:
        raise FormatError(file, f"{place}/{name}: got none, expected the action of each step")
    return dataset


def _at(group: SafeGroup, key: str) -> SafeDataset:
    *parents, name = key.split("/")
    for parent in parents:
        inner = group.group(parent)
        assert inner is not None, key
        group = inner
    dataset = group.dataset(name)
    assert dataset is not None, key
    return dataset


def _masks(root: SafeGroup) -> dict[str, list[str]]:
    """Return for each demonstration the named selections that it belongs to."""
    masks: dict[str, list[str]] = {}
    group = root.group("mask") if "mask" in root.names() else None
    for name in group.names() if group is not None else ():
        dataset = group.dataset(name) if group is not None else None
        if dataset is None or dataset.dtype.kind != "S" or len(dataset.shape) != 1:
            continue
        for demonstration in dataset.read():
            masks.setdefault(demonstration.decode("utf-8", "replace"), []).append(f"mask {name}")
    return masks


def _json_object(text: str) -> dict[str, Any]:
    """Return what an attribute says, or nothing where it is no JSON object: it only adds to what the data say."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _rate(path: Path, log: _Log, options: Mapping[str, Any]) -> float:
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


def _facts(path: Path, log: _Log, rate_hz: float, options: Mapping[str, Any]) -> Embodiment:
    """Derive the machine's facts from the signals and from every value."""
    first, ranges = log.demonstrations[0], robot_facts.Ranges()
    for demonstration in log.demonstrations:
        with open_file(demonstration.file) as root:
            group = _group(root, demonstration)
            for name, signal in (*demonstration.channels.items(), ("", demonstration.action)):
                if signal.kind != "numbers":
                    continue
                dataset = _at(group, signal.key)
                for block in dataset.blocks():
                    ranges.add(name, _numbers(dataset, block, signal))
    telemetry = tuple(
        TelemetryChannel(
            name=name,
            rate_hz=rate_hz,
            frame="none",
            history_s=1 / rate_hz,
            dimension=robot_facts.dimensions(_names(log, signal), ranges.limits(name), _units(log, signal)),
        )
        for name, signal in first.channels.items()
        if signal.kind == "numbers"
    )
    cameras = tuple(
        CameraChannel(
            name=name,
            rate_hz=rate_hz,
            frame="none",
            history_s=1 / rate_hz,
            height=signal.shape[0],
            width=signal.shape[1],
        )
        for name, signal in first.channels.items()
        if signal.kind != "numbers"
    )
    longest = max(len(demonstration.instruction.encode()) for demonstration in log.demonstrations)
    try:
        facts = robot_facts.named_by_content(
            log.machine,
            Embodiment(
                id="log/unnamed@1",
                description=f"Derived from HDF5 in {log.layout}'s layout; limits are not stated.",
                control=robot_facts.control(rate_hz),
                action=ActionSpace(
                    continuous=robot_facts.action_dimensions(
                        _names(log, first.action), ranges.limits(""), _units(log, first.action)
                    )
                ),
                telemetry=telemetry,
                camera=cameras,
                instruction=(InstructionChannel(name="instruction", max_bytes=max(64, longest)),) if longest else (),
            ),
        )
    except ValueError as error:
        raise FormatError(first.file, f"not the facts of a machine ({error})") from error
    return robot_facts.given_embodiment(path, options["embodiment"], facts) if options.get("embodiment") else facts


def _names(log: _Log, signal: _Signal) -> list[str]:
    """Return a name for each number: ALOHA's joints where it has all of them, else the signal's with its place."""
    short = signal.key.rpartition("/")[2]
    if log.layout == "aloha" and signal.shape == (len(ALOHA_JOINTS),):
        return list(ALOHA_JOINTS)
    if signal.shape == (1,):
        return [short]
    return [f"{short}_{'_'.join(map(str, place))}" for place in np.ndindex(signal.shape)]


def _units(log: _Log, signal: _Signal) -> tuple[str, ...]:
    short = signal.key.rpartition("/")[2]
    if log.layout == "aloha" and signal.shape == (len(ALOHA_JOINTS),) and short in ALOHA_UNITS:
        return ALOHA_UNITS[short] * 2
    return ("1",) * signal.size


def _group(root: SafeGroup, demonstration: _Demonstration) -> SafeGroup:
    for name in filter(None, demonstration.group.split("/", 1)):
        inner = root.group(name)
        assert inner is not None, demonstration.group
        root = inner
    return root


def _numbers(dataset: SafeDataset, rows: np.ndarray, signal: _Signal) -> np.ndarray:
    values, inexact = robot_facts.to_float32(dataset.path, dataset.name, rows.reshape(len(rows), signal.size))
    if inexact:
        _LOG.warning(
            "%s: %s: %d whole numbers beyond 2**24 are rounded to float32", dataset.path, dataset.name, inexact
        )
    return values


def _read(
    log: _Log,
    demonstration: _Demonstration,
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
            dataset = _at(group, signal.key)
            rows = dataset.read()
            # Trailing zeros are not kept by numbers of bytes that are one string each, so their type is part of it.
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


def _pictures(dataset: SafeDataset, rows: np.ndarray, signal: _Signal, is_swapped: bool) -> np.ndarray:
    height, width = signal.shape
    frames = np.empty((len(rows), height, width, 3), np.uint8)
    for i, row in enumerate(rows):
        try:
            frame = decode_picture(_blob(row), height, width)
        except ValueError as error:
            raise FormatError(dataset.path, f"{dataset.name}: frame {i}: {error}") from error
        frames[i] = frame[..., ::-1] if is_swapped else frame
    return frames
