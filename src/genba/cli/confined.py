"""Which commands run confined, what each may touch, and how it is put into the sandbox before anything of it is imported.

Where there is a trust folder (``--trust`` or ``$GENBA_TRUST``), every command that touches an owner's data is run again inside. Its
hosts follow from the agreements of that data (``genba.trust.sandbox.agreed``), its files from its own words: ``COMMANDS`` says what
each word of each command means. The trust folder can be read but for its private keys; decisions and the ledger are asked of a
clerk outside; of the owners' keys only those of the data that is touched can be read, and none written. The egress log lies in the
trust folder, and its digest is entered in the ledger when the command has ended.

A host that needs more (a hardware module's socket, a screen) is given it by ``confine.toml`` in the trust folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from genba.cli.demo_trust import default_out, demo_trust
from genba.config import read_toml
from genba.data.catalog import Catalog
from genba.data.vault import CATALOG_NAME
from genba.errors import ConfigError, KeyUnavailableError, SandboxError
from genba.trust.agreements import SITES_FILE
from genba.trust.clerk import clerk
from genba.trust.denied import KEY as DENIED
from genba.trust.folder import CACHE_FOLDER, EGRESS_FOLDER, HOST_FILE, VARIABLE, TrustFolder
from genba.trust.keys import FileKeys, KeyProvider, key_id
from genba.trust.pkcs11 import keys_from_environment
from genba.trust.requests import Holding
from genba.trust.sandbox.agreed import agreed_policy
from genba.trust.sandbox.log import egress_digest, read_log
from genba.trust.sandbox.policy import PathRule, Policy, path_rule
from genba.trust.sandbox.run import RUN_VARIABLE, UNENFORCED_VARIABLE, is_sandboxed, run_sandboxed
from genba.trust.sandbox.support import missing

#: command -> its words, or "" where it touches no owner's data. A word in capitals stands in its place, the others are
#: options. After a word: "<" a path to read, ">" a folder to write, made where there is none, "^" a file or folder to make or
#: replace, whose parent must be written for that; "@" the address of a floor; "!" an option without a value. What has no sign is no path.
COMMANDS: dict[str, str] = {
    "demo": "--out> --quick! --long! --processes",
    "data import": "PATH< --vault> --dbc< --reader --option -o --owner --dataset --site --jurisdiction --agreement --frames "
    "--workers --ray! --dry-run! --stop-on-error!",
    "data formats": "",
    "data list": "--vault< --embodiment --task --each!",
    "data show": "EPISODE --vault< --purpose",
    "data check": "--vault< --episode --embodiment --owner --thresholds< --set --json^ --purpose",
    "data view": "EPISODE --vault< --save^ --purpose",
    "data fsck": "--vault> --repair!",
    "data compact": "--vault> --target",
    "data rebuild": "--vault>",
    "data export": "OUT^ --format --vault< --embodiment --task --episode --purpose",
    "train run": "--vault< --out> --recipe --steps --stop-at --batch --share --embodiment --start-from< "
    "--resume-from< --attribute --seed --device --processes --leave-out-refused!",
    "train recipes": "",
    "bundle export": "RUN< --embodiment --out^ --flow-steps",
    "bundle check": "PATH<",
    "bundle show": "PATH<",
    "bench run": "TASK --policy< --episodes --workers --out^ --flow-steps --deadline! --no-deadline! --mask-channel --candidates "
    "--surprise --guard! --no-guard! --way-round! --no-way-round! --name --pictures>",
    "bench conditions": "MACHINE --policy< --out> --episodes --workers --deadline! --no-deadline! --guard! --no-guard! "
    "--way-round! --no-way-round! --pictures>",
    "bench collect": "TASK --vault> --policy< --episodes --first-seed --labeller --perturb --workers --owner --dataset --site "
    "--jurisdiction --agreement",
    "bench list": "",
    "factory anomalies": "FOLDER< --seeds --steps --unmarked! --out^",
    "factory run": "--floor@ --journal^ --policy< --deadline --plans --out^",
    "factory what-if": "--floor@ --size --seed --delay --breakdown --rush --event< --policy< --deadline --show --page^ --open! --write!",
    "factory record": "--floor@ --vault> --seconds --episode-seconds --owner --dataset --site --jurisdiction --agreement",
    "machine watch": "TASK --policy< --seed --save^ --speed",
    "report page": "RUN_DIR> --out^ --open!",
    "report readme": "",
    "report stores": "",
    "report readers": "",
    "report conditions": "",
    "report vehicle-logs": "",
    "report job-shops": "",
    "report anomalies": "",
    "trust contribution": "RUN< --vault< --out^ --leakage! --no-leakage!",
}
#: nouns whose commands are confined only where ``COMMANDS`` names them: they keep the rules, the keys and the ledger, or know
#: no owner's data, as a factory's other commands
UNCONFINED = ("trust", "audit", "plan", "factory")
#: nouns with a command that need not be said (``default_command``)
_DEFAULTS = {"bench": "run", "report": "page"}
#: commands that a machine runs by a small folder of its own
_ON_MACHINES = (
    "bench run",
    "bench conditions",
    "factory run",
    "factory what-if",
    "machine watch",
    "bundle check",
    "bundle show",
)
#: what torchrun tells its ranks
_TORCHRUN = "TORCHELASTIC_RUN_ID"
#: what an option has where it is not given
_GIVEN = {"--vault": (os.environ.get("GENBA_VAULT") or "vault")}

#: Ports of floors whose address names none.
_FLOOR_PORTS = {"opc.tcp": 4840, "mqtt": 1883}
#: Files in which libraries keep what they compiled or found out; within, they lie in the trust folder.
_CACHES = {
    "XDG_CACHE_HOME": "",
    "NUMBA_CACHE_DIR": "numba",
    "MPLCONFIGDIR": "matplotlib",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
}
#: Accelerators and their displays. No fabric between hosts is among them.
_ACCELERATORS = ("dri", "nvidia", "kfd")


@dataclass(frozen=True, kw_only=True, slots=True)
class HostFacts:
    """``confine.toml``: what commands need on this host beside what they name."""

    readable: tuple[str, ...] = ()
    """Paths that may be read, e.g. a hardware module's configuration."""
    writable: tuple[str, ...] = ()
    """Paths that may be written, e.g. the folder of a software token."""
    sockets: tuple[str, ...] = ()
    """Unix sockets of services, e.g. ``/run/pcscd/pcscd.comm``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """What the words of one command line name."""

    command: str
    """A key of ``COMMANDS``."""
    options: tuple[tuple[str, str], ...] = ()
    """Every option that is given with a value, by name."""
    paths: tuple[tuple[str, str], ...] = ()
    """``<``, ``>`` or ``^``, and the path; ``@`` and the address."""
    flags: tuple[str, ...] = ()
    """Every option that is given without a value."""

    def option(self, name: str) -> str:
        """Return the last value of an option; empty where it is not given."""
        return next((value for one, value in reversed(self.options) if one == name), "")


def enter(arguments: Sequence[str], command: Sequence[str] | None = None) -> list[str]:
    """Return the arguments without ``--trust`` where the command is to be run here; else run it confined, and exit.

    Args:
        arguments: noun, command and its words.
        command: what runs them; this very process's command line by default.

    Raises:
        ConfigError: a trust folder that is none, or a command that cannot be confined.
        SandboxError: it was not run: the kernel cannot enforce, or it needs what no agreement allows.
    """
    arguments = list(arguments)
    if not arguments or (arguments[0] in UNCONFINED and " ".join(arguments[:2]) not in COMMANDS):
        return arguments
    arguments, given, is_unenforced = _without_trust(arguments)
    if given:
        os.environ[VARIABLE] = str(Path(given).absolute())
    if is_unenforced:
        os.environ[UNENFORCED_VARIABLE] = "1"
    words = words_of(arguments)
    if words is None or is_sandboxed():
        return arguments
    if RUN_VARIABLE in os.environ and os.environ.get(UNENFORCED_VARIABLE) == "1" and missing():
        # Development's override: the process outside has said that nothing is enforced, and written it down.
        return arguments
    if words.command == "demo" and not given:
        plan = next((name for name in ("quick", "long") if f"--{name}" in words.flags), "full")
        out = Path(words.option("--out") or default_out(plan))
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        words = dataclasses.replace(words, paths=((">", str(out)),))
        sys.exit(run_confined(demo_trust(out), words, command))
    folder = os.environ.get(VARIABLE)
    if not folder:
        return arguments
    trust = TrustFolder.open(folder)
    if words.command in _ON_MACHINES and not (trust.path / SITES_FILE).exists():
        # A machine's own folder knows no sites and no agreements: there is nobody's data there.
        return arguments
    sys.exit(run_confined(trust, words, command))


def run_confined(trust: TrustFolder, words: Words, command: Sequence[str] | None = None) -> int:
    """Run a command of this program confined, enter its egress log in the ledger, and return its exit status.

    Args:
        trust: whose rules it stands under.
        words: what it names.
        command: what to run; this very command line by default.

    Raises:
        SandboxError: it was not run: the kernel cannot enforce, or it needs what no agreement allows.
    """
    if "--ray" in words.flags:
        raise ConfigError("--ray: Ray's processes run outside of this command and cannot be confined; use --workers")
    if _TORCHRUN in os.environ:
        raise ConfigError(
            f"{words.command}: started by torchrun outside of the sandbox, so its ranks could not reach each other; start them "
            f"within: genba train run --processes N; or one rank per site, each with MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE"
        )
    command = [sys.executable, *sys.orig_argv[1:]] if command is None else command
    terms = tuple(terms_of(trust, words))
    policy = _with_files(policy_of(trust, words, terms), trust, words, terms)
    run = uuid.uuid4().hex
    log = trust.path / EGRESS_FOLDER / f"{run}.jsonl"
    with clerk(trust) as (socket, variables):
        policy = dataclasses.replace(
            policy, sockets=(*policy.sockets, PathRule(path=str(socket), source="decides and records for it"))
        )
        environment = os.environ | variables | _environment(trust)
        try:
            status = run_sandboxed(command, policy, log, run=run, environment=environment)
        except SandboxError as error:
            if words.command == "demo" and missing():
                raise SandboxError(
                    f"{error}. To see the demo all the same: {UNENFORCED_VARIABLE}=1 make demo"
                ) from error
            raise
    enter_egress(trust, log, run, words.command)
    return status


def enter_egress(trust: TrustFolder, log: Path, run: str, command: str) -> None:
    """Enter the digest of a run's egress log, and what came of the run, in the ledger, and sign a head."""
    lines = list(read_log(log, run))
    start, end = lines[0], lines[-1]
    body = {
        "run": run,
        "command": command,
        "log": f"{EGRESS_FOLDER}/{log.name}",
        "lines": len(lines),
        "digest": egress_digest(log),
        "policy": start["policy_digest"],
        "is_enforced": start["is_enforced"],
        "status": end["status"],
        "allowed": end.get("allowed", 0),
        "refused": end.get("refused", 0),
    }
    trust.ledger.append("egress", body)
    trust.sign_head()


def words_of(arguments: Sequence[str]) -> Words | None:
    """Return what a command line names, None where the command touches no owner's data or there is no such command."""
    noun, *rest = arguments
    if any(word in ("--help", "-h") for word in rest):
        return None
    name = noun
    if noun not in COMMANDS:
        verb = rest[0] if rest else ""
        if f"{noun} {verb}" not in COMMANDS and noun in _DEFAULTS:
            rest, verb = ["", *rest], _DEFAULTS[noun]
        name, rest = f"{noun} {verb}", rest[1:]
    if not COMMANDS.get(name):
        return None
    if name == "factory what-if" and not any(word.partition("=")[0] == "--floor" for word in rest):
        # A drawn instance is nobody's.
        return None
    places, meant = [], {}
    for word in COMMANDS[name].split():
        bare = word.rstrip("<>^@!")
        if bare.startswith("-"):
            meant[bare] = word[len(bare) :]
        else:
            places.append(word[len(bare) :])
    options, paths, flags, waiting = [], [], [], list(rest)
    while waiting:
        word, equals, value = waiting.pop(0).partition("=")
        if word.startswith("-") and len(word) > 1:
            sign = meant.get(word, "")
            if sign == "!":
                flags.append(word)
                continue
            if not equals:
                value = waiting.pop(0) if waiting else ""
            options.append((word, value))
        else:
            value, sign = word + equals + value, places.pop(0) if places else ""
        if sign:
            paths.append((sign, value))
    given = {option for option, _ in options}
    for option, value in _GIVEN.items():
        if option in meant and option not in given:
            options.append((option, value))
            paths.append((meant[option], value))
    return Words(command=name, options=tuple(options), paths=tuple(paths), flags=tuple(flags))


def terms_of(trust: TrustFolder, words: Words) -> set[Holding]:
    """Return whose data a command touches: what its vault holds, what it names, and what could be stored with neither."""
    found: set[Holding] = set()
    if words.command == "data import" and words.option("--owner") and words.option("--agreement"):
        # An import of one owner's logs touches nobody else's data, whoever else has some in the vault.
        owner, agreement = words.option("--owner"), words.option("--agreement")
        datasets = [
            dataset for one in trust.rules.agreements_of(owner) if one.id == agreement for dataset in one.datasets
        ]
        return {
            Holding(owner, dataset, agreement) for dataset in datasets if words.option("--dataset") in ("", dataset)
        }
    if (vault := words.option("--vault")) and (catalog := Path(vault) / CATALOG_NAME).is_file():
        found |= Catalog(catalog).holdings()
    is_storing = any(sign == ">" and path == vault for sign, path in words.paths) or words.command == "demo"
    if is_storing or not found:
        for owner in trust.rules.owners:
            for one in owner.agreements:
                if trust.party in one.parties and trust.site in one.sites:
                    found |= {Holding(owner.owner, dataset, one.id) for dataset in one.datasets}
    return found


def policy_of(trust: TrustFolder, words: Words, terms: Iterable[Holding]) -> Policy:
    """Return what a command may reach, without files.

    Raises:
        SandboxError: it names an endpoint that nobody declared, or that not every agreement allows.
    """
    needed = [_floor_endpoint(path) if sign == "@" else _endpoint(path) for sign, path in words.paths if "://" in path]
    now_s = time.time_ns() // 1_000_000_000
    return agreed_policy(trust.rules, party=trust.party, site=trust.site, terms=terms, now_s=now_s, needed=needed)


def _endpoint(location: str) -> str:
    """Return the host and port that serve an object store's location."""
    url = urlsplit(location)
    query = parse_qs(url.query)
    default = 80 if query.get("scheme") == ["http"] else 443
    host = query.get("endpoint_override", ["s3.amazonaws.com"])[0]
    return host if ":" in host else f"{host}:{default}"


def _floor_endpoint(address: str) -> str:
    """Return the host and port of a floor's address."""
    try:
        url = urlsplit(address)
        port = url.port or _FLOOR_PORTS[url.scheme]
        if not url.hostname:
            raise ValueError("no host")
    except (ValueError, KeyError) as error:
        raise ConfigError(
            f"--floor: got {address!r}, expected opc.tcp://HOST:PORT or mqtt://HOST:PORT/GROUP/NODE"
        ) from error
    return f"[{url.hostname}]:{port}" if ":" in url.hostname else f"{url.hostname}:{port}"


def _with_files(policy: Policy, trust: TrustFolder, words: Words, terms: Iterable[Holding]) -> Policy:
    readable, writable = list(_code_rules()), []
    for sign, path in words.paths:
        if "://" in path or not path or sign == "@":
            continue
        where = Path(path)
        if sign == "<":
            readable += [path_rule(where, "named on the command line")] if where.exists() else []
            continue
        folder = where if sign == ">" else where.absolute().parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder}: cannot be made: {error.strerror}; expected a folder that may be written"
            ) from error
        writable.append(path_rule(folder, "named on the command line"))
    for name, value in words.options:
        # A reader's option may be a file: --option mapping=FILE.
        if name in ("--option", "-o") and (given := Path(value.partition("=")[2])).is_file():
            readable.append(path_rule(given, "named on the command line"))
    for folder in (EGRESS_FOLDER, CACHE_FOLDER):
        (trust.path / folder).mkdir(exist_ok=True, mode=0o700)
    readable += _trust_rules(trust)
    writable.append(path_rule(trust.path / CACHE_FOLDER, "what libraries compiled"))
    keys = keys_from_environment()
    readable += _key_rules(keys, terms, is_storing=bool(writable))
    writable += _accelerators()
    host = _host_facts(trust.path / HOST_FILE)
    source = f"{HOST_FILE} of this host"
    return dataclasses.replace(
        policy,
        readable=tuple(dict.fromkeys([*readable, *(path_rule(one, source) for one in host.readable)])),
        writable=tuple(dict.fromkeys([*writable, *(path_rule(one, source) for one in host.writable)])),
        sockets=tuple(path_rule(one, source) for one in host.sockets),
    )


def _trust_rules(trust: TrustFolder) -> Iterator[PathRule]:
    """Yield the trust folder, or, where the private keys lie in it, everything else that is there now."""
    keys = trust.key_folder.resolve()
    if not keys.is_relative_to(trust.path.resolve()):
        yield path_rule(trust.path, "trust folder")
        return
    for one in sorted(trust.path.iterdir()):
        if not keys.is_relative_to(one.resolve()):
            yield path_rule(one, "trust folder, without private keys")


def _key_rules(keys: KeyProvider, terms: Iterable[Holding], *, is_storing: bool) -> Iterator[PathRule]:
    """Yield the keys of the data that is touched; made here where something may be stored, because none is made within."""
    for owner, dataset in sorted({(owner, dataset) for owner, dataset, _ in terms}):
        key = key_id(owner, dataset)
        if is_storing:
            # A destroyed key stays destroyed; the command says so when it needs it.
            with contextlib.suppress(KeyUnavailableError):
                keys.create(key)
        if isinstance(keys, FileKeys) and (path := keys.folder / f"{quote(key, safe='')}.key").exists():
            yield path_rule(path, f"key of {owner}/{dataset}")
    if isinstance(keys, FileKeys) and (path := keys.folder / f"{quote(DENIED, safe='')}.key").exists():
        yield path_rule(path, "key of the lists of what was withdrawn")
    if not isinstance(keys, FileKeys):
        for name in ("GENBA_PKCS11_LIBRARY", "GENBA_PKCS11_PIN_FILE", "SOFTHSM2_CONF"):
            if (given := os.environ.get(name)) and Path(given).exists():
                yield path_rule(given, f"hardware module (${name})")


def _code_rules() -> Iterator[PathRule]:
    """Yield where git keeps what it knows of this code, so that results can name their commit."""
    for folder in Path(__file__).resolve().parents:
        found = folder / ".git"
        if found.is_dir():
            yield path_rule(found, "history of the code")
            return
        if found.is_file():
            # A work tree beside its repository: the file says where, and a file there says where the rest is.
            place = (folder / found.read_text(encoding="utf-8").removeprefix("gitdir:").strip()).resolve()
            common = place / "commondir"
            rest = (place / common.read_text(encoding="utf-8").strip()).resolve() if common.is_file() else place
            yield path_rule(found, "history of the code")
            yield path_rule(rest, "history of the code")
            return


def _accelerators() -> Iterator[PathRule]:
    for one in sorted(Path("/dev").iterdir()):
        if one.name.startswith(_ACCELERATORS):
            yield path_rule(one, "accelerators of this host")


def _host_facts(path: Path) -> HostFacts:
    return read_toml(path, HostFacts) if path.is_file() else HostFacts()


def _environment(trust: TrustFolder) -> dict[str, str]:
    cache = trust.path / CACHE_FOLDER
    caches = {name: str(cache / folder) for name, folder in _CACHES.items()}
    # The user's own settings of git may not be read within.
    return caches | {VARIABLE: str(trust.path), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def _without_trust(arguments: list[str]) -> tuple[list[str], str, bool]:
    """Return the arguments without ``--trust`` and ``--unenforced``, the first one's value, and whether the second is there."""
    rest, given, is_unenforced = [], "", False
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--trust":
            if not waiting:
                raise ConfigError("--trust: got nothing, expected a trust folder; make one: genba trust init")
            given = waiting.pop(0)
        elif word.startswith("--trust="):
            given = word.partition("=")[2]
        elif word == "--unenforced":
            is_unenforced = True
        else:
            rest.append(word)
    return rest, given, is_unenforced
