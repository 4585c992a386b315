"""What is generated for others' programs: each document has what its standard asks for, by that standard's own checker."""

from __future__ import annotations

import json
import subprocess
import sys
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

import jsonschema
import pytest
from audited import WEIGHTS
from governed import ARM, FACTORY, FLEET, MACHINE
from referencing import Registry, Resource

from genba.config import read_toml_text
from genba.errors import ConfigError
from genba.report.evidence import croissant, ml_bom, requirements, training_content
from genba.report.evidence.requirements import Requirement, index
from genba.report.evidence.training_content import NOT_KNOWN, Field

#: reads a description in a process that may not look a name up or connect, and prints what it makes of it
READ_CROISSANT = """
import json, sys, warnings
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"):
        raise AssertionError(f"{event}: {arguments}")
sys.addaudithook(refuse)
warnings.simplefilter("ignore")
import mlcroissant
found = mlcroissant.Dataset(jsonld=json.load(open(sys.argv[1])))
records = [{key: value for key, value in one.items()} for one in found.records("channels")]
print(json.dumps({"errors": list(found.metadata.issues.errors), "name": found.metadata.name, "records": records}))
"""


def documents(whole, pattern: str) -> list[dict]:
    found = [json.loads(path.read_bytes()) for path in sorted(whole.path.glob(pattern))]
    assert found, pattern
    return found


def model(whole, weights: str) -> Path:
    """Return a model's folder."""
    for path in whole.path.glob("models/*/bom.cdx.json"):
        if json.loads(path.read_bytes())["metadata"]["component"]["hashes"][0]["content"] in WEIGHTS[weights]:
            return path.parent
    raise AssertionError(weights)


def test_data_sets_have_what_croissant_requires(whole, party):
    described = documents(whole, f"datasets/*/{croissant.FILE}")
    assert [one["name"] for one in described] == ["Sample Arm Works / grip", "Sample Fleet / driving"]
    for one in described:
        assert set(croissant.REQUIRED) <= set(one)
        assert one["conformsTo"] == "http://mlcommons.org/croissant/1.0" and one["@type"] == "sc:Dataset"
        # Made on 2026-11-01; the data itself is nowhere published, and the description says so.
        assert one["datePublished"] == "2026-11-01" and "not published" in one["description"]
        assert one["creator"]["name"] in one["name"] and one["publisher"]["name"] == "Sample Works Research"
        shards = {shard["contentUrl"]: shard for shard in one["distribution"]}
        assert len(shards) == 2
        for file, shard in shards.items():
            held = next(s for s in party.vault.catalog.shards() if s.file == file)
            assert f"sha256:{shard['sha256']}" == held.digest and shard["contentSize"] == f"{held.size_bytes} B"


def test_croissants_own_reader_takes_them_without_a_connection(whole):
    path = next(iter(sorted(whole.path.glob(f"datasets/*/{croissant.FILE}"))))
    done = subprocess.run([sys.executable, "-c", READ_CROISSANT, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["errors"] == [] and found["name"] == "Sample Arm Works / grip"
    assert [one["channels/channel"] for one in found["records"]] == [channel.name for channel in MACHINE.channels]


@pytest.fixture(scope="module")
def cyclonedx() -> jsonschema.protocols.Validator:
    """The official schema of 1.6, with those that it refers to."""
    files = metadata.files("cyclonedx-python-lib") or []
    folder = next(Path(str(f.locate())).parent for f in files if f.name == "bom-1.6.SNAPSHOT.schema.json")
    names = ("bom-1.6", "spdx", "jsf-0.82")
    schemas = [json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_bytes()) for name in names]
    registry = Registry().with_resources([(one["$id"], Resource.from_contents(one)) for one in schemas])
    return jsonschema.validators.validator_for(schemas[0])(schemas[0], registry=registry)


def test_bills_of_models_are_valid_by_cyclonedx_own_schema(whole, cyclonedx):
    for bill in documents(whole, f"models/*/{ml_bom.FILE}"):
        assert [error.message for error in cyclonedx.iter_errors(bill)] == []
    broken = bill | {"components": [{"type": "model"}]}
    assert any("'model' is not one of" in error.message for error in cyclonedx.iter_errors(broken))


def test_a_model_without_papers_has_a_valid_bill_of_what_is_known(changed, repack, cyclonedx):
    for path in changed.runs.glob("*/*"):
        for paper in ("passport.json", "reads.json", "sources.json", "trained_on.json"):
            (path / paper).unlink()
    made = repack(changed, vaults=(), bundles=())
    bills = documents(made, f"models/without-passport-*/{ml_bom.FILE}")
    assert len(bills) == 2
    for bill in bills:
        assert [error.message for error in cyclonedx.iter_errors(bill)] == []
        assert bill["components"] == [] and "hashes" not in bill["metadata"]["component"]
        card = bill["metadata"]["component"]["modelCard"]
        # What the checkpoint itself says: a width, and the cart's channels.
        assert card["properties"] == [{"name": "genba:model:width", "value": "64"}]
        assert len(card["modelParameters"]["inputs"]) == len(MACHINE.channels)


def test_a_bill_names_weights_data_sets_packages_and_parents(whole, party):
    bill = json.loads((model(whole, "fleet and factory") / ml_bom.FILE).read_bytes())
    subject = bill["metadata"]["component"]
    assert subject["pedigree"]["ancestors"][0]["hashes"][0]["content"] == WEIGHTS["arm and fleet"].removeprefix(
        "sha256:"
    )
    data = {(one["group"], one["name"]): one for one in bill["components"] if one["type"] == "data"}
    assert set(data) == {FLEET[:2], FACTORY[:2]}
    facts = {one["name"]: one["value"] for one in data[FLEET[:2]]["properties"]}
    digests = {s.digest for s in party.vault.catalog.shards() if s.owner == FLEET[0]}
    assert {value for name, value in facts.items() if name.startswith("genba:shard:")} == digests
    assert facts["genba:windows"] == "4" and facts["genba:agreement"] == FLEET[2]
    libraries = {one["name"]: one.get("purl") for one in bill["components"] if one["type"] != "data"}
    assert libraries == {
        "numpy": "pkg:pypi/numpy@2.3.5",
        "python": None,
        "typing_extensions": "pkg:pypi/typing-extensions@4.15.0",
    }
    refs = [one["bom-ref"] for one in bill["components"]]
    assert len(set(refs)) == len(refs) and bill["dependencies"][0]["dependsOn"] == refs
    revoked = {one["name"]: one["value"] for one in subject["properties"]}["genba:revoked"]
    assert revoked.startswith("an owner withdrew data")


def test_training_content_is_filled_in_from_records_and_the_rest_is_left_to_the_provider(whole):
    said = json.loads((model(whole, "arm and fleet") / training_content.FILE).read_bytes())
    rows = {row["field"]: row for row in said["fields"]}
    assert len(rows) == len(training_content.template()) and said["model"].startswith("sha256:")
    assert {row["section"] for row in said["fields"]} == {
        "1.1",
        "1.2",
        "1.3",
        "2.1",
        "2.2",
        "2.3",
        "2.4",
        "2.5",
        "2.6",
        "3.1",
        "3.2",
        "3.3",
    }
    others = rows["Private data sets of others, under licences or agreements"]
    assert others["answer"] == (
        f"{ARM[0]} / grip under {ARM[2]} (4 windows); {FLEET[0]} / driving under {FLEET[2]} (4 windows)"
    )
    assert [name.rpartition("/")[2] for name in others["rests_on"]] == ["sources.json", "reads.json"]
    assert rows["Other sources: the provider's own machines"]["answer"] == "None."
    # Four windows of each of two owners in two train steps.
    assert rows["Size of the training data by modality"]["answer"].startswith("8 windows in 2 train steps; ")
    assert "other hosts that it reached: 10.1.0.5" in rows["Data crawled or scraped online"]["answer"]
    assert rows["Other aspects of processing"]["answer"].startswith(f"shifts of {FACTORY[0]} was withdrawn (entry ")
    for row in said["fields"]:
        assert row["answer"] or row["left_to_the_provider"], row


def test_what_no_record_says_is_said_to_be_unknown(party, repack):
    made = repack(party, runs=(), bundles=(), vaults=())
    (said, _) = documents(made, f"models/*/{training_content.FILE}")
    rows = {row["field"]: row["answer"] for row in said["fields"]}
    assert rows["Size of the training data by modality"] == NOT_KNOWN
    assert rows["Private data sets of others, under licences or agreements"] == NOT_KNOWN
    bill = documents(made, f"models/*/{ml_bom.FILE}")[0]
    assert not [one for one in bill["components"] if one["type"] == "data"]


def test_every_clause_says_what_answers_it_or_that_no_software_does(whole):
    rows = json.loads((whole.path / requirements.FILE).read_bytes())
    names = {path.relative_to(whole.path).as_posix() for path in whole.path.rglob("*") if path.is_file()}
    assert {row["framework"] for row in rows} == {"ISO/IEC 42001:2023", "AI Act"}
    for row in rows:
        assert set(row["files"]) <= names
        assert row["files"] or row["not_answered"], row
        assert row["answered"] == (
            "in part" if row["files"] and row["not_answered"] else "yes" if row["files"] else "not by software"
        )
    articles = {row["clause"][:2] for row in rows if row["framework"] == "AI Act"}
    assert articles == {"10", "11", "12"}
    # A pattern that nothing ever matches would be a promise without a file.
    for one in requirements.requirements():
        for pattern in one.files:
            assert any(fnmatchcase(name, pattern) for name in names), (one.clause, pattern)


def test_a_clause_whose_files_are_not_in_the_pack_says_so():
    rows = {row["clause"]: row for row in index(["ledger/entries.jsonl"])}
    assert rows["A.7.5"]["answered"] == "not by this pack" and rows["A.7.5"]["shows"] == ""
    assert rows["12(1)"]["files"] == ["ledger/entries.jsonl"]
    assert rows["12(1)"]["absent"] == ["decisions.jsonl", "egress/*"]
    assert rows["A.7.4"]["answered"] == "not by software"


def test_an_entry_that_promises_nothing_is_refused():
    with pytest.raises(ConfigError, match="neither files nor what is left"):
        read_toml_text('framework = "x"\nclause = "1"\nabout = "y"', Requirement, where="here")
    with pytest.raises(ConfigError, match="expected both or neither"):
        read_toml_text('framework = "x"\nclause = "1"\nabout = "y"\nfiles = ["a"]', Requirement, where="here")
    with pytest.raises(ConfigError, match="neither an answer nor what is left"):
        read_toml_text('section = "1"\nname = "y"', Field, where="here")
