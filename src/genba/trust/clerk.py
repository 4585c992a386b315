"""The clerk: decides, records and signs for a confined command, outside its reach.

A confined command may read the trust folder but write nothing in it, and sees none of its private keys. What it needs done there
it asks of a clerk, by a unix socket: a thread of the process that started it, outside the sandbox. So a command cannot rewrite
the ledger, decide for itself, set back the latest time, or sign a head or a list of revoked models, whatever runs in it. What it
says of itself (what it read, what its weights are) the clerk enters and signs as said.

The command's side is ``clerk_client``, which ``TrustFolder`` uses by itself where ``$GENBA_CLERK`` is set.
"""

from __future__ import annotations

import base64
import contextlib
import socketserver
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genba.errors import GenbaError, PermissionDeniedError
from genba.trust.clerk_client import VARIABLE, receive, send
from genba.trust.dsse import Envelope, pae
from genba.trust.folder import TrustFolder
from genba.trust.machine import MachineTrust
from genba.trust.passport import PAYLOAD_TYPE
from genba.trust.requests import Request

#: what a confined command may enter itself; every other kind says something about it, or about the keeper
KINDS = ("admission", "run", "read")
#: a connection on which nothing is said for so long is closed, in seconds
PATIENCE_S = 60.0
#: how often it looks whether it is to end, in seconds
_POLL_S = 0.05

#: how the signed bytes of a passport begin, whatever it says: DSSE puts the type before the payload
_PASSPORT = pae(PAYLOAD_TYPE, b"").removesuffix(b"0 ")


@contextlib.contextmanager
def clerk(trust: TrustFolder) -> Iterator[tuple[Path, dict[str, str]]]:
    """Serve one trust folder as long as a ``with`` lasts.

    Yields:
        The socket, which the command's policy must list, and the variables by which the command finds it.
    """
    # Short, because a socket's name has room for 107 bytes; made for this user alone.
    with tempfile.TemporaryDirectory(prefix="genba-clerk-") as folder:
        path = Path(folder).resolve() / "clerk"
        with _Server(str(path), trust) as server:
            thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True)
            thread.start()
            try:
                yield path, {VARIABLE: str(path)}
            finally:
                server.shutdown()
                thread.join()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, trust: TrustFolder) -> None:
        self.trust = trust
        #: The ledger and the rules are this process's own objects, which are not made for several threads.
        self.lock = threading.Lock()
        super().__init__(path, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    timeout = PATIENCE_S

    def handle(self) -> None:
        """Answer what one connection asks."""
        # Whoever goes away, is silent or sends something else is not answered; it has nothing of this process.
        with contextlib.suppress(OSError, ValueError):
            asked = receive(self.rfile)
            try:
                with self.server.lock:  # type: ignore[attr-defined]
                    answer = _answer(self.server.trust, asked)  # type: ignore[attr-defined]
            except GenbaError as error:
                answer = {"error": type(error).__name__, "message": str(error)}
            send(self.wfile, answer)


def _answer(trust: TrustFolder, asked: dict[str, Any]) -> dict[str, Any]:
    what, ledger = asked.get("ask"), trust.ledger
    if asked.get("folder") != str(trust.path):
        raise PermissionDeniedError(
            f"{asked.get('folder')}: this command runs under {trust.path}; expected that trust folder and no other"
        )
    try:
        match what:
            case "renew":
                trust.renew()
                return {}
            case "decide":
                facts = dict[str, Any](asked["request"])
                facts |= {name: tuple(facts[name]) for name in ("sites", "endpoints")}
                return trust.gatekeeper.decide(Request(**facts)).body()
            case "append":
                records: list[tuple[str, Mapping[str, Any]]] = [
                    (str(kind), dict(body)) for kind, body in asked["records"]
                ]
                if wrong := [kind for kind, _ in records if kind not in KINDS]:
                    raise PermissionDeniedError(
                        f"{ledger.folder}: a confined command enters {', '.join(KINDS)}; an entry of kind {wrong[0]!r} is made "
                        f"outside of it"
                    )
                return {"lines": [entry.line().decode() for entry in ledger.append_all(records)]}
            case "head":
                return {"size": trust.sign_head().size}
            case "sign":
                data = base64.b64decode(asked["data"], validate=True)
                if not data.startswith(_PASSPORT):
                    raise PermissionDeniedError(
                        f"{trust.path}: a confined command has its passport signed and nothing else"
                    )
                return {"signature": base64.b64encode(trust.signing_key.sign(data)).decode()}
            case "passport":
                envelope = Envelope.from_bytes(asked["envelope"].encode(), place="the command's passport")
                envelope.signers({ledger.key.id: ledger.key}, payload_type=PAYLOAD_TYPE, place="the command's passport")
                return {"lines": [ledger.enter_passport(envelope).line().decode()]}
            case "clear":
                envelope = Envelope.from_bytes(asked["envelope"].encode(), place=str(asked["place"]))
                facts = {name: str(asked[name]) for name in ("weights", "embodiment", "place")}
                MachineTrust(trust.path).check(envelope, **facts)
                return {}
            case "deployment":
                facts = {name: str(asked[name]) for name in ("passport", "weights", "embodiment")}
                reasons = [str(one) for one in asked["reasons"]]
                MachineTrust(trust.path).record(**facts, reasons=reasons, is_allowed=bool(asked["is_allowed"]))
                return {}
            case "blinding":
                return {"key": base64.b64encode(trust.blinding_key(str(asked["owner"]))).decode()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PermissionDeniedError(f"{trust.path}: {what!r} cannot be asked like this ({error!r})") from error
    raise PermissionDeniedError(f"{trust.path}: a confined command cannot ask for {what!r}")
