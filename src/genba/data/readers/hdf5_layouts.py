"""Where demonstrations and their signals are in an HDF5 file of ALOHA's or robomimic's layout.

Found by name and shape alone; no value is read but the first picture of each compressed camera. What they mean, and what
becomes of them, is in ``hdf5``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers import robot_facts
from genba.data.readers.hdf5_file import SafeDataset, SafeGroup, open_file
from genba.data.video_files import picture_size
from genba.errors import FormatError, ReaderError
from genba.spec.episode import ACTION

#: Why something beside what a layout is made of is left out.
UNKNOWN = "which the layout does not know"

#: A signal of more numbers per step than this is a picture or a map, not telemetry.
MAX_DIMENSIONS = 1024

#: The most bytes of decoded frames that one episode may ask for.
MAX_EPISODE_BYTES = 8 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
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
class Demonstration:
    """One episode: where it is and what is in it."""

    file: Path
    #: the group that holds it; empty for the whole file
    group: str
    length: int
    #: channel -> signal
    channels: Mapping[str, Signal]
    action: Signal
    left_out: Mapping[str, str]
    instruction: str
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """Every demonstration of a log."""

    layout: str
    machine: str
    #: as the log states it, or 0
    rate_hz: float
    demonstrations: tuple[Demonstration, ...]


def files_of(path: Path) -> list[Path]:
    """Return the files of a log in the order of their numbers."""
    if path.is_file():
        return [path]
    numbered = []
    for child in path.iterdir() if path.is_dir() else ():
        match = re.fullmatch(r"episode_(\d{1,9})\.(hdf5|h5)", child.name)
        if match and child.is_file():
            numbered.append((int(match.group(1)), child))
    return [child for _, child in sorted(numbered)]


def layout_of(root: SafeGroup) -> str:
    """Return ``"aloha"``, ``"robomimic"``, or nothing where it is neither."""
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


def look_through(path: Path) -> Log:
    """Find every demonstration and its signals.

    Raises:
        FormatError: another layout, or demonstrations whose signals differ.
        ReaderError: nothing there.
    """
    if not path.exists():
        raise ReaderError(f"{path}: no such file or folder, expected HDF5")
    files = files_of(path)
    if not files:
        raise ReaderError(f"{path}: got a folder without episode_<n>.hdf5, expected ALOHA's files")
    demonstrations: list[Demonstration] = []
    layout = machine = ""
    rate_hz = 0.0
    for file in files:
        with open_file(file) as root:
            layout = layout_of(root)
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
    return Log(layout=layout, machine=machine, rate_hz=rate_hz, demonstrations=tuple(demonstrations))


def _name_difference(first: Demonstration, other: Demonstration) -> None:
    one, two = ({**demo.channels, ACTION: demo.action} for demo in (first, other))
    name = next(name for name in sorted({*one, *two}) if one.get(name) != two.get(name))
    got, expected = (_outline(signals.get(name)) for signals in (two, one))
    where = f"{other.group or 'the file'}: {name}"
    raise FormatError(
        other.file, f"{where}: got {got}, expected {expected} as in {first.file.name} {first.group}".rstrip()
    )


def _outline(signal: Signal | None) -> str:
    return "nothing" if signal is None else f"{signal.kind} of {list(signal.shape)}"


def _aloha(file: Path, root: SafeGroup) -> Demonstration:
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
    known = ("observations", "action", "compress_len", *left_out)
    left_out |= {name: UNKNOWN for name in root.names() if name not in known}
    return _demonstration(file, root, "", action, "action", signals, left_out)


def _robomimic(file: Path, root: SafeGroup) -> tuple[str, float, list[Demonstration]]:
    data = root.group("data")
    assert data is not None
    environment = _json_object(data.text("env_args"))
    kwargs = environment.get("env_kwargs")
    stated: Any = kwargs.get("control_freq") if isinstance(kwargs, dict) else None
    rate_hz = float(stated) if type(stated) in (int, float) and 0 < stated <= 1e6 else 0.0
    problem = _json_object(data.text("problem_info"))
    masks = _masks(root)
    demonstrations = []
    # demo_2 before demo_10.
    for name in sorted(data.names(), key=lambda name: re.sub(r"\d+", lambda digits: digits.group().zfill(12), name)):
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
                signals += [(f"{key}", Signal(key=key, kind=s.kind, shape=s.shape, is_later=True)) for _, s in found]
                left_out |= more
            else:
                left_out[key] = "what no sensor sees" if key == "states" else "the same as obs one step later"
        known = ("actions", "obs", "rewards", "dones", *left_out)
        left_out |= {name: UNKNOWN for name in group.names() if name not in known}
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
    signals: Iterable[tuple[str, Signal]],
    left_out: Mapping[str, str],
    *,
    instruction: str = "",
    note: str = "",
) -> Demonstration:
    signals = list(signals)
    if len(action.shape) != 2 or action.dtype.kind not in "buif" or not 1 <= action.shape[1] <= MAX_DIMENSIONS:
        raise FormatError(
            file, f"{action.name}: got {action.dtype}{list(action.shape)}, expected numbers [steps, dimension]"
        )
    length = action.shape[0]
    if length < 1:
        raise FormatError(file, f"{action.name}: got no step, expected at least one")
    for _, signal in signals:
        found = dataset_at(group, signal.key).shape[0]
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
    return Demonstration(
        file=file,
        group=place,
        length=length,
        channels=dict(zip(names, (signal for _, signal in signals), strict=True)),
        action=Signal(key=action_key, kind="numbers", shape=action.shape[1:]),
        left_out=left_out,
        instruction=instruction,
        note=note,
    )


def _signals(group: SafeGroup, place: str, without: tuple[str, ...]) -> tuple[list[tuple[str, Signal]], dict[str, str]]:
    """Return what the members of a group become, and why others are left out."""
    signals: list[tuple[str, Signal]] = []
    left_out: dict[str, str] = {}
    for name in group.names():
        if name in without:
            continue
        key, dataset = f"{place}/{name}".strip("/"), group.dataset(name)
        if dataset is None:
            left_out[key] = UNKNOWN
            continue
        shape, kind = dataset.shape, dataset.dtype.kind
        if not shape:
            left_out[key] = "one value for the whole episode"
        elif dataset.dtype == np.uint8 and len(shape) == 4 and shape[3] == 3 and min(shape[1:3]) >= 8:
            signals.append((name, Signal(key=key, kind="pixels", shape=shape[1:3])))
        elif (kind == "S" and len(shape) == 1) or (
            dataset.dtype == np.uint8 and len(shape) == 2 and place.endswith("images")
        ):
            signals.append((name, Signal(key=key, kind="jpegs", shape=_first_size(dataset))))
        elif kind in "buif" and 1 <= math.prod(shape[1:]) <= MAX_DIMENSIONS:
            signals.append((name, Signal(key=key, kind="numbers", shape=shape[1:] or (1,))))
        else:
            left_out[key] = f"{dataset.dtype}{list(shape)}, for which there is no channel"
    return signals, left_out


def _first_size(dataset: SafeDataset) -> tuple[int, int]:
    if not dataset.shape[0]:
        raise FormatError(dataset.path, f"{dataset.name}: got no frame, expected one per step")
    try:
        size = picture_size(picture_bytes(dataset.read(0, 1)[0]))
    except ValueError as error:
        raise FormatError(dataset.path, f"{dataset.name}: frame 0: {error}") from error
    if min(size) < 8:
        raise FormatError(dataset.path, f"{dataset.name}: got {size[0]} x {size[1]} pixels, expected at least 8 a side")
    return size


def picture_bytes(row: Any) -> bytes:
    """Return one compressed picture without the zeros that it was padded with: no picture ends in one."""
    return (row if isinstance(row, bytes) else row.tobytes()).rstrip(b"\0")


def _dataset(file: Path, group: SafeGroup, name: str, place: str = "") -> SafeDataset:
    dataset = group.dataset(name) if name in group.names() else None
    if dataset is None:
        raise FormatError(file, f"{place}/{name}: got none, expected the action of each step")
    return dataset


def dataset_at(group: SafeGroup, key: str) -> SafeDataset:
    """Return the data set at a path that ``look_through`` found."""
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
