"""A policy that is not shown some channels: what is lost with them is what they were used for.

The policy's observation lacks them, as if they had never spoken; the guard and the record still have them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from genba.errors import ConfigError, nearest
from genba.spec.action import ActionChunk
from genba.spec.embodiment import Embodiment
from genba.spec.observation import Observation
from genba.spec.protocols import Policy


class Masked:
    """Acts as ``policy`` does without ``channels``.

    Raises:
        ConfigError: a channel that the embodiment does not have.
    """

    def __init__(self, policy: Policy, embodiment: Embodiment, channels: Collection[str]) -> None:
        for name in channels:
            check_channel(embodiment, name)
        self.name = policy.name
        self.anytime = bool(getattr(policy, "anytime", False))
        self._policy = policy
        self._channels = frozenset(channels)

    def reset(self, seed: int) -> None:
        """Reset the policy."""
        self._policy.reset(seed)

    @property
    def flow_steps_taken(self) -> int:
        """Flow steps of the policy's last answer; 0 where it takes none."""
        return int(getattr(self._policy, "flow_steps_taken", 0))

    def act(self, observation: Observation, deadline: float | None = None) -> ActionChunk:
        """Answer without the masked channels."""
        shown = {name: stream for name, stream in observation.streams.items() if name not in self._channels}
        seen = replace(observation, streams=shown)
        return self._policy.act(seen, deadline) if self.anytime else self._policy.act(seen)  # type: ignore[call-arg]


def check_channel(embodiment: Embodiment, name: str) -> None:
    """Refuse the name of a channel that is none.

    Raises:
        ConfigError: naming the nearest known one.
    """
    known = [channel.name for channel in embodiment.channels]
    if name not in known:
        raise ConfigError(f"mask: {embodiment.id} has no channel {name!r}{nearest(name, known)}")
