"""The guarded process of ``fuzzing``: reads one log per line of its input, and says what came of it.

Limits are set after the reader was imported, so that what is counted is what a log makes it allocate.
"""

from __future__ import annotations

import json
import pickle
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from genba.errors import ReaderError
from genba.registry import READERS, resolve
from genba.spec.conformance import check_episode

#: CPU time that one small log may take.
CPU_S = 20.0


class Forbidden(BaseException):
    """Something that a reader must never do; no ``except Exception`` hides it."""


def _refuse(*arguments: Any, **named: Any) -> NoReturn:
    raise Forbidden("unpickled something")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        raise Forbidden(f"unpickled {arguments}")
    if event in ("socket.connect", "os.system", "subprocess.Popen"):
        raise Forbidden(f"{event} {arguments}")


def _out_of_time(number: int, frame: Any) -> NoReturn:
    raise Forbidden(f"took more than {CPU_S:g} CPU-seconds")


def read(reader: Any, log: Path, options: dict[str, Any]) -> tuple[str, str]:
    """Read one log as an import does; return (outcome, detail)."""
    try:
        recognised = reader.recognises(log)
    except BaseException:
        return "crash", f"recognises raised: {traceback.format_exc(limit=-6)}"
    try:
        facts = reader.embodiment(log, **options)
        episodes = list(reader.read(log, **options))
        for episode in episodes:
            check_episode(facts, episode)
    except ReaderError as error:
        if str(log.parent) not in str(error):
            return "crash", f"the error names no file of {log.parent}: {type(error).__name__}: {error}"
        return "refused", f"{type(error).__name__}: {error}"
    except BaseException:
        return "crash", traceback.format_exc(limit=-8)
    return "accepted", f"{len(episodes)} episodes, {'recognised' if recognised else 'not recognised'}"


def main() -> None:
    """Answer every line."""
    reader = resolve(READERS[sys.argv[1]])()
    answers = sys.stdout
    # Whatever libraries print must not look like an answer.
    sys.stdout = sys.stderr
    # One log is read before anything is limited: libraries that are imported late are no part of a log's memory.
    limited = False
    for line in sys.stdin:
        task = json.loads(line)
        log, options = Path(task["log"]), task["options"]
        if not limited and not task.get("warm_up"):
            pickle.load = pickle.loads = pickle._load = pickle._loads = _refuse  # type: ignore[attr-defined,assignment]
            pickle.Unpickler = pickle._Unpickler = _refuse  # type: ignore[attr-defined,assignment,misc]
            sys.addaudithook(_audit)
            signal.signal(signal.SIGPROF, _out_of_time)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            room = pages * resource.getpagesize() + int(sys.argv[2])
            resource.setrlimit(resource.RLIMIT_AS, (room, room))
            limited = True
        if limited:
            signal.setitimer(signal.ITIMER_PROF, CPU_S)
        try:
            outcome, detail = read(reader, log, options)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        answers.write(json.dumps({"outcome": outcome, "detail": detail[-4000:], "peak_bytes": peak}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
