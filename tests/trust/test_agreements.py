"""Facts of agreements and sites are read strictly: what contradicts itself is refused with its file and its path."""

from dataclasses import replace
from datetime import date, datetime
from importlib.resources import files

import pytest
from trust_rules import ABROAD, EVIDENCE, FLEET, FULL, MAKER, SITES, rules

from genba.config import read_toml_text, to_toml
from genba.errors import ConfigError
from genba.trust.agreements import OwnerAgreements, make_rules, read_rules
from genba.trust.cedar import compile_rules
from genba.trust.jurisdictions import COUNTRIES, PARTS, check_code, is_within
from genba.trust.sites import normal_endpoint, read_sites, require_site, site_of_endpoint

SITE = """
[[sites]]
id = "lab"
operator = "lab-co"
jurisdiction = "JP-23"
endpoints = ["10.0.0.1:80", "s3://lab/v"]
evidence = {{ statement = "lease", digest = "sha256:{}", dated = 2026-01-01 }}
""".format("0" * 64)
OWNER = """
owner = "maker"
[[agreements]]
id = "full"
datasets = ["grip"]
parties = ["lab-co"]
purposes = ["train"]
jurisdictions = ["JP"]
sites = ["lab"]
from = 2026-04-01
until = 2027-03-31
"""


def write(folder, sites=SITE, **owners):
    (folder / "agreements").mkdir(exist_ok=True)
    (folder / "sites.toml").write_text(sites)
    for name, text in owners.items():
        (folder / "agreements" / f"{name}.toml").write_text(text)
    return folder


def test_a_folder_is_read(tmp_path):
    found = read_rules(write(tmp_path, maker=OWNER))
    (agreement,) = found.agreements_of("maker")
    assert found.sites["lab"].evidence.dated == date(2026, 1, 1)
    # 2026-04-01 is day 20,544 since 1970; the agreement lasts a year of 365 days.
    assert (agreement.from_s, agreement.end_s) == (20_544 * 86_400, (20_544 + 365) * 86_400)
    assert found.agreements_of("other") == ()


def test_the_samples_are_in_order():
    compiled = compile_rules(read_rules(str(files("genba.trust") / "samples")))
    assert len(compiled.rules.owners) == 3
    assert all("SAMPLE: an invented company" in one.note for one in compiled.rules.owners)


def test_agreements_written_as_toml_read_back_equal():
    for one in (MAKER, FLEET, replace(MAKER, note='a "note"\n')):
        assert read_toml_text(to_toml(one), OwnerAgreements, where="text") == one


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('id = "full"', 'idd = "full"', r"maker.toml: agreements\[0\].idd: unknown key; did you mean 'id'"),
        (
            '["train"]',
            '["sell"]',
            r"maker.toml: agreements\[0\].purposes\[0\]: got 'sell' \(str\), expected one of 'train'",
        ),
        ("until = 2027-03-31", "", r"agreements\[0\].until: missing; expected a date such as 2027-03-31"),
        ("2027-03-31", "2026-03-31", r"agreements\[0\]: until: got 2026-03-31, which is before it begins \(2026-04-01"),
        ("2027-03-31", "9999-12-31", "until: got 9999-12-31, expected a day that is followed by another"),
        ("2027-03-31", '"soon"', r"until: got 'soon' \(str\), expected a date"),
        (
            "2027-03-31",
            "2027-03-31T10:00:00Z",
            "until: got 2027-03-31T10.*, expected a day without a time, e.g. 2027-03-31",
        ),
        ('["JP"]', '["XX"]', r"maker.toml: agreements\[0\]: jurisdictions\[0\]: got 'XX', expected a country"),
        ('["JP"]', '["US"]', r"maker.toml: agreements\[0\].sites\[0\]: 'lab' lies in JP-23, expected a site in US"),
        ('["JP"]', '["JP-22"]', r"sites\[0\]: 'lab' lies in JP-23, expected a site in JP-22"),
        (
            'sites = ["lab"]',
            'sites = ["lob"]',
            r"maker.toml: agreements\[0\].sites\[0\]: no site 'lob' in sites.toml; did you",
        ),
        ('sites = ["lab"]', "sites = []", r"agreements\[0\]: sites: got none, expected at least one"),
        ('["lab-co"]', '["lab-co", "lab-co"]', r"parties\[1\]: 'lab-co' stands twice"),
        ('["lab-co"]', '[" lab-co"]', r"parties\[0\]: got ' lab-co', expected words without space around them"),
        ('["lab-co"]', '["lab\\u200bco"]', r"parties\[0\]: got .*, expected words"),
        ('["lab-co"]', '["lab-co"]\nexcluded = ["lab-co"]', "excluded: 'lab-co' is among the parties too"),
        ('["train"]', '["deploy"]', "machines: got none, expected the machine types for purpose 'deploy'"),
        ('["train"]', '["train"]\nmachines = ["arm@1"]', "machines: got some, but no purpose uses them"),
        ('["lab-co"]', '[""]', r"parties\[0\]: got '', expected words"),
        ('id = "full"', 'id = " "', "id: got ' ', expected words"),
        ('owner = "maker"', 'owner = ""', "maker.toml: top level: owner: got '', expected words"),
        ('["train"]', '["train"]\nexcluded = ["lab-x"]\nexclude = []', r"agreements\[0\].exclude: unknown key"),
    ],
)
def test_a_wrong_agreement_is_refused_by_file_and_path(tmp_path, old, new, match):
    assert old in OWNER
    with pytest.raises(ConfigError, match=match):
        read_rules(write(tmp_path, maker=OWNER.replace(old, new)))


def test_facts_that_contradict_each_other_across_tables_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"b.toml: owner: 'maker' has a file already \(.*a.toml\)"):
        read_rules(write(tmp_path, a=OWNER, b=OWNER))
    with pytest.raises(
        ConfigError, match=r"b.toml: agreements\[0\].id: 'full' stands in .*a.toml: agreements\[0\] too"
    ):
        read_rules(write(tmp_path, a=OWNER, b=OWNER.replace("maker", "other")))
    lax = replace(FULL, id="lax", parties=("rival",), excluded=())
    with pytest.raises(
        ConfigError, match=r"agreements\[1\].parties\[0\]: another agreement of 'maker' excludes 'rival'"
    ):
        rules(replace(MAKER, agreements=(FULL, lax)))
    # Another data set, and another owner, may be shared with a rival.
    rules(replace(MAKER, agreements=(FULL, replace(lax, datasets=("other",)))))
    rules(MAKER, replace(FLEET, agreements=(replace(lax, id="x"),)))
    with pytest.raises(
        ConfigError, match=r"agreements\[0\].sites\[2\]: 'abroad' is operated by 'host-co', which is excluded"
    ):
        rules(replace(MAKER, agreements=(replace(ABROAD, excluded=("host-co",)),)))
    rules(replace(MAKER, agreements=(ABROAD, replace(FULL, excluded=("host-co",)))))


def test_rules_that_are_not_there_are_asked_for(tmp_path):
    with pytest.raises(ConfigError, match=r"sites.toml: no such file"):
        read_rules(tmp_path)
    with pytest.raises(ConfigError, match=r"agreements: no agreements; expected one <owner>\.toml per owner"):
        read_rules(write(tmp_path))
    with pytest.raises(ConfigError, match="agreements: got none"):
        read_rules(write(tmp_path, maker='owner = "maker"\nagreements = []\n'))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (
            '"JP-23"',
            '"JP-48"',
            r"sites.toml: sites\[0\]: jurisdiction: got 'JP-48', which is no part of JP; known: 01, 02",
        ),
        ('"JP-23"', '""', r"sites\[0\]: jurisdiction: got '', expected a country as ISO 3166-1"),
        ('"JP-23"', '"FR-75"', "got 'FR-75', but no parts of FR are known here: name the country, 'FR'"),
        ('jurisdiction = "JP-23"', "", r"sites\[0\].jurisdiction: missing"),
        ('"sha256:0', '"md5:0', r"sites\[0\].evidence: digest: got 'md5:0.*', expected 'sha256:' and 64 hex digits"),
        ('"lease"', '""', r"evidence: statement: got '', expected words"),
        ("2026-01-01", "2026-01-01T00:00:00Z", "dated: got 2026-01-01T.*, expected a day without a time"),
        (
            '"10.0.0.1:80"',
            '"10.0.0.1"',
            r"sites\[0\]: endpoints\[0\]: got '10.0.0.1', expected host:port or a storage URL",
        ),
        ('"10.0.0.1:80"', '"10.0.0.1:0"', "expected a port from 1 to 65535"),
        ('"10.0.0.1:80"', '"h:65536"', "expected a port from 1 to 65535"),
        ('"10.0.0.1:80"', '"h:81-80"', "expected a port from 1 to 65535, or two, rising"),
        ('"10.0.0.1:80"', '"h:80-65536"', "expected a port from 1 to 65535, or two, rising"),
        ('"10.0.0.1:80"', '"s3://lab/v/../w"', "expected a path without"),
        ('"10.0.0.1:80"', '"s3://lab/v%2e"', "expected a path without"),
        ('"10.0.0.1:80"', "'s3://lab/v\\w'", "expected a path without"),
        ('"10.0.0.1:80"', '"https://user@lab/v"', "expected host:port or a storage URL"),
        ('"10.0.0.1:80"', '"s3://"', "expected host:port or a storage URL"),
        ('"10.0.0.1:80"', '"s3://LAB/"', r"endpoints\[1\]: 's3://lab/v' is declared already, as 's3://LAB/' of 'lab'"),
        ('"lab-co"', '"lab-co "', "operator: got 'lab-co ', expected words"),
    ],
)
def test_a_wrong_site_is_refused_by_file_and_path(tmp_path, old, new, match):
    assert old in SITE
    path = tmp_path / "sites.toml"
    path.write_text(SITE.replace(old, new))
    with pytest.raises(ConfigError, match=match):
        read_sites(path)


def test_a_site_or_an_endpoint_stands_once(tmp_path):
    path = tmp_path / "sites.toml"
    path.write_text(SITE + SITE)
    with pytest.raises(ConfigError, match=r"sites\[1\].id: 'lab' stands twice"):
        read_sites(path)
    path.write_text(SITE + SITE.replace('"lab"', '"plant"').replace("s3://lab/v", "s3://lab/v/w").replace(":80", ":81"))
    with pytest.raises(
        ConfigError, match=r"sites\[1\].endpoints\[1\]: 's3://lab/v/w' is declared already, as 's3://lab/v' of"
    ):
        read_sites(path)
    path.write_text(SITE.replace('"10.0.0.1:80"', '"s3://lab/v/w"'))
    with pytest.raises(
        ConfigError, match=r"endpoints\[1\]: 's3://lab/v' is declared already, as 's3://lab/v/w' of 'lab'"
    ):
        read_sites(path)
    path.write_text("sites = []")
    with pytest.raises(ConfigError, match="sites: got none"):
        read_sites(path)


@pytest.mark.parametrize(
    ("endpoint", "site"),
    [
        ("10.0.0.1:80", "lab"),
        ("10.0.0.1:81", None),
        ("10.0.0.11:80", None),
        ("s3://lab/v", "lab"),
        ("S3://LAB/v/", "lab"),
        ("s3://lab//v/shard", "lab"),
        ("s3://lab/V", None),
        ("s3://lab/video", None),
        ("s3://lab", None),
        ("10.0.0.1:080", "lab"),
        ("[::1]:80", None),
    ],
)
def test_an_endpoint_belongs_to_the_site_that_declares_it(endpoint, site):
    found = site_of_endpoint(SITES, endpoint)
    assert (found and found.id) == site
    if site is None:
        with pytest.raises(
            ConfigError, match="no site declares this endpoint, so nobody knows whose law applies there"
        ):
            require_site(SITES, endpoint)
    else:
        assert require_site(SITES, endpoint).id == site


@pytest.mark.parametrize(
    ("endpoint", "normal"),
    [
        ("Host:1", "host:1"),
        ("h:65535", "h:65535"),
        ("H:07-9", "h:7-9"),
        ("h:7-7", "h:7"),
        ("[::1]:80", "[::1]:80"),
        ("file:///data//v/", "file:///data/v"),
    ],
)
def test_an_endpoint_has_one_form(endpoint, normal):
    assert normal_endpoint(endpoint) == normal


def test_ports_in_a_row_are_one_endpoint_that_holds_each_of_them(tmp_path):
    path = tmp_path / "sites.toml"
    path.write_text(SITE.replace('"10.0.0.1:80"', '"10.0.0.1:80-89"'))
    sites = read_sites(path)
    for endpoint in ("10.0.0.1:80", "10.0.0.1:89", "10.0.0.1:80-89", "10.0.0.1:82-85"):
        assert require_site(sites, endpoint).id == "lab"
    for endpoint in (
        "10.0.0.1:79",
        "10.0.0.1:90",
        "10.0.0.1:79-80",
        "10.0.0.1:89-90",
        "10.0.0.2:80",
        "s3://10.0.0.1:80",
    ):
        assert site_of_endpoint(sites, endpoint) is None
    # Two sites that share one port, at either end.
    for other in ("10.0.0.1:89-95", "10.0.0.1:70-80", "10.0.0.1:85", "10.0.0.1:70-95"):
        second = SITE.replace('"lab"', '"plant"').replace("10.0.0.1:80", other).replace("s3://lab/v", "s3://plant/v")
        path.write_text(SITE.replace('"10.0.0.1:80"', '"10.0.0.1:80-89"') + second)
        with pytest.raises(ConfigError, match=f"'{other}' is declared already, as '10.0.0.1:80-89' of 'lab'"):
            read_sites(path)
    # Two that only touch.
    for other in ("10.0.0.1:90-95", "10.0.0.1:70-79"):
        second = SITE.replace('"lab"', '"plant"').replace("10.0.0.1:80", other).replace("s3://lab/v", "s3://plant/v")
        path.write_text(SITE.replace('"10.0.0.1:80"', '"10.0.0.1:80-89"') + second)
        assert set(read_sites(path)) == {"lab", "plant"}


def test_codes():
    # 249 countries in ISO 3166-1; 47 prefectures, 16 Länder, 50 states and a district.
    assert len(COUNTRIES) == 249
    assert {country: len(parts) for country, parts in PARTS.items()} == {"JP": 47, "DE": 16, "US": 51}
    for code in ("JP", "JP-01", "JP-47", "DE-BY", "US-DC", "FR"):
        check_code(code)
    for code in ("jp", "JPN", "JP-", "JP-1", "JP-00", "EU", "JP-23-1"):
        with pytest.raises(ValueError, match="got"):
            check_code(code)
    assert is_within("JP-23", "JP") and is_within("JP", "JP")
    assert not is_within("JP", "JP-23") and not is_within("JP-22", "JP-23") and not is_within("US", "JP")


def test_an_agreement_may_hold_for_one_day():
    one = replace(FULL, valid_until=FULL.valid_from)
    assert one.end_s - one.from_s == 86_400


def test_a_day_is_not_a_moment():
    with pytest.raises(ValueError, match="from: got 2026-04-01T10:00:00, expected a day without a time"):
        replace(FULL, valid_from=datetime(2026, 4, 1, 10))
    with pytest.raises(ValueError, match="dated"):
        replace(EVIDENCE, dated=datetime(2026, 4, 1))


def test_sources_name_who_is_at_fault():
    with pytest.raises(ConfigError, match=r"^second.toml: agreements\[0\].id"):
        make_rules([("first.toml", MAKER), ("second.toml", replace(MAKER, owner="other"))], SITES)
