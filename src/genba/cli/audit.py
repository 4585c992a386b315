"""``genba audit``: keep a ledger, check one from its files alone, prove what is in it, and check models' passports."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from genba.cli.audit_pack import add_to as add_pack
from genba.cli.passport_view import passport_path, table_of, trust_store
from genba.errors import LedgerError
from genba.runtime.bundle import Bundle, is_bundle
from genba.runtime.clearance import released_by, weights_of
from genba.trust import passport as passports
from genba.trust import proofs, revocation
from genba.trust import trained_on as sets
from genba.trust.audit import countersign as countersigned
from genba.trust.audit import read_entries
from genba.trust.audit import verify as verify_ledger
from genba.trust.digest import canonical_json, digest_file
from genba.trust.folder import REVOCATION_FILE, VARIABLE
from genba.trust.heads import newest_head, read_head, read_line, read_lines
from genba.trust.ledger import HEADS, Entry, Ledger
from genba.trust.signing import PublicKey, SigningKey, TrustStore

app = typer.Typer(
    no_args_is_help=True,
    help="Keep a ledger, check one from its files alone, prove what is in it, and check models' passports.\n\n"
    "Everything works offline. A trust store is a folder with the public keys (NAME.pub) of those you believe.",
)

Folder = Annotated[Path, typer.Argument(help="The ledger's folder.")]
TrustOption = Annotated[Path | None, typer.Option("--trust", help="Folder with the public keys that you believe.")]
NeededTrust = Annotated[Path, typer.Option("--trust", help="Folder with the public keys that you believe.")]
ReaderTrust = Annotated[
    Path,
    typer.Option("--trust", envvar=VARIABLE, help="A trust folder, or one with the public keys that you believe."),
]
KeyOption = Annotated[Path, typer.Option("--key", help="Your private key.")]


@app.command()
def key(
    path: Annotated[Path, typer.Argument(help="The new file; the public key goes beside it as FILE.pub.")],
    blinding: Annotated[bool, typer.Option("--blinding", help="Make an owner's blinding key instead.")] = False,
) -> None:
    """Make a key in a new file that only you may read."""
    if blinding:
        sets.create_blinding_key(path)
        _say(f"blinding key in {path}")
        return
    _say(f"key {SigningKey.create(path).public.id} in {path}, its public key in {path}.pub")


@app.command()
def init(
    folder: Folder,
    private: KeyOption,
    name: Annotated[str, typer.Option(help="What the ledger is of, e.g. the plant's name.")],
) -> None:
    """Make a ledger that your key keeps."""
    ledger = Ledger.create(folder, name, SigningKey.load(private))
    _say(f"ledger {ledger.id} in {folder}, kept by key {ledger.key.id}")


@app.command()
def witness(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="The partner's name.")],
    public: Annotated[Path, typer.Argument(help="The partner's public key.")],
    private: KeyOption,
) -> None:
    """Enter a partner who will countersign heads, and sign a head over it."""
    signer, ledger = SigningKey.load(private), Ledger(folder)
    entry = ledger.append("witness", {"key": PublicKey.load(public).text, "name": name})
    ledger.sign_head(signer)
    _say(f"entry {entry.number}: {name} countersigns")


@app.command()
def append(
    folder: Folder,
    kind: Annotated[str, typer.Argument(help="What it records, e.g. decision.")],
    body: Annotated[Path, typer.Argument(help="A file with a JSON table.")],
    private: Annotated[Path | None, typer.Option("--key", help="The keeper's, to sign a head over it.")] = None,
) -> None:
    """Add an entry."""
    table = _read(body)
    if not isinstance(table, dict):
        raise LedgerError(f"{body}: got {type(table).__name__}, expected a JSON table")
    _enter(Ledger(folder), lambda ledger: ledger.append(kind, table), private)


@app.command()
def enter(
    folder: Folder,
    path: Annotated[Path, typer.Argument(metavar="PASSPORT", help="A model's passport.")],
    trust: NeededTrust,
    private: Annotated[Path | None, typer.Option("--key", help="The keeper's, to sign a head over it.")] = None,
) -> None:
    """Keep a model's passport in the ledger, after verifying it."""
    envelope = passports.read(path)
    passports.verify(envelope, TrustStore.load(trust), place=str(path))
    _enter(Ledger(folder), lambda ledger: ledger.enter_passport(envelope), private)


@app.command()
def verify(
    folder: Folder,
    trust: TrustOption = None,
    seen: Annotated[Path | None, typer.Option(help="A head that you kept: the ledger must continue it.")] = None,
    require: Annotated[
        list[str] | None, typer.Option(help="A partner who must have countersigned the newest head.")
    ] = None,
) -> None:
    """Check entries, order, tail, heads, countersignatures and passports; exit status 1 where anything does not hold."""
    if require and trust is None:
        raise LedgerError(
            "verify: --require without --trust: the keeper could have named anyone so; name a trust store"
        )
    store = TrustStore.load(trust) if trust else None
    findings = verify_ledger(folder, trust=store, seen=read_head(seen) if seen else None, required=require or [])
    for problem in findings.problems:
        Console().print(
            f"[bold red]{problem.kind}[/]: {escape(f'{problem.place}: {problem.message}')}", highlight=False
        )
    _say(f"ledger {findings.ledger or 'unknown'}, kept by {findings.keeper or 'nobody known'}")
    _say(f"{findings.size} entries, {findings.signed_size} under a sound head, root {findings.root.hex()}")
    for name, size in findings.witnessed.items():
        _say(f"countersigned by {name}: {size} entries")
    if store is None:
        _say("the keys are those that the ledger itself names: whose they are, only --trust shows")
    if not findings.holds:
        _say(f"{len(findings.problems)} problems: it does not hold")
        raise typer.Exit(1)
    _say("it holds")


@app.command()
def log(
    folder: Folder,
    kind: Annotated[str | None, typer.Option(help="Only entries of this kind.")] = None,
) -> None:
    """List the entries; they are not verified by this."""
    for entry in read_entries(folder):
        if kind in (None, entry.kind):
            _say(f"{entry.number}  {_time(entry.time_ns)}  {entry.kind}  {canonical_json(entry.body).decode()}")


@app.command()
def heads(
    folder: Folder,
    sign: Annotated[bool, typer.Option("--sign", help="Sign a head over everything first.")] = False,
    private: Annotated[Path | None, typer.Option("--key", help="The keeper's private key, to sign.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the newest head here, for whoever keeps it.")] = None,
) -> None:
    """List the heads; sign one; write the newest to a file."""
    if sign:
        if private is None:
            raise LedgerError("heads --sign: no key; name the keeper's with --key")
        Ledger(folder).sign_head(SigningKey.load(private))
    for number, line in enumerate(read_lines(folder / HEADS)):
        envelope, head = read_line(line, place=f"{folder / HEADS}: line {number + 1}")
        by = ", ".join(s.key_id for s in envelope.signatures)
        _say(f"{_time(head.time_ns)}  {head.size} entries  root {head.root.hex()}  signed by {by}")
    if out is not None:
        _write(out, newest_head(folder / HEADS).to_bytes())


@app.command()
def countersign(
    folder: Folder,
    private: KeyOption,
    trust: NeededTrust,
    seen: Annotated[Path, typer.Option(help="Where you keep the head that you signed last; made the first time.")],
) -> None:
    """As a partner: check the ledger, that it continues what you signed last, and countersign its newest head."""
    before = read_head(seen) if seen.exists() else None
    envelope = countersigned(folder, SigningKey.load(private), seen=before, trust=TrustStore.load(trust))
    if before is None or before[0].payload != envelope.payload:
        Ledger(folder).countersign(envelope)
    # Kept with the keeper's signature: that is what proves a split view later.
    _write(seen, newest_head(folder / HEADS).to_bytes())
    _say(f"countersigned; the head is kept in {seen}")


@app.command()
def prove(
    folder: Folder,
    entry: Annotated[int | None, typer.Argument(help="The entry's number.")] = None,
    seen: Annotated[Path | None, typer.Option(help="Prove instead that the ledger continues this head.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the proof here instead of showing it.")] = None,
) -> None:
    """Prove that an entry is in the ledger, or that it continues a head, to whoever has only public keys."""
    if (entry is None) == (seen is None):
        raise LedgerError("prove: got both or neither, expected the number of an entry or --seen HEAD")
    proof = proofs.prove_growth(folder, read_head(seen)) if seen else proofs.prove(folder, entry or 0)
    _show_or_write(proof, out)


@app.command()
def check(
    proof: Annotated[Path, typer.Argument(help="What genba audit prove wrote.")],
    trust: NeededTrust,
    seen: Annotated[Path | None, typer.Option(help="The head that you kept, for a proof that continues it.")] = None,
) -> None:
    """Check a proof without the ledger."""
    table, store = _read(proof), TrustStore.load(trust)
    if seen is not None:
        _, head = proofs.check_growth_proof(table, read_head(seen), store, place=str(proof))
        _say(f"it holds: the ledger grew to {head.size} entries, and nothing before was changed")
        return
    entry, head, signers = proofs.check_proof(table, store, place=str(proof))
    _say(f"it holds: entry {entry.number} of {head.size}, vouched for by {', '.join(signers)}")
    _say(f"{_time(entry.time_ns)}  {entry.kind}  {canonical_json(entry.body).decode()}")


@app.command()
def passport(
    path: Annotated[Path, typer.Argument(help="A bundle, a checkpoint, or a passport's file.")],
    trust: ReaderTrust,
    weights: Annotated[Path | None, typer.Option(help="The weights that it must be for.")] = None,
    revoked: Annotated[Path | None, typer.Option(help="The signed list of revoked models.")] = None,
    embodiment: Annotated[str | None, typer.Option(help="Id of the machine that must be allowed.")] = None,
    site: Annotated[str | None, typer.Option(help="The site that must be allowed.")] = None,
    party: Annotated[str | None, typer.Option(help="Who runs the machine, and must be allowed.")] = None,
) -> None:
    """Verify a model's passport and show it; refuse it where it is not for these weights, this machine, this site or this party.

    A bundle must be the one that was released with it. A checkpoint's weights are compared when it is exported, or gone on from.
    """
    file, store = passport_path(path), trust_store(trust)
    envelope = passports.read(file)
    found, signers = passports.verify(envelope, store, place=str(file))
    given = {"--embodiment": embodiment, "--site": site, "--party": party}
    if left_out := [name for name, value in given.items() if value is None and any(given.values())]:
        raise LedgerError(
            f"passport: got no {' and no '.join(left_out)}, expected all of {', '.join(given)}: each may be refused"
        )
    if revoked is None and (trust / REVOCATION_FILE).exists():
        revoked = trust / REVOCATION_FILE
    Console().print(table_of(found, envelope.digest, signers), highlight=False)
    at_hand = digest_file(weights) if weights else found.weights
    if is_bundle(path):
        bundle = Bundle.read(path)
        at_hand = weights_of(bundle)
        released_by(bundle, envelope.digest, store)
    passports.check(
        envelope,
        store,
        weights=at_hand,
        embodiment=embodiment,
        site=site,
        party=party,
        now_ns=time.time_ns(),
        revocations=revocation.read(revoked, store) if revoked else None,
        place=str(file),
    )


@app.command("trained-on")
def trained_on(
    path: Annotated[Path, typer.Argument(metavar="PASSPORT", help="A bundle, a checkpoint, or a passport's file.")],
    trust: ReaderTrust,
    owner: Annotated[str, typer.Option(help="Whose data.")],
    blinding: Annotated[Path, typer.Option("--blinding", help="The owner's blinding key.")],
    dataset: Annotated[str, typer.Option(help="Which data set; by default any of the owner's.")] = "",
    shard: Annotated[str, typer.Option(help="Which shard of it, by digest.")] = "",
    whole: Annotated[
        Path | None,
        typer.Option(
            "--set", help="The whole blinded set: the complete check. By default the bundle's or checkpoint's."
        ),
    ] = None,
    proof: Annotated[Path | None, typer.Option(help="A proof about this claim, where there is no set.")] = None,
    out: Annotated[Path | None, typer.Option(help="With the set: write the proof about this claim here.")] = None,
) -> None:
    """Say whether a model was trained on an owner's data; exit status 0 for yes, 1 for no, 2 where it is not proved."""
    file = passport_path(path)
    found, _ = passports.verify(passports.read(file), trust_store(trust), place=str(file))
    claim = sets.Claim(owner, dataset, shard)
    blinded = claim.blinded(sets.read_blinding_key(blinding))
    if whole is None and proof is None and path.is_dir():
        whole = path / sets.FILE
    if (whole is None) == (proof is None):
        raise LedgerError("trained-on: got both or neither, expected --set SET or --proof PROOF")
    if whole is not None:
        kept = sets.TrainedOn.from_table(_read(whole), place=str(whole))
        answer = sets.check_set(kept, found.trained_on, blinded, place=str(whole))
        if out is not None:
            _write(out, canonical_json(kept.prove(blinded)))
    else:
        answer = sets.check_proof(_read(proof or Path()), found.trained_on, blinded, place=str(proof))
    _say(f"{'trained on' if answer else 'not trained on'}: {claim}")
    if not answer:
        raise typer.Exit(1)


add_pack(app)


def _enter(ledger: Ledger, add: Callable[[Ledger], Entry], private: Path | None) -> None:
    signer = SigningKey.load(private) if private else None
    entry = add(ledger)
    if signer is not None:
        ledger.sign_head(signer)
    _say(f"entry {entry.number}")


def _say(text: str) -> None:
    # As it is: digests and JSON are copied from here, so nothing is wrapped or coloured.
    typer.echo(text)


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise LedgerError(f"{path}: not JSON that can be read ({error})") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise LedgerError(f"{path}: could not write: {error.strerror}") from error


def _show_or_write(table: dict[str, Any], out: Path | None) -> None:
    if out is None:
        _say(canonical_json(table).decode())
    else:
        _write(out, canonical_json(table))
        _say(f"proof in {out}")
