"""A bundle: the directory that is deployed to a machine. Plain files, no pickle, readable without torch.

* ``manifest.json``: format, the embodiment's facts, statistics, flow steps, noise, digests, provenance;
* ``encoder.onnx``: packed observation -> what the flow attends to, and the scores of each choice;
* ``flow.onnx``: one flow step, where the machine has continuous actions;
* ``latents.onnx`` and ``world.onnx``: what of an observation the world model foretells, and that one horizon ahead; where the
  machine's actions are all continuous. Bundles of before they existed have neither (``Bundle.has_world``);
* ``golden.npz``: inputs with the outputs that the exporting computer found, for the self-test on the machine.

Reading checks every digest, and every fact against the machine's own. Read next: ``engine``, which runs it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genba.config import build
from genba.errors import BundleError, ConfigError
from genba.spec.embodiment import Embodiment
from genba.spec.statistics import Statistics
from genba.trust.digest import digest_file

FORMAT, VERSION = "genba-bundle", 1
MANIFEST, ENCODER, FLOW, GOLDEN = "manifest.json", "encoder.onnx", "flow.onnx", "golden.npz"
LATENTS, WORLD = "latents.onnx", "world.onnx"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bundle:
    """What ``Bundle.read`` found, checked."""

    path: Path
    embodiment: Embodiment
    statistics: Statistics
    #: flow steps to take when there is time for all
    flow_steps: int
    #: where the flow starts: ``"zero"`` (the conditional mean after one step) or ``"gaussian"`` (seeded draws)
    noise: str
    #: sha256 over the names, shapes and bytes of all weights
    weights_digest: str
    #: what the exporter was told: recipe, data, commit, and so on
    provenance: Mapping[str, Any]
    #: file name -> sha256
    files: Mapping[str, str]
    #: each latent's usual squared prediction error, float32 ``[latent]``; empty where there is no world
    surprise_scale: np.ndarray

    @property
    def has_world(self) -> bool:
        """Whether the world model came along."""
        return WORLD in self.files

    @staticmethod
    def read(path: Path | str, embodiment: Embodiment | None = None) -> Bundle:
        """Read and check a bundle; ``embodiment`` is the machine that it shall run on.

        Raises:
            BundleError: a file is missing or changed, the format is not known, or a fact differs from the machine's.
        """
        path = Path(path)
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BundleError(f"{path}: no {MANIFEST}; expected a directory written by an export") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BundleError(f"{path / MANIFEST}: not valid JSON ({error}); export the bundle again") from error
        got = (manifest.get("format"), manifest.get("version")) if isinstance(manifest, dict) else manifest
        if got != (FORMAT, VERSION):
            raise BundleError(f"{path / MANIFEST}: got format and version {got}, expected {(FORMAT, VERSION)}")
        bundle = _parse(path, manifest)
        for name, digest in bundle.files.items():
            check_file(path / name, digest)
        if embodiment is not None:
            check_facts(path, bundle.embodiment, embodiment)
        return bundle

    def golden(self) -> dict[str, np.ndarray]:
        """Return the golden vectors by name."""
        with np.load(self.path / GOLDEN, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def is_bundle(path: Path | str) -> bool:
    """Say whether ``path`` looks like a bundle, without checking it."""
    return (Path(path) / MANIFEST).is_file()


def manifest_of(
    embodiment: Embodiment,
    statistics: Statistics,
    *,
    flow_steps: int,
    noise: str,
    weights_digest: str,
    provenance: Mapping[str, Any],
    files: Mapping[str, str],
    surprise_scale: Sequence[float] = (),
) -> dict[str, Any]:
    """Return what ``manifest.json`` holds."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "embodiment": dataclasses.asdict(embodiment),
        "statistics": statistics.to_json(),
        "flow_steps": flow_steps,
        "noise": noise,
        "weights_digest": weights_digest,
        "provenance": dict(provenance),
        "files": dict(sorted(files.items())),
        **({"surprise_scale": list(surprise_scale)} if surprise_scale else {}),
    }


def check_file(path: Path, digest: str) -> None:
    """Refuse a file that is missing or whose digest differs.

    Raises:
        BundleError: naming the file.
    """
    if not path.is_file():
        raise BundleError(f"{path}: missing; the manifest lists it, copy the whole directory again")
    if (got := digest_file(path)) != digest:
        raise BundleError(f"{path}: got {got[:23]}..., expected {digest[:23]}...; copy or export it again")


def check_facts(path: Path, ours: Embodiment, machine: Embodiment) -> None:
    """Refuse a bundle whose facts differ from the machine's in anything but words.

    Raises:
        BundleError: naming the first fact that differs, as the bundle has it and as the machine has it.
    """
    different = _difference(_plain(ours), _plain(machine), "")
    if different is not None:
        where, got, expected = different
        raise BundleError(
            f"{path}: made for another {machine.id}: {where}: bundle {got!r}, machine {expected!r}; "
            "train and export for this machine's facts"
        )


def _parse(path: Path, manifest: dict[str, Any]) -> Bundle:
    where = str(path / MANIFEST)
    try:
        bundle = Bundle(
            path=path,
            embodiment=build(manifest["embodiment"], Embodiment, where=where, path="embodiment"),
            statistics=Statistics.from_json(manifest["statistics"]),
            flow_steps=int(manifest["flow_steps"]),
            noise=manifest["noise"],
            weights_digest=manifest["weights_digest"],
            provenance=manifest["provenance"],
            files=manifest["files"],
            surprise_scale=np.array(manifest.get("surprise_scale", []), np.float32),
        )
    except KeyError as error:
        raise BundleError(f"{where}: {error.args[0]}: missing; export the bundle again") from error
    except (ConfigError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{where}: cannot be read ({error}); export the bundle again") from error
    if bundle.flow_steps < 1 or bundle.noise not in ("zero", "gaussian"):
        raise BundleError(
            f"{where}: flow_steps, noise: got {bundle.flow_steps}, {bundle.noise!r}, expected at least 1 and "
            "'zero' or 'gaussian'"
        )
    needed = {ENCODER, GOLDEN} | ({FLOW} if bundle.embodiment.action.continuous else set())
    if missing := needed - set(bundle.files):
        raise BundleError(f"{where}: files: got no {', '.join(sorted(missing))}; export the bundle again")
    there = {name for name in (LATENTS, WORLD) if name in bundle.files} | (
        {"surprise_scale"} if bundle.surprise_scale.size else set()
    )
    if there and len(there) < 3:
        raise BundleError(
            f"{where}: got only {', '.join(sorted(there))}, expected {LATENTS}, {WORLD} and surprise_scale together or not "
            f"at all; export the bundle again"
        )
    return bundle


def _plain(embodiment: Embodiment) -> Any:
    # words for people, and what only the guard goes by, may be improved without a new model
    facts: dict[str, Any] = {
        name: value for name, value in dataclasses.asdict(embodiment).items() if name != "description"
    }
    for channel in (*facts["telemetry"], *facts["points"]):
        for name in ("needed", "max_silence_s"):
            channel.pop(name, None)
    return json.loads(json.dumps(facts))


def _difference(ours: Any, theirs: Any, where: str) -> tuple[str, Any, Any] | None:
    """Return (place, ours, theirs) of the first difference between two plain values."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and set(ours) == set(theirs):
        pairs = [(f"{where}.{key}".lstrip("."), ours[key], theirs[key]) for key in ours]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        # a list of named things is shown by name
        names = [item.get("name", i) if isinstance(item, dict) else i for i, item in enumerate(ours)]
        pairs = [(f"{where}[{name}]", a, b) for name, a, b in zip(names, ours, theirs, strict=True)]
    else:
        return None if ours == theirs else (where, ours, theirs)
    for place, a, b in pairs:
        if (found := _difference(a, b, place)) is not None:
            return found
    return None
