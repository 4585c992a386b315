"""The gatekeeper: decides, records each decision before anyone acts on it, and minds the clock.

An agreement that expired is alive again where a clock is set back. So the latest time at which anything was decided is kept
in a file, and at an earlier one everything is refused. Whoever may delete that file can undo this; the record of decisions
shows it then.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from genba.errors import ConfigError, PermissionDeniedError
from genba.trust.cedar import CompiledRules
from genba.trust.decide import NS_PER_S, Decision, decide
from genba.trust.protocols import Recorder
from genba.trust.requests import Request

KIND = "decision"
#: a clock may be set back by this much, as NTP does
TOLERANCE_NS = NS_PER_S


class LatestTime:
    """The latest time that several processes have seen, in a file."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def advance(self, now_ns: int) -> int:
        """Keep the later of ``now_ns`` and what was seen, and return it.

        Raises:
            ConfigError: the file cannot be read or written, or holds no time.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                seen = file.read()
                if not seen or now_ns > _parse(seen, self.path):
                    file.seek(0)
                    # The same length each time and one write of 21 bytes: no crash leaves half of it.
                    file.write(b"%020d\n" % now_ns)
                    file.flush()
                    os.fsync(file.fileno())
                    return now_ns
                return _parse(seen, self.path)
        except OSError as error:
            raise ConfigError(f"{self.path}: the latest time seen cannot be kept: {error.strerror}") from error


class Gatekeeper:
    """Answers requests by one set of rules."""

    def __init__(
        self, compiled: CompiledRules, record: Recorder, latest: LatestTime, *, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.compiled, self._record, self._latest, self._clock = compiled, record, latest, clock

    def decide(self, request: Request) -> Decision:
        """Decide a request now, and record the answer.

        Raises:
            GenbaError: it could not be decided or not be recorded; nothing is allowed then.
        """
        now_ns = self._clock()
        latest_ns = self._latest.advance(now_ns)
        decision = decide(request, self.compiled, max(now_ns, latest_ns))
        if latest_ns - now_ns > TOLERANCE_NS:
            words = (
                f"{request.agreement}: clock: it shows {_show(now_ns)}, but {_show(latest_ns)} was seen before: it was set "
                f"back, and an agreement that expired would seem to hold; set it right"
            )
            decision = Decision(False, (words,), request, self.compiled.policy_hash, now_ns)
        self._record.append(KIND, decision.body())
        return decision

    def require(self, request: Request) -> Decision:
        """Return the recorded decision where it allows.

        Raises:
            PermissionDeniedError: it refuses; every reason is named.
            GenbaError: it could not be decided or not be recorded.
        """
        decision = self.decide(request)
        if not decision.is_allowed:
            raise PermissionDeniedError(
                f"{request.owner}/{request.dataset}: {request.act} by {request.party} is refused: "
                f"{'; '.join(decision.reasons)} (request {request.digest[7:19]}, policies {decision.policy_hash[7:19]})"
            )
        return decision


def _parse(seen: bytes, path: Path) -> int:
    if not seen[:20].isdigit() or seen[20:] != b"\n":
        raise ConfigError(
            f"{path}: got {seen[:40]!r}, expected the latest time seen, 20 digits of ns: look when the last decision was "
            f"recorded, then write that"
        )
    return int(seen)


def _show(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).isoformat()
