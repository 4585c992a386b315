"""The layout of a run's folder, for those who write it and for the page that shows it.

::

    run.json                         ``RunRecord``: stages and their times, hardware, commit, what was cut short
    metrics.jsonl or */metrics.jsonl one JSON object per line, from training
    results/**/*.json                ``genba.bench.results.Result``
    pictures/<task id>/*.{png,gif,svg} and beside each a .json with its title and caption

Whatever is absent is absent from what is read; whatever is damaged is refused. Read next: ``page``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genba.bench.results import Result
from genba.errors import ConfigError
from genba.spec.task import Picture

FORMAT, VERSION = "genba-run", 1
#: What a picture may be, and its file's ending.
ENDINGS = {"image/png": "png", "image/gif": "gif", "image/svg+xml": "svg"}
_MEDIA_TYPES = {ending: media_type for media_type, ending in ENDINGS.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One part of a run and the time it took."""

    name: str
    #: seconds of wall time
    wall_s: float
    #: one line on what was done, e.g. ``"400 episodes"``
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """What happened in a run as a whole: ``run.json``."""

    #: the command that made it
    command: str = ""
    #: ISO 8601, UTC
    date: str = ""
    #: of the code; ``+changes`` where files differed from it
    commit: str = ""
    #: name of the model preset and of the recipe
    preset: str = ""
    #: parameters of the model
    num_parameters: int = 0
    seed: int = 0
    #: as ``genba.bench.results.hardware`` says
    hardware: Mapping[str, Any] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    #: seconds of wall time that the whole was allowed, 0 where unlimited
    budget_s: float = 0.0
    #: one sentence for each thing done with less than its full size, empty where nothing was cut
    cut_short: tuple[str, ...] = ()
    #: as ``genba.report.where`` says; empty for a run without a trust folder
    trust: Mapping[str, Any] = field(default_factory=dict)

    def write(self, run_dir: Path | str) -> None:
        """Write ``run.json`` into ``run_dir``, whole or not at all."""
        path = Path(run_dir) / "run.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(".run.json.part")
        table = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        temporary.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)

    @staticmethod
    def read(path: Path) -> RunRecord:
        """Read a ``run.json``.

        Raises:
            ConfigError: not a record of this version.
        """
        table = _read_json(path)
        got = (table.pop("format", None), table.pop("version", None))
        if got != (FORMAT, VERSION):
            raise ConfigError(f"{path}: got format and version {got}, expected {(FORMAT, VERSION)}")
        try:
            stages = tuple(Stage(**stage) for stage in table.pop("stages", ()))
            return RunRecord(**table | {"stages": stages, "cut_short": tuple(table.get("cut_short", ()))})
        except TypeError as error:
            raise ConfigError(f"{path}: not a run's record ({error}); make the run again") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Everything a run's folder holds."""

    path: Path
    record: RunRecord | None
    results: tuple[Result, ...]
    #: training's lines, in order
    metrics: tuple[Mapping[str, float], ...]
    #: task id -> its pictures, by file name
    pictures: Mapping[str, tuple[Picture, ...]]

    @property
    def task_ids(self) -> tuple[str, ...]:
        """Every task that has a result or a picture, sorted."""
        return tuple(sorted({result.task for result in self.results} | set(self.pictures)))


def read_run(run_dir: Path | str) -> Run:
    """Read a run's folder; a part that is absent is left empty.

    Raises:
        ConfigError: no such folder, or a damaged file in it.
    """
    path = Path(run_dir)
    if not path.is_dir():
        raise ConfigError(f"{path}: no such folder; expected a run, e.g. the one that 'genba demo' makes")
    record = RunRecord.read(path / "run.json") if (path / "run.json").is_file() else None
    return Run(
        path=path,
        record=record,
        results=read_results(path / "results"),
        metrics=_read_metrics(path),
        pictures=_read_pictures(path / "pictures"),
    )


def read_results(folder: Path) -> tuple[Result, ...]:
    """Read every result file under ``folder``, by task, then the model, the expert, baselines and others by name.

    Raises:
        ConfigError: a file is not a result.
    """
    kinds = {"model": 0, "expert": 1, "baseline": 2}
    results = [Result.read(path) for path in sorted(folder.rglob("*.json"))]
    return tuple(sorted(results, key=lambda result: (result.task, kinds.get(result.kind, 3), result.policy)))


def write_pictures(run_dir: Path | str, task_id: str, pictures: Iterable[Picture]) -> list[Path]:
    """Write a task's pictures where the page looks for them, in order; one of the same place and title is replaced.

    Raises:
        ConfigError: a media type that the page cannot show.
    """
    folder = Path(run_dir) / "pictures" / task_id
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for i, picture in enumerate(pictures):
        if picture.media_type not in ENDINGS:
            raise ConfigError(f"{picture.title}: got {picture.media_type!r}, expected one of {', '.join(ENDINGS)}")
        slug = re.sub(r"[^a-z0-9]+", "-", picture.title.lower()).strip("-")[:40]
        path = folder / f"{i:02d}-{slug}.{ENDINGS[picture.media_type]}"
        path.write_bytes(picture.data)
        caption = {"title": picture.title, "caption": picture.caption}
        path.with_suffix(".json").write_text(json.dumps(caption) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _read_pictures(folder: Path) -> dict[str, tuple[Picture, ...]]:
    found: dict[str, list[Picture]] = {}
    for path in sorted(folder.rglob("*")):
        media_type = _MEDIA_TYPES.get(path.suffix[1:])
        if media_type is None:
            continue
        sidecar = path.with_suffix(".json")
        said = _read_json(sidecar) if sidecar.is_file() else {}
        task_id = path.parent.relative_to(folder).as_posix()
        title = str(said.get("title", path.stem))
        picture = Picture(
            title=title, caption=str(said.get("caption", "")), media_type=media_type, data=path.read_bytes()
        )
        found.setdefault(task_id, []).append(picture)
    return {task_id: tuple(pictures) for task_id, pictures in found.items()}


def _read_metrics(run_dir: Path) -> tuple[Mapping[str, float], ...]:
    paths = [run_dir / "metrics.jsonl", *sorted(run_dir.glob("*/metrics.jsonl"))]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        return ()
    if len(paths) > 1:
        raise ConfigError(f"{run_dir}: {len(paths)} files metrics.jsonl, expected one: {', '.join(map(str, paths))}")
    lines = []
    for number, text in enumerate(paths[0].read_text(encoding="utf-8").splitlines(), start=1):
        # A run that was killed may leave its last line half written; it is not a line.
        if text.endswith("}"):
            try:
                line = json.loads(text)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{paths[0]}: line {number}: not valid JSON ({error})") from error
            lines.append({name: math.nan if value is None else float(value) for name, value in line.items()})
    return tuple(lines)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: got {type(table).__name__}, expected an object")
    return table
