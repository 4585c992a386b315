"""Inspects one planted episode after another beside the same sound ones."""

from __future__ import annotations

from planted import Planted

from genba.data.quality.findings import Finding
from genba.data.quality.inspect import Inspector
from genba.data.quality.samples import EpisodeView, view_episode
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode


class Bench:
    """Sound episodes of one machine, measured once."""

    def __init__(self, facts: Embodiment, sound: list[Episode]) -> None:
        self.facts, self.views = facts, {e.metadata.episode_id: view_episode(facts, e) for e in sound}
        self.base = Inspector(self._reopen)
        for view in self.views.values():
            self.base.add(view, asked=False)

    def findings(self, episode: Episode) -> tuple[Finding, ...]:
        """Return what is found in one episode."""
        inspector = self.base.fork()
        view = view_episode(self.facts, episode)
        self.views[episode.metadata.episode_id] = view
        inspector.add(view)
        (verdict,) = inspector.verdicts()
        return verdict.findings

    def _reopen(self, episode_id: str) -> EpisodeView:
        return self.views[episode_id]


def is_found(planted: Planted, findings: tuple[Finding, ...]) -> bool:
    """Say whether the defect is among the findings."""
    return any(
        f.kind == planted.kind and f.stream == planted.stream and f.dimension in ("", planted.dimension or f.dimension)
        for f in findings
    )
