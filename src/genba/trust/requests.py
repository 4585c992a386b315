"""What may be asked: who wants to do what, with whose data, for which purpose, where.

A request holds facts only. Whether it is allowed is decided in ``decide``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

from genba.trust.digest import digest_json

Purpose = Literal["train", "evaluate", "adapt", "deploy"]
#: what an agreement may allow data, or what was made of it, to be used for
PURPOSES: tuple[str, ...] = get_args(Purpose)

#: what may be done -> the purpose that it serves, none for taking data in and keeping it whole; None: the request says which
ACTS: dict[str, str | None] = {
    "admit": "",
    "keep": "",
    "read": None,
    "train": "train",
    "evaluate": "evaluate",
    "adapt": "adapt",
    "export": "deploy",
    "deploy": "deploy",
}
#: what serves no purpose yet: storing data, and opening what is stored to pack, mend or seal it anew
CUSTODY = ("admit", "keep")
#: what is done for one type of machine, which the agreement must list
ACTS_ON_MACHINES = ("adapt", "export", "deploy")


class Holding(NamedTuple):
    """What is asked about: whose data, which of the owner's data sets, and the agreement that it was admitted under."""

    owner: str
    dataset: str
    agreement: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One question."""

    act: str
    """What is to be done, one of ``ACTS``."""
    party: str
    """Who wants to do it."""
    owner: str
    """Whose data it is."""
    dataset: str
    """Which of the owner's data sets."""
    agreement: str
    """Id of the agreement under which the data was, or is to be, admitted."""
    sites: tuple[str, ...]
    """Every site where it happens."""
    endpoints: tuple[str, ...] = ()
    """Every endpoint for storage or computing that it uses beyond what the sites are themselves."""
    purpose: str = ""
    """What data is read for; every other act says that itself."""
    embodiment: str = ""
    """The machine type that a model is adapted to, exported for or deployed on."""

    def __post_init__(self) -> None:
        for name in ("party", "owner", "dataset", "agreement"):
            if not getattr(self, name):
                raise ValueError(f"{name}: got nothing, expected a name")
        if self.act not in ACTS:
            raise ValueError(f"act: got {self.act!r}, expected one of {', '.join(ACTS)}")
        if not self.sites or not all(self.sites):
            raise ValueError(f"sites: got {list(self.sites)}, expected the id of every site where it happens")
        implied = ACTS[self.act]
        if implied is None and self.purpose not in PURPOSES:
            raise ValueError(f"purpose: got {self.purpose!r}, expected what is read for: one of {', '.join(PURPOSES)}")
        if implied is not None and self.purpose not in ("", implied):
            raise ValueError(
                f"purpose: got {self.purpose!r}, but {self.act!r} has {f'purpose {implied!r}' if implied else 'none'}"
            )
        if (self.act in ACTS_ON_MACHINES) != bool(self.embodiment):
            expected = "the machine type's id" if self.act in ACTS_ON_MACHINES else f"none for {self.act!r}"
            raise ValueError(f"embodiment: got {self.embodiment!r}, expected {expected}")

    @property
    def serves(self) -> str:
        """The purpose that the agreement must allow; empty for custody, which serves none yet."""
        implied = ACTS[self.act]
        return self.purpose if implied is None else implied

    def body(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self) | {"sites": list(self.sites), "endpoints": list(self.endpoints)}

    @property
    def digest(self) -> str:
        """Digest of what is asked."""
        return digest_json(self.body())
