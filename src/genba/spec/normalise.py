"""From physical units to a network's numbers and back, the same code for training and for the machine.

``Normalizer.pack`` turns an observation into named float32 and boolean arrays of fixed shapes (``packed_shapes``):

* telemetry ``c``: ``c.values`` ``[samples, width]``, ``c.mask`` ``[samples, width]`` (False: missing), ``c.age_s``
  ``[samples]`` (0 = now, negative = past); right-aligned, so the newest sample is last; a class number is one-hot;
* points ``c``: ``c.values`` ``[sweeps, max_points, 3]`` divided by the range, ``c.mask`` ``[sweeps, max_points]``,
  ``c.age_s`` ``[sweeps]``; right-aligned;
* camera ``c``: ``c.values`` uint8 ``[frames, height, width, 3]``, ``c.mask`` ``[frames]``, ``c.age_s`` ``[frames]``;
* entities ``c``: ``c.values`` ``[max_rows, width]``, ``c.mask`` ``[max_rows]``, ``c.age_s`` ``[1]``;
* relation ``r``: ``r.values`` and ``r.mask`` ``[source max_rows, target max_rows]``;
* instruction ``c``: ``c.values`` int64 ``[max_bytes]`` (byte + 1, 0 = padding), ``c.mask`` ``[max_bytes]``;
* ``action.base`` ``[dimension]``, where there are continuous actions: the scaled values actions are relative to.

Read next: ``genba.model.tokenizers``, which takes exactly these arrays.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genba.errors import SpecError
from genba.spec.embodiment import Dimension, Embodiment, EntitiesChannel
from genba.spec.episode import ACTION
from genba.spec.observation import Observation
from genba.spec.statistics import Statistics, action_base, apply_scale, undo_scale
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS

#: Normalised numbers are bounded here, so that a broken sensor cannot drown everything else.
CLIP = 8.0

#: Entity channels with more rows than this are cut to the rows that are there (``crop_rows``) before a network sees them.
CROP_ABOVE = 16


def width(dimensions: tuple[Dimension, ...]) -> int:
    """Return how many numbers a network sees for these dimensions."""
    return sum(dimension.width for dimension in dimensions)


def packed_shapes(embodiment: Embodiment) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return name -> (shape, dtype) of everything ``pack`` gives for this embodiment."""
    floats, booleans = np.dtype(np.float32), np.dtype(np.bool_)
    shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    for telemetry in embodiment.telemetry:
        shape = (telemetry.num_samples, width(telemetry.dimensions))
        shapes[f"{telemetry.name}.values"] = (shape, floats)
        shapes[f"{telemetry.name}.mask"] = (shape, booleans)
        shapes[f"{telemetry.name}.age_s"] = (shape[:1], floats)
    for camera in embodiment.camera:
        shapes[f"{camera.name}.values"] = ((camera.num_samples, camera.height, camera.width, 3), np.dtype(np.uint8))
        shapes[f"{camera.name}.mask"] = ((camera.num_samples,), booleans)
        shapes[f"{camera.name}.age_s"] = ((camera.num_samples,), floats)
    for points in embodiment.points:
        shapes[f"{points.name}.values"] = ((points.num_samples, points.max_points, 3), floats)
        shapes[f"{points.name}.mask"] = ((points.num_samples, points.max_points), booleans)
        shapes[f"{points.name}.age_s"] = ((points.num_samples,), floats)
    for entities in embodiment.entities:
        shapes[f"{entities.name}.values"] = ((entities.max_rows, width(entities.dimensions)), floats)
        shapes[f"{entities.name}.mask"] = ((entities.max_rows,), booleans)
        shapes[f"{entities.name}.age_s"] = ((1,), floats)
    rows = {channel.name: channel.max_rows for channel in embodiment.entities}
    for relation in embodiment.relation:
        pair = (rows[relation.source], rows[relation.target])
        shapes[f"{relation.name}.values"] = (pair, floats)
        shapes[f"{relation.name}.mask"] = (pair, booleans)
    for instruction in embodiment.instruction:
        shapes[f"{instruction.name}.values"] = ((instruction.max_bytes,), np.dtype(np.int64))
        shapes[f"{instruction.name}.mask"] = ((instruction.max_bytes,), booleans)
    if embodiment.action.continuous:
        shapes["action.base"] = ((len(embodiment.action.continuous),), floats)
    return shapes


def has_free_rows(channel: EntitiesChannel) -> bool:
    """Say whether a network takes any number of rows of this channel: padding that costs more than it saves is cut."""
    return channel.max_rows > CROP_ABOVE


def crop_rows(embodiment: Embodiment, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cut the rows that nothing in a batch fills from entity channels that have free rows, and what belongs to them.

    Attention costs the square of its rows; a plant's 2048 rows hold 35 orders or 1500. Nothing that is there is cut.

    Args:
        embodiment: whose arrays.
        arrays: of ``packed_shapes`` with a leading batch axis, the same under ``next.``, and targets of choices; those
            that are not there are not needed.
    """
    out = dict(arrays)
    for prefix in ("", "next."):
        rows: dict[str, int] = {}
        for channel in embodiment.entities:
            mask = arrays.get(f"{prefix}{channel.name}.mask")
            if mask is not None and has_free_rows(channel):
                used = np.flatnonzero(mask.any(0))
                rows[channel.name] = int(used[-1]) + 1 if len(used) else 1
        for what in ("values", "mask"):
            for name, count in rows.items():
                out[f"{prefix}{name}.{what}"] = arrays[f"{prefix}{name}.{what}"][:, :count]
            for relation in embodiment.relation:
                key = f"{prefix}{relation.name}.{what}"
                if key in arrays:
                    out[key] = arrays[key][:, : rows.get(relation.source), : rows.get(relation.target)]
            for choice in embodiment.action.choice:
                key = f"{prefix}choice.{choice.name}.{what}"
                if key in arrays:
                    out[key] = arrays[key][:, : rows.get(choice.for_each or choice.over)]
    return out


class Normalizer:
    """Packs observations of one embodiment with the statistics of what a model was trained on."""

    def __init__(self, embodiment: Embodiment, statistics: Statistics) -> None:
        if statistics.embodiment_id != embodiment.id:
            raise SpecError(f"statistics of {statistics.embodiment_id}, expected those of {embodiment.id}")
        self.embodiment = embodiment
        self.statistics = statistics
        self.shapes = packed_shapes(embodiment)

    def pack(self, observation: Observation) -> dict[str, np.ndarray]:
        """Turn one observation into arrays of ``packed_shapes``.

        Raises:
            SpecError: more rows, points or bytes than the embodiment allows, or another embodiment's observation.
        """
        if observation.embodiment_id != self.embodiment.id:
            raise SpecError(f"observation of {observation.embodiment_id}, expected one of {self.embodiment.id}")
        out = {name: np.zeros(shape, dtype) for name, (shape, dtype) in self.shapes.items()}
        for channel in self.embodiment.telemetry:
            stream = observation.streams.get(channel.name)
            if stream is not None:
                values, mask = self.normalise(channel.name, stream.values, channel.dimensions)
                out[f"{channel.name}.values"][-len(values) :] = values
                out[f"{channel.name}.mask"][-len(values) :] = mask
                self._pack_age(out, channel.name, stream, observation.time_ns)
        for camera in self.embodiment.camera:
            stream = observation.streams.get(camera.name)
            if stream is not None:
                out[f"{camera.name}.values"][-len(stream) :] = stream.values
                out[f"{camera.name}.mask"][-len(stream) :] = True
                self._pack_age(out, camera.name, stream, observation.time_ns)
        for points in self.embodiment.points:
            stream = observation.streams.get(points.name)
            if stream is not None:
                for i in range(-len(stream), 0):
                    rows = stream.sample(i)
                    self._check_room(points.name, len(rows), points.max_points, "max_points")
                    out[f"{points.name}.values"][i, : len(rows)] = rows[:, :3] / points.range_max_m
                    out[f"{points.name}.mask"][i, : len(rows)] = True
                self._pack_age(out, points.name, stream, observation.time_ns)
        for entities in self.embodiment.entities:
            stream = observation.streams.get(entities.name)
            if stream is not None:
                rows = stream.sample(-1)
                self._check_room(entities.name, len(rows), entities.max_rows, "max_rows")
                values, mask = self.normalise(entities.name, rows, entities.dimensions)
                out[f"{entities.name}.values"][: len(rows)] = np.where(mask, values, 0)
                out[f"{entities.name}.mask"][: len(rows)] = True
                self._pack_age(out, entities.name, stream, observation.time_ns)
        for relation in self.embodiment.relation:
            stream = observation.streams.get(relation.name)
            if stream is not None:
                pair = stream.sample(-1)
                self._check_room(relation.name, len(pair), len(out[f"{relation.name}.values"]), "max_rows")
                out[f"{relation.name}.values"][: len(pair)] = self.normalise_relation(relation.name, pair)
                out[f"{relation.name}.mask"][: len(pair)] = np.isfinite(pair)
        for instruction in self.embodiment.instruction:
            data = np.frombuffer(observation.instruction.encode("utf-8"), np.uint8)
            self._check_room(instruction.name, len(data), instruction.max_bytes, "max_bytes")
            out[f"{instruction.name}.values"][: len(data)] = data.astype(np.int64) + 1
            out[f"{instruction.name}.mask"][: len(data)] = True
        if self.embodiment.action.continuous:
            out["action.base"][:] = action_base(self.embodiment, observation.streams, observation.time_ns)
        return out

    def normalise(
        self, name: str, values: np.ndarray, dimensions: tuple[Dimension, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Normalise ``values`` ``[..., dimension]`` of a channel to float32 ``[..., width]`` and their mask.

        Missing (NaN) becomes 0 with a False mask; class numbers become one-hot; the rest is (scaled - mean) / std,
        bounded to +-``CLIP``.
        """
        stats = self.statistics[name]
        known = np.isfinite(values)
        scaled = (apply_scale(values, dimensions) - stats.mean) / stats.std
        scaled = np.where(known, np.clip(scaled, -CLIP, CLIP), 0.0)
        if not any(dimension.categories for dimension in dimensions):
            return scaled.astype(np.float32), known
        parts: list[np.ndarray] = []
        masks: list[np.ndarray] = []
        for i, dimension in enumerate(dimensions):
            if dimension.categories:
                classes = np.where(known[..., i], values[..., i], -1).astype(np.int64)
                parts.append((classes[..., None] == np.arange(dimension.categories)).astype(np.float64))
            else:
                parts.append(scaled[..., i : i + 1])
            masks.append(np.repeat(known[..., i : i + 1], dimension.width, axis=-1))
        return np.concatenate(parts, -1).astype(np.float32), np.concatenate(masks, -1)

    def normalise_relation(self, name: str, values: np.ndarray) -> np.ndarray:
        """Normalise a relation's ``[source, target]`` values to float32, 0 where NaN."""
        relation = next(r for r in self.embodiment.relation if r.name == name)
        stats = self.statistics[name]
        scaled = (apply_scale(values[..., None], (relation,))[..., 0] - stats.mean[0]) / stats.std[0]
        return np.where(np.isfinite(values), np.clip(scaled, -CLIP, CLIP), 0.0).astype(np.float32)

    def pack_actions(self, actions: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Normalise actions ``[..., chunk, dimension]`` relative to ``base`` ``[..., dimension]``; float32.

        Bounded to +-``CLIP``: what an expert does far off the demonstrations' ways may be hundreds of their standard
        deviations, and a squared error would learn nothing else.
        """
        stats = self.statistics[ACTION]
        scaled = apply_scale(actions, self.embodiment.action.continuous)
        normalised = (scaled - np.asarray(base)[..., None, :] - stats.mean) / stats.std
        return np.clip(normalised, -CLIP, CLIP).astype(np.float32)

    def unpack_actions(self, normalised: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Invert ``pack_actions``; float32 in the units of the action space."""
        stats = self.statistics[ACTION]
        scaled = np.asarray(normalised, np.float64) * stats.std + stats.mean + np.asarray(base)[..., None, :]
        return undo_scale(scaled, self.embodiment.action.continuous).astype(np.float32)

    def _pack_age(self, out: dict[str, np.ndarray], name: str, stream: Stream, time_ns: int) -> None:
        out[f"{name}.age_s"][-len(stream) :] = (stream.times_ns - time_ns) / SECOND_NS

    def _check_room(self, name: str, got: int, room: int, fact: str) -> None:
        if got > room:
            raise SpecError(f"{self.embodiment.id}: {name}: got {got} rows, expected at most {fact} = {room}")
