"""What was read is told exactly: over train steps, ranks and a resume, and apart from what was only made ready."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from toy import CART, LINES

from genba.data.reads import Reads
from genba.data.vault import Vault
from genba.errors import CheckpointError, DataError
from genba.train import checkpoint
from genba.train.data import TrainingData, prepare
from genba.train.loader import Loader
from genba.train.loop import train
from genba.train.recipe import recipe
from genba.trust.folder import SAMPLES, TrustFolder

MACHINES = [CART.embodiment, LINES.embodiment]
#: 8 windows of each of two machines per train step
RECIPE = replace(recipe("debug"), num_steps=12, checkpoint_every=6, evaluate_every=6, evaluate_batches=1)
AGREEMENT = """
owner = "genba"
[[agreements]]
id = "genba-demo"
datasets = ["default"]
parties = ["Sample Works Research"]
purposes = ["train"]
jurisdictions = ["JP"]
sites = ["nagoya-lab"]
from = 2020-01-01
until = 2999-12-31
"""


@pytest.fixture(scope="module")
def run(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 train steps, committed after 6 and 12."""
    folder = tmp_path_factory.mktemp("run")
    train(RECIPE, prepare(vault, MACHINES, RECIPE), folder)
    return folder


def reads(folder: Path, step: int) -> Reads:
    found = checkpoint.reads_of(folder / f"step_{step:06d}")
    assert found is not None
    return found


def counted(record: Reads) -> Counter[tuple[str, str]]:
    """(what was counted, embodiment) -> windows."""
    out: Counter[tuple[str, str]] = Counter()
    for one in record.windows:
        out[one.counted, one.embodiment] += one.windows
    return out


def test_every_window_that_a_train_step_used_is_counted_with_its_owner(run: Path):
    found = counted(reads(run, 12))
    for machine in MACHINES:
        # 12 train steps of 8 windows; evaluated after 6 and 12 on one batch of 8 each; nothing is made beyond the end.
        assert found["trained", machine.id] == 96
        assert found["evaluated", machine.id] == 16
        assert found["decoded", machine.id] == 96 + 16
    assert sum(reads(run, 12).windows_by_owner.values()) == 192


def test_windows_made_ahead_count_as_decoded_and_not_as_trained(vault: Vault):
    data = prepare(vault, MACHINES, RECIPE)
    record = data.reads(start=0, rank=0, world_size=1, previous=None)
    loader = Loader(data.training, data.embodiments, RECIPE.model, seed=0, ahead=3, reads=record)
    steps = loader.steps(0, 12)
    for _ in range(2):
        next(steps)
    # Waits for what is being made.
    steps.close()
    found = counted(record.commit(2))
    assert found["trained", CART.embodiment.id] == 2 * 8
    # Of step 1, three more were asked for: the batches 0 to 4 were made.
    assert found["decoded", CART.embodiment.id] == 5 * 8


def test_shards_are_told_by_use(vault: Vault, run: Path):
    data, record = prepare(vault, MACHINES, RECIPE), reads(run, 12)
    everything = {(e.metadata.owner, e.metadata.dataset, e.digest) for m in MACHINES for e in vault.entries(m.id)}
    assert set(record.shards_of("opened")) == set(record.shards_of("statistics")) == everything
    used, measured = used_by(data, data.training, range(12)), used_by(data, data.evaluation, range(1))
    assert set(record.shards_of("trained")) == used
    assert set(record.shards_of("evaluated")) == measured
    assert not used & measured
    # Numbers are normalised by statistics of everything, so the weights depend on everything.
    assert set(record.trained_on) == everything
    assert record.agreements == tuple(sorted({(o, d, a) for o, d, a in whose(vault)}))


def whose(vault: Vault) -> list[tuple[str, str, str]]:
    return [(e.metadata.owner, e.metadata.dataset, e.metadata.agreement) for m in MACHINES for e in vault.entries(m.id)]


def used_by(data: TrainingData, mixture, steps: range) -> set[tuple[str, str, str]]:
    """Owner, data set and digest of the shards of every window of these steps, found by their episodes' names."""
    out = set()
    for step in steps:
        for _, source, indices in mixture.drawn(step):
            for index in indices.tolist():
                entry = next(e for e in source.entries if e.episode_id == source.locate(index)[0])
                out.add((entry.metadata.owner, entry.metadata.dataset, entry.digest))
    return out


def test_a_resumed_run_has_read_what_one_that_never_stopped_has(vault: Vault, run: Path, tmp_path: Path):
    train(RECIPE, prepare(vault, MACHINES, RECIPE), tmp_path, stop_at=6)
    train(RECIPE, prepare(vault, MACHINES, RECIPE), tmp_path)
    whole, halves = reads(run, 12), reads(tmp_path, 12)
    assert halves.root == whole.root
    assert halves.before == reads(tmp_path, 6).root != ""
    assert [(r.start, r.stop) for r in halves.ranges] == [(0, 6), (6, 12)]
    assert halves.is_complete


def test_ranks_together_have_read_what_one_has(vault: Vault):
    data = prepare(vault, MACHINES, RECIPE)

    def account(rank: int, world_size: int):
        record = data.reads(start=0, rank=rank, world_size=world_size, previous=None)
        loader = Loader(
            data.training, data.embodiments, RECIPE.model, seed=0, rank=rank, world_size=world_size, reads=record
        )
        list(loader.steps(0, 6))
        return record

    alone = account(0, 1).commit(6)
    first, second = account(0, 2), account(1, 2)
    part = first.take(6)
    together = first.join([second.take(6), part])
    assert (together.shards, together.windows) == (alone.shards, alone.windows)
    # Each of the two used half of the windows.
    assert [(r.rank, r.world_size, r.windows) for r in together.ranges] == [(0, 2, 48), (1, 2, 48)]
    assert together.is_complete
    # Without the second rank's part nobody may believe that this is all.
    assert not account(0, 2).join([part]).is_complete


def test_a_gap_in_the_steps_is_not_complete(vault: Vault):
    data = prepare(vault, MACHINES, RECIPE)
    record = data.reads(start=6, rank=0, world_size=1, previous=None)
    list(Loader(data.training, data.embodiments, RECIPE.model, seed=0, reads=record).steps(6, 8))
    assert not record.commit(8).is_complete


def test_the_digest_of_a_range_changes_with_any_window_in_it(vault: Vault):
    def digest(seed: int) -> str:
        data = prepare(vault, MACHINES, replace(RECIPE, seed=seed))
        record = data.reads(start=0, rank=0, world_size=1, previous=None)
        list(Loader(data.training, data.embodiments, RECIPE.model, seed=0, reads=record).steps(0, 2))
        return record.commit(2).ranges[0].digest

    assert digest(1) == digest(1) != digest(2)


def test_a_record_reads_back_and_a_changed_one_is_refused(run: Path):
    record = reads(run, 12)
    assert Reads.from_bytes(record.to_bytes(), place="here") == record
    table = json.loads(record.to_bytes())
    table["windows"][0]["windows"] += 1
    with pytest.raises(DataError, match=r"here: not a record of what was read"):
        Reads.from_bytes(json.dumps(table).encode(), place="here")
    with pytest.raises(DataError, match=r"here: not a record of what was read.*genba-reads@1"):
        Reads.from_bytes(b'{"format": "other"}', place="here")


def test_a_checkpoint_whose_record_was_exchanged_or_taken_away_is_refused(run: Path, tmp_path: Path):
    for step in (6, 12):
        (tmp_path / f"step_{step:06d}").mkdir()
        for name in ("run.json", "reads.json"):
            (tmp_path / f"step_{step:06d}" / name).write_bytes((run / f"step_{step:06d}" / name).read_bytes())
    path = tmp_path / "step_000012" / "reads.json"
    path.write_bytes((tmp_path / "step_000006" / "reads.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"reads\.json: got record sha256:.*, the checkpoint was written with"):
        checkpoint.reads_of(path.parent)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"reads\.json: what was read until this checkpoint is not known"):
        checkpoint.reads_of(path.parent)


def test_each_checkpoint_enters_its_root_in_the_ledger(vault: Vault, tmp_path: Path):
    # Agreements of whoever owns what a simulation records: what nobody agreed on is not trained on under a trust folder.
    (tmp_path / "genba.toml").write_text(AGREEMENT)
    trust = TrustFolder.create(
        tmp_path / "trust",
        party="Sample Works Research",
        site="nagoya-lab",
        sites_from=SAMPLES / "sites.toml",
        agreements_from=[tmp_path / "genba.toml"],
    )
    train(RECIPE, prepare(vault, MACHINES, RECIPE), tmp_path / "run", trust=trust)
    lines = [json.loads(line) for line in (trust.path / "ledger" / "entries.jsonl").read_text().splitlines()]
    entered = [line["body"] for line in lines if line["kind"] == "read"]
    assert [(body["step"], body["root"]) for body in entered] == [
        (step, reads(tmp_path / "run", step).root) for step in (6, 12)
    ]
