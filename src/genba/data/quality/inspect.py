"""Runs every check: once over each episode as it comes, and once over all of a machine's when they are known.

To add a check of single episodes, write a function ``(EpisodeMeasure, Thresholds) -> findings`` and enter it in ``CHECKS``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence

from genba.data.catalog import EpisodeEntry
from genba.data.quality.alignment import check_times
from genba.data.quality.bookkeeping import check_calibration, check_decisions, check_length
from genba.data.quality.duplicates import Print, find_duplicates, take_print
from genba.data.quality.episode import EpisodeMeasure, measure_episode
from genba.data.quality.findings import Finding, Verdict
from genba.data.quality.peers import Profile, check_peers, profile
from genba.data.quality.samples import EpisodeView, view_episode
from genba.data.quality.sensors import check_frozen, check_missing, check_saturated
from genba.data.quality.series import Series, make_series
from genba.data.quality.sketch import Sketcher
from genba.data.quality.thresholds import Thresholds
from genba.data.quality.units import check_units
from genba.data.vault import Vault
from genba.errors import GenbaError, PermissionDeniedError

Check = Callable[[EpisodeMeasure, Thresholds], Iterable[Finding]]

#: Every check of a single episode, by what it looks at.
CHECKS: dict[str, Check] = {
    "times": check_times,
    "frozen": check_frozen,
    "saturated": check_saturated,
    "missing": check_missing,
    "units": check_units,
    "decisions": check_decisions,
    "length": check_length,
    "calibration": check_calibration,
}

#: Episodes of a machine that are looked at for comparison when only a few are asked about.
NUM_COMPARED = 16


class Inspector:
    """Takes episodes one by one and gives the verdicts at the end."""

    def __init__(self, reopen: Callable[[str], EpisodeView], thresholds: Thresholds | None = None) -> None:
        """Begin.

        Args:
            reopen: gives an episode again by its id, to compare two that may be the same.
            thresholds: what counts as a defect.
        """
        self.thresholds = thresholds or Thresholds()
        self._reopen = reopen
        self._asked: dict[str, tuple[str, int, int]] = {}
        self._found: dict[str, list[Finding]] = {}
        self._profiles: dict[str, list[Profile]] = {}
        self._prints: dict[str, list[Print]] = {}
        self._sketchers: dict[str, Sketcher] = {}

    def add(self, view: EpisodeView, *, asked: bool = True) -> None:
        """Measure an episode and run the checks that need no other.

        Args:
            asked: whether a verdict on it is wanted, or it is only for comparison.

        Raises:
            CorruptShardError: it does not decode.
        """
        measure = measure_episode(view)
        machine, name = measure.embodiment.id, measure.metadata.episode_id
        if asked:
            self._asked[name] = (machine, measure.start_ns, measure.end_ns)
            found = [finding for check in CHECKS.values() for finding in check(measure, self.thresholds)]
            # Where every stream is silent there are no actions either, and what is too short has too few.
            few = any(f.kind == "too short" or (f.kind == "clock jump" and not f.stream) for f in found)
            self._found[name] = [f for f in found if not (few and f.kind == "decisions" and f.stream == "action")]
        self._profiles.setdefault(machine, []).append(profile(measure))
        sketch = self._sketchers.setdefault(machine, Sketcher()).sketch(measure.series)
        self._prints.setdefault(machine, []).append(take_print(measure, sketch))

    def fork(self) -> Inspector:
        """Return one that goes on from here by itself, to inspect several variants beside the same episodes."""
        other = copy.copy(self)
        other._asked, other._found = dict(self._asked), {name: list(found) for name, found in self._found.items()}
        other._profiles = {machine: list(known) for machine, known in self._profiles.items()}
        other._prints = {machine: list(known) for machine, known in self._prints.items()}
        other._sketchers = {machine: copy.deepcopy(known) for machine, known in self._sketchers.items()}
        return other

    def refuse(self, entry: EpisodeEntry, error: GenbaError) -> None:
        """Note that an episode could not be read."""
        name = entry.episode_id
        self._asked[name] = (entry.embodiment_id, entry.start_ns, entry.end_ns)
        self._found[name] = [
            Finding(
                kind="unreadable", start_ns=entry.start_ns, end_ns=entry.end_ns, share=1.0, message=str(error),
                advice="run: genba data fsck",
            )
        ]  # fmt: skip

    def verdicts(self) -> list[Verdict]:
        """Run the checks that compare episodes, and return a verdict for each one asked about, by episode id."""
        for profiles in self._profiles.values():
            for i, own in enumerate(profiles):
                if own.episode_id in self._asked:
                    found = self._found[own.episode_id]
                    # Of an episode that holds next to nothing everything is unusual.
                    if not any(finding.kind == "too short" for finding in found):
                        new = check_peers(own, [*profiles[:i], *profiles[i + 1 :]], self.thresholds)
                        found += [finding for finding in new if not _is_explained(finding, found)]
        for prints in self._prints.values():
            ordered = sorted(prints, key=lambda p: p.episode_id)
            for name, finding in find_duplicates(ordered, self._series_of, self.thresholds):
                if name in self._found:
                    self._found[name].append(finding)
        return [
            Verdict(episode_id=name, embodiment_id=machine, start_ns=start_ns, end_ns=end_ns, findings=tuple(found))
            for name, (machine, start_ns, end_ns) in sorted(self._asked.items())
            for found in [self._found[name]]
        ]

    def _series_of(self, episode_id: str, start_ns: int, end_ns: int) -> Series:
        return make_series(self._reopen(episode_id), start_ns, end_ns)


def inspect_vault(
    vault: Vault, entries: Sequence[EpisodeEntry], thresholds: Thresholds | None = None
) -> Iterator[list[Verdict] | None]:
    """Inspect ``entries``; yield None after each episode that was measured, and the verdicts at last.

    Other episodes of the same machines are measured too, as many as comparing needs.
    """

    def reopen(episode_id: str) -> EpisodeView:
        entry = vault.entry(episode_id)
        return view_episode(vault.embodiment(entry.embodiment_id), vault.shard(entry))

    inspector = Inspector(reopen, thresholds)
    for entry, asked in chosen(vault, entries):
        try:
            inspector.add(reopen(entry.episode_id), asked=asked)
        except PermissionDeniedError:
            # Rules that forbid it are no fault of the data; others are only compared with where they may be.
            if asked:
                raise
        except GenbaError as error:
            if asked:
                inspector.refuse(entry, error)
        yield None
    yield inspector.verdicts()


def chosen(vault: Vault, entries: Sequence[EpisodeEntry]) -> list[tuple[EpisodeEntry, bool]]:
    """Return ``entries`` and, where they are few of a machine, others to compare with, each with whether it is asked about."""
    asked = {entry.episode_id for entry in entries}
    out = [(entry, True) for entry in entries]
    for machine in sorted({entry.embodiment_id for entry in entries}):
        room = NUM_COMPARED - sum(entry.embodiment_id == machine for entry in entries)
        others = [entry for entry in vault.entries(embodiment_id=machine) if entry.episode_id not in asked]
        out += [(entry, False) for entry in others[: max(room, 0)]]
    return out


#: A kind -> the kinds of a finding in the same stream that explain it.
_EXPLAINED_BY = {
    "outlier": ("unit", "saturation", "frozen", "not a number"),
    "frozen": ("frozen", "saturation"),
    "unit": ("unit", "saturation", "frozen"),
    "clock drift": ("epoch", "clock jump", "clock drift", "frame count"),
    "frame count": ("epoch", "clock jump", "clock drift", "frame count"),
    "calibration": ("calibration",),
    "epoch": ("epoch",),
}


def _is_explained(finding: Finding, found: list[Finding]) -> bool:
    """Say whether what others of the machine contradict was already found out in the episode itself."""
    return any(
        other.stream == finding.stream
        and (not other.dimension or other.dimension == finding.dimension)
        and other.kind in _EXPLAINED_BY.get(finding.kind, ())
        for other in found
    )
