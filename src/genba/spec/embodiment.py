"""An embodiment: the facts of one machine type, read from TOML.

It names every channel that the machine senses (with modality, unit, rate, limits and frame), every action it accepts,
its control period and its deadline. It holds no choice of a model or a run. Read next: ``observation`` and ``action``,
which are data in these terms; ``normalise``, which turns them into a network's numbers.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from genba.config import read_toml, read_toml_text
from genba.errors import nearest
from genba.registry import EMBODIMENTS, look_up
from genba.spec.units import check_unit


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimension:
    """One named number of a channel."""

    name: str
    #: a symbol of ``units.UNITS``
    unit: str
    #: the least and greatest value that the machine can produce or accept, in ``unit``
    low: float
    high: float
    #: ``symlog`` for magnitudes that span decades: sign(x) * log(1 + |x| / linear_below)
    scale: Literal["linear", "symlog"] = "linear"
    #: where a symlog scale turns from linear to logarithmic, in ``unit``
    linear_below: float = 1.0
    #: number of classes where the value is a class number (unit ``id``), else 0
    categories: int = 0
    #: makes this many dimensions ``name_0`` ... of one entry
    repeat: int = 1

    def __post_init__(self) -> None:
        check_unit(self.unit)
        _check_name(self.name)
        if not self.low < self.high:
            raise ValueError(f"low: got {self.low}, expected less than high ({self.high})")
        if self.linear_below <= 0:
            raise ValueError(f"linear_below: got {self.linear_below}, expected more than 0")
        if self.repeat < 1:
            raise ValueError(f"repeat: got {self.repeat}, expected at least 1")
        if (self.unit == "id") != (self.categories > 0):
            raise ValueError(f"categories: got {self.categories} with unit {self.unit!r}, expected both or neither")
        if self.categories and (self.low != 0 or self.high != self.categories - 1):
            raise ValueError(f"low, high: got {self.low}, {self.high}, expected 0 and {self.categories - 1}")

    @property
    def width(self) -> int:
        """Numbers a network sees for this dimension: one, or one per class."""
        return self.categories or 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionDimension:
    """One named continuous number that the machine accepts at each control step."""

    name: str
    unit: str
    #: hard limits, in ``unit``
    low: float
    high: float
    #: greatest change per second, in ``unit`` per second; 0 where unlimited
    rate_limit: float = 0.0
    scale: Literal["linear", "symlog"] = "linear"
    linear_below: float = 1.0
    #: ``"channel.dimension"`` whose newest value the action is learnt relative to; empty for absolute
    relative_to: str = ""
    #: what the machine does when no action is there in time: keep the last value, or go to ``safe``
    on_fault: Literal["hold", "safe"] = "safe"
    #: the value of a safe stop, in ``unit``
    safe: float = 0.0

    def __post_init__(self) -> None:
        check_unit(self.unit)
        _check_name(self.name)
        if not self.low < self.high:
            raise ValueError(f"low: got {self.low}, expected less than high ({self.high})")
        if self.rate_limit < 0:
            raise ValueError(f"rate_limit: got {self.rate_limit}, expected at least 0")
        if self.linear_below <= 0:
            raise ValueError(f"linear_below: got {self.linear_below}, expected more than 0")
        if not self.low <= self.safe <= self.high:
            raise ValueError(f"safe: got {self.safe}, expected between low ({self.low}) and high ({self.high})")


@dataclass(frozen=True, kw_only=True, slots=True)
class TelemetryChannel:
    """Numbers at a steady rate; ``values`` float32 ``[samples, dimension]``."""

    name: str
    #: nominal samples per second of this channel's own clock
    rate_hz: float
    #: coordinate frame that the values are expressed in, or ``"none"``
    frame: str
    #: how far back a decision may look, in seconds
    history_s: float
    dimension: tuple[Dimension, ...]
    #: whether the machine must not act without it: where it is silent, stuck or not a number, the guard takes over
    needed: bool = False

    modality = "telemetry"

    def __post_init__(self) -> None:
        _check_channel(self.name, self.rate_hz, self.history_s)
        _check_distinct(self.dimensions)

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Every dimension, repeats written out."""
        return _expand(self.dimension)

    @property
    def num_samples(self) -> int:
        """Samples in a window."""
        return max(1, round(self.history_s * self.rate_hz))


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraChannel:
    """Images; ``values`` uint8 ``[samples, height, width, 3]``, RGB."""

    name: str
    rate_hz: float
    frame: str
    history_s: float
    height: int
    width: int

    modality = "camera"

    def __post_init__(self) -> None:
        _check_channel(self.name, self.rate_hz, self.history_s)
        if self.height < 8 or self.width < 8:
            raise ValueError(f"height, width: got {self.height}, {self.width}, expected at least 8")

    @property
    def num_samples(self) -> int:
        """Frames in a window."""
        return max(1, round(self.history_s * self.rate_hz))


@dataclass(frozen=True, kw_only=True, slots=True)
class PointsChannel:
    """Point clouds; ragged ``values`` float32 ``[points, 3 + attributes]``: x, y, z in metres in ``frame``, then what
    each return says beside its place.
    """

    name: str
    rate_hz: float
    frame: str
    history_s: float
    #: the most points that one sweep can hold
    max_points: int
    #: the farthest return, in metres
    range_max_m: float
    #: what a return says beside its place, e.g. its intensity; stored with it, not yet seen by a model
    attribute: tuple[Dimension, ...] = ()
    #: whether the guard takes over where its sweeps cannot be true: not numbers, repeated to the last bit, suddenly empty, with a
    #: clock that jumps back; and where it is silent for longer than ``max_silence_s``
    needed: bool = False
    #: how long it may be silent, in seconds; 0 for as long as any other channel
    max_silence_s: float = 0.0

    modality = "points"

    def __post_init__(self) -> None:
        _check_channel(self.name, self.rate_hz, self.history_s)
        if self.max_points < 1 or self.range_max_m <= 0:
            raise ValueError(f"max_points, range_max_m: got {self.max_points}, {self.range_max_m}, expected positive")
        if self.max_silence_s < 0:
            raise ValueError(f"max_silence_s: got {self.max_silence_s}, expected at least 0")
        _check_distinct(self.attributes)

    @property
    def attributes(self) -> tuple[Dimension, ...]:
        """Every attribute, repeats written out."""
        return _expand(self.attribute)

    @property
    def num_samples(self) -> int:
        """Sweeps in a window."""
        return max(1, round(self.history_s * self.rate_hz))


@dataclass(frozen=True, kw_only=True, slots=True)
class EntitiesChannel:
    """Sets of rows, one row per thing; ragged ``values`` float32 ``[rows, dimension]``. The newest snapshot counts."""

    name: str
    #: nominal snapshots per second; 0 where snapshots come with events
    rate_hz: float
    frame: str
    #: the most rows of one snapshot
    max_rows: int
    dimension: tuple[Dimension, ...]

    modality = "entities"

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.rate_hz < 0 or self.max_rows < 1:
            raise ValueError(f"rate_hz, max_rows: got {self.rate_hz}, {self.max_rows}, expected >= 0 and >= 1")
        _check_distinct(self.dimensions)

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Every dimension, repeats written out."""
        return _expand(self.dimension)


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """A number for each pair of rows of two entity channels; NaN where the pair is not related.

    Its stream is ragged like ``source``'s: ``values`` float32 ``[source rows, target max_rows]``, NaN beyond the
    target's rows.
    """

    name: str
    source: str
    target: str
    unit: str
    low: float
    high: float
    scale: Literal["linear", "symlog"] = "linear"
    linear_below: float = 1.0

    def __post_init__(self) -> None:
        check_unit(self.unit)
        _check_name(self.name)
        if not self.low < self.high:
            raise ValueError(f"low: got {self.low}, expected less than high ({self.high})")
        if self.linear_below <= 0:
            raise ValueError(f"linear_below: got {self.linear_below}, expected more than 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class InstructionChannel:
    """A sentence that says what is wanted; UTF-8 bytes are its tokens."""

    name: str
    #: the most UTF-8 bytes
    max_bytes: int = 64

    modality = "instruction"

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes: got {self.max_bytes}, expected at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A discrete action over an entity channel's rows.

    ``rank``: a score per row of ``over``; higher goes first. ``assign``: for each row of ``for_each``, a score per row
    of ``over``; allowed where the relation ``allowed_by`` (source ``for_each``, target ``over``) is not NaN.
    """

    name: str
    kind: Literal["rank", "assign"]
    over: str
    for_each: str = ""
    allowed_by: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if (self.kind == "assign") != bool(self.for_each and self.allowed_by):
            raise ValueError(
                f"for_each, allowed_by: got kind {self.kind!r}, expected both with 'assign', none with 'rank'"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Twins:
    """Two sensors that feel the same thing, so that one that has died shows against the other.

    Where one says more than ``speaks_above`` while the other stays below ``silent_below`` for ``for_s``, a policy is shown
    nothing more of the silent one (``spec.twins``), and training now and then leaves one of them out, so that a model can do without.
    """

    name: str
    #: ``"channel.dimension"`` of each, of one channel and in one unit
    compared: tuple[str, str]
    #: everything that each of them says, as ``"channel.dimension"``
    left_out: tuple[tuple[str, ...], tuple[str, ...]]
    #: mean of the last ``for_s`` below which one counts as silent, and above which it speaks, in the unit of ``compared``
    silent_below: float
    speaks_above: float
    #: over how long, in seconds
    for_s: float

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not 0 < self.silent_below < self.speaks_above:
            raise ValueError(
                f"silent_below, speaks_above: got {self.silent_below}, {self.speaks_above}, expected 0 < silent_below < speaks_above"
            )
        if self.for_s <= 0:
            raise ValueError(f"for_s: got {self.for_s}, expected more than 0")
        if set(self.left_out[0]) & set(self.left_out[1]):
            raise ValueError("left_out: a dimension stands on both sides, expected two sensors")


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """The rhythm of a machine."""

    #: time between control steps, in seconds
    period_s: float
    #: within what time of its observation an action must be there, in seconds
    deadline_s: float
    #: control steps that one inference predicts
    chunk_length: int = 1
    #: control steps executed before the next inference
    execute_length: int = 1
    #: how far ahead the world model looks, in control steps
    horizon: int = 1

    def __post_init__(self) -> None:
        if self.period_s <= 0 or self.deadline_s <= 0:
            raise ValueError(f"period_s, deadline_s: got {self.period_s}, {self.deadline_s}, expected more than 0")
        if not 1 <= self.execute_length <= self.chunk_length:
            raise ValueError(
                f"execute_length: got {self.execute_length}, expected between 1 and chunk_length ({self.chunk_length})"
            )
        if self.horizon < 1:
            raise ValueError(f"horizon: got {self.horizon}, expected at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionSpace:
    """Everything that a policy decides for a machine; nothing for one that only senses (a sensor network)."""

    continuous: tuple[ActionDimension, ...] = ()
    choice: tuple[Choice, ...] = ()

    def __post_init__(self) -> None:
        _check_distinct(self.continuous)
        _check_distinct(self.choice)


Channel = TelemetryChannel | CameraChannel | PointsChannel | EntitiesChannel | InstructionChannel


@dataclass(frozen=True, kw_only=True, slots=True)
class Embodiment:
    """The facts of one machine type."""

    #: ``"kind/name@version"``
    id: str
    #: one sentence
    description: str
    control: Control
    #: nothing for a machine that only senses
    action: ActionSpace = field(default_factory=ActionSpace)
    telemetry: tuple[TelemetryChannel, ...] = ()
    camera: tuple[CameraChannel, ...] = ()
    points: tuple[PointsChannel, ...] = ()
    entities: tuple[EntitiesChannel, ...] = ()
    relation: tuple[Relation, ...] = ()
    instruction: tuple[InstructionChannel, ...] = ()
    #: frame -> what it is; every channel's frame must be here or ``"none"``
    frames: tuple[str, ...] = field(default=())
    twins: tuple[Twins, ...] = ()

    def __post_init__(self) -> None:
        if "/" not in self.id or "@" not in self.id:
            raise ValueError(f"id: got {self.id!r}, expected 'kind/name@version'")
        _check_distinct((*self.channels, *self.relation))
        if not self.channels:
            raise ValueError(
                "got no channel, expected at least one of telemetry, camera, points, entities, instruction"
            )
        for channel in self.channels:
            frame = getattr(channel, "frame", "none")
            if frame != "none" and frame not in self.frames:
                raise ValueError(
                    f"{channel.name}.frame: got {frame!r}, expected one of frames{nearest(frame, self.frames)}"
                )
        entity_names = {channel.name for channel in self.entities}
        for relation in self.relation:
            for end in (relation.source, relation.target):
                if end not in entity_names:
                    raise ValueError(f"relation {relation.name}: no entity channel {end!r}{nearest(end, entity_names)}")
        relations = {relation.name: relation for relation in self.relation}
        for choice in self.action.choice:
            for end in filter(None, (choice.over, choice.for_each)):
                if end not in entity_names:
                    raise ValueError(f"choice {choice.name}: no entity channel {end!r}{nearest(end, entity_names)}")
            if choice.kind == "assign":
                relation = relations.get(choice.allowed_by)
                if relation is None or (relation.source, relation.target) != (choice.for_each, choice.over):
                    raise ValueError(
                        f"choice {choice.name}: allowed_by: got {choice.allowed_by!r}, expected a relation from "
                        f"{choice.for_each!r} to {choice.over!r}"
                    )
        for dimension in self.action.continuous:
            if dimension.relative_to:
                self.locate(dimension.relative_to)
        _check_distinct(self.twins)
        for twins in self.twins:
            (channel, _), (other, _) = (self.locate(reference) for reference in twins.compared)
            if channel != other:
                raise ValueError(f"twins {twins.name}: compared: got channels {channel!r} and {other!r}, expected one")
            for reference in (*twins.left_out[0], *twins.left_out[1]):
                name, _ = self.locate(reference)
                if any(d.categories for c in self.telemetry if c.name == name for d in c.dimensions):
                    raise ValueError(f"twins {twins.name}: left_out: {name} holds class numbers, expected measurements")

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every channel, telemetry first."""
        return (*self.telemetry, *self.camera, *self.points, *self.entities, *self.instruction)

    def channel(self, name: str) -> Channel:
        """Return one channel.

        Raises:
            KeyError: naming the nearest known channel.
        """
        for channel in self.channels:
            if channel.name == name:
                return channel
        raise KeyError(f"{self.id} has no channel {name!r}{nearest(name, [c.name for c in self.channels])}")

    def locate(self, reference: str) -> tuple[str, int]:
        """Resolve ``"channel.dimension"`` of a telemetry channel to its name and column.

        Raises:
            ValueError: no such channel or dimension.
        """
        channel_name, _, dimension_name = reference.partition(".")
        for channel in self.telemetry:
            if channel.name == channel_name:
                names = [dimension.name for dimension in channel.dimensions]
                if dimension_name in names:
                    return channel_name, names.index(dimension_name)
                raise ValueError(
                    f"{reference}: {channel_name} has no dimension {dimension_name!r}{nearest(dimension_name, names)}"
                )
        raise ValueError(
            f"{reference}: no telemetry channel {channel_name!r}{nearest(channel_name, [c.name for c in self.telemetry])}"
        )


def load_embodiment(id_or_path: str | Path) -> Embodiment:
    """Read an embodiment by its registered id or from a TOML file.

    Raises:
        ConfigError: the id is not known, or the file does not hold the facts of an embodiment.
    """
    if str(id_or_path).endswith(".toml"):
        return read_toml(id_or_path, Embodiment)
    package, _, name = look_up(EMBODIMENTS, str(id_or_path), kind="embodiment").partition(":")
    text = importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")
    return read_toml_text(text, Embodiment, where=f"{package}/{name}")


def _expand(dimensions: tuple[Dimension, ...]) -> tuple[Dimension, ...]:

    out: list[Dimension] = []
    for dimension in dimensions:
        if dimension.repeat == 1:
            out.append(dimension)
        else:
            out += [
                dataclasses.replace(dimension, name=f"{dimension.name}_{i}", repeat=1) for i in range(dimension.repeat)
            ]
    return tuple(out)


def _check_name(name: str) -> None:
    if not name.replace("_", "").isalnum() or not name.isascii() or name != name.lower():
        raise ValueError(f"name: got {name!r}, expected lower-case letters, digits and underscores")


def _check_channel(name: str, rate_hz: float, history_s: float) -> None:
    _check_name(name)
    if rate_hz <= 0 or history_s <= 0:
        raise ValueError(f"rate_hz, history_s: got {rate_hz}, {history_s}, expected more than 0")


def _check_distinct(named: tuple) -> None:  # type: ignore[type-arg]
    names = [item.name for item in named]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"name: {name!r} stands twice, expected distinct names")
