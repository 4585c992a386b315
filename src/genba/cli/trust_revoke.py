"""``genba trust revoke`` and ``revocations``: models that must not act any more, for another reason than a withdrawal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genba.cli.passport_view import passport_path, trust_store
from genba.errors import ConfigError, PassportError
from genba.runtime.bundle import Bundle, is_bundle
from genba.runtime.clearance import weights_of
from genba.trust import passport as passports
from genba.trust import revocation
from genba.trust.folder import LEDGER_FOLDER, REVOCATION_FILE, VARIABLE, TrustFolder
from genba.trust.ledger import PASSPORTS
from genba.trust.revoking import revoke_models

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def revoke_command(
    what: Annotated[
        str,
        typer.Argument(
            help="A checkpoint or bundle (its passport and its weights), a passport's file (that passport alone), or sha256:<digest> of "
            "either."
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why, for whoever is refused; machines show it.")],
    trust: Annotated[Path, typer.Option("--trust", envvar=VARIABLE, help=f"The trust folder (or ${VARIABLE}).")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Revoke a model, and whatever was trained from it, for good: sign the next list of revoked models and enter it in the ledger.

    No run goes on from it, no export is made of it, and a machine refuses it once the new list has reached it. Done before, the same command
    changes nothing.
    """
    kept, console = TrustFolder.open(trust), Console()
    digests = _digests_of(what, kept)
    before, known = kept.revocations(), _known(kept)
    for digest in digests:
        console.print(
            f"{digest}: {known.get(digest, 'in no passport of this ledger')}", highlight=False, soft_wrap=True
        )
    if before is not None and all(before.find(one) for one in digests):
        console.print("Revoked before:")
    elif not yes:
        typer.confirm("\nRevoke for good?", abort=True)
    try:
        newest = revoke_models(kept, digests, reason=reason)
    finally:
        kept.sign_head()
    for one in filter(None, map(newest.find, digests)):
        console.print(
            f"[bold]revoked[/] {one.digest} since {passports.in_words(one.time_ns)}: {escape(one.reason)}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(
        f"list {newest.number}: carry {escape(str(kept.revocation_path))} to every machine",
        highlight=False,
        soft_wrap=True,
    )


def revocations_command(
    trust: Annotated[
        Path, typer.Option("--trust", envvar=VARIABLE, help=f"The trust folder, or a machine's (or ${VARIABLE}).")
    ],
) -> None:
    """Show what is revoked, since when and why, once the list's signature holds."""
    path, console = trust / REVOCATION_FILE, Console()
    if not path.exists():
        # A folder that is none would have no list either.
        trust_store(trust)
        console.print("nothing is revoked")
        return
    found = revocation.read(path, trust_store(trust))
    known = _known(TrustFolder.open(trust)) if (trust / LEDGER_FOLDER).is_dir() else {}
    console.print(
        f"list {found.number} of {passports.in_words(found.time_ns)}, {found.digest}", highlight=False, soft_wrap=True
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("since", "digest", "of", "why"):
        table.add_column(name, overflow="fold")
    for one in sorted(found.revoked, key=lambda one: (one.time_ns, one.digest)):
        table.add_row(
            passports.in_words(one.time_ns), one.digest, escape(known.get(one.digest, "")), escape(one.reason)
        )
    console.print(table, highlight=False)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("revoke")(revoke_command)
    app.command("revocations")(revocations_command)


def _digests_of(what: str, trust: TrustFolder) -> list[str]:
    """Return what is to be revoked.

    Raises:
        ConfigError: it is no digest, and nothing of that name is there.
        PassportError: no passport that holds says which weights a checkpoint has.
        BundleError: a bundle is damaged.
    """
    if _DIGEST.fullmatch(what):
        return [what]
    path = Path(what)
    if not path.exists():
        raise ConfigError(
            f"{what}: got neither sha256:<64 hex digits> nor a checkpoint, a bundle or a passport's file; see: genba audit log "
            f"{trust.path / 'ledger'} --kind passport"
        )
    weights = weights_of(Bundle.read(path)) if is_bundle(path) else ""
    file = passport_path(path)
    if weights and not file.exists():
        return [weights]
    try:
        envelope = passports.read(file)
        said, _ = passports.verify(envelope, trust.trust_store, place=str(file))
    except PassportError as error:
        raise PassportError(f"{error}. Revoke it by the digest of its weights or of its passport") from error
    if weights and weights != said.weights:
        raise PassportError(
            f"{file}: for weights {said.weights}, the bundle's are {weights}: put together from two; revoke by these digests"
        )
    return [envelope.digest, said.weights] if path.is_dir() else [envelope.digest]


def _known(trust: TrustFolder) -> dict[str, str]:
    """Return what the ledger's passports say of digests: of their own, and of the weights that they are for."""
    found: dict[str, str] = {}
    for file in sorted((trust.ledger.folder / PASSPORTS).glob("*.json")):
        try:
            envelope = passports.read(file)
            said, _ = passports.verify(envelope, trust.trust_store, place=str(file))
        except PassportError:
            # It says nothing that can be believed, and may be what is to be revoked.
            found[f"sha256:{file.stem}"] = "a passport that does not hold"
            continue
        found[envelope.digest] = f"passport of {passports.in_words(said.made_ns)}"
        found[said.weights] = f"weights of the passport {envelope.digest[:15]}"
    return found
