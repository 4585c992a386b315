"""A policy is checked when it is made: endpoints, paths, names, and what must not go together."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import genba
from genba.config import read_toml_text, to_toml
from genba.errors import ConfigError, SandboxError
from genba.trust.sandbox.policy import (
    Endpoint,
    PathRule,
    Policy,
    is_beneath,
    parse_endpoint,
    path_rule,
    runtime_paths,
)


@pytest.mark.parametrize(
    ("text", "host", "low", "high", "addresses"),
    [
        ("10.0.0.1:443", "10.0.0.1", 443, 443, ("10.0.0.1",)),
        ("10.0.0.1:1-65535", "10.0.0.1", 1, 65535, ("10.0.0.1",)),
        ("10.0.0.1:*", "10.0.0.1", 1, 65535, ("10.0.0.1",)),
        ("[FD00:0::5]:9000", "fd00::5", 9000, 9000, ("fd00::5",)),
        ("[::ffff:10.0.0.1]:9000", "10.0.0.1", 9000, 9000, ("10.0.0.1",)),
        ("storage.site-a.example:9000-9001", "storage.site-a.example", 9000, 9001, ()),
    ],
)
def test_endpoint_is_read(text: str, host: str, low: int, high: int, addresses: tuple[str, ...]):
    read = parse_endpoint(text, "test")
    assert read == Endpoint(host=host, low_port=low, high_port=high, source="test", addresses=addresses)


def test_any_port_to_listen_on_includes_one_that_the_kernel_picks():
    assert parse_endpoint("127.0.0.1:*", "test", to_listen_on=True).low_port == 0
    assert parse_endpoint("127.0.0.1:*", "test").low_port == 1


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1",
        "10.0.0.1:",
        ":443",
        "10.0.0.1:x",
        "10.0.0.1:1-",
        "10.0.0.1:-1",
        "fd00::5:9000",
        "[]:1",
        "",
        "[fd00::5:1",
        "fd00::5]:1",
        "[10.0.0.1:1",
        "10.0.0.1]:1",
    ],
)
def test_text_that_is_no_endpoint_is_refused_with_what_was_expected(text: str):
    with pytest.raises(
        SandboxError, match=r"expected HOST:PORT, HOST:LOW-HIGH or HOST:\*|expected a name or an address"
    ):
        parse_endpoint(text, "test")


@pytest.mark.parametrize("text", ["10.0.0.1:65536", "10.0.0.1:10-9"])
def test_ports_out_of_range_are_refused(text: str):
    with pytest.raises(SandboxError, match="expected 0 to 65535, rising"):
        parse_endpoint(text, "test")


def test_ports_reach_from_zero_to_their_greatest():
    assert parse_endpoint("10.0.0.1:0-65535", "test").high_port == 65535
    with pytest.raises(ValueError, match="got ports -1 to 5"):
        Endpoint(host="x", low_port=-1, high_port=5, source="test")


def test_endpoint_is_shown_as_it_is_written():
    assert str(parse_endpoint("[fd00::5]:9000-9001", "test")) == "[fd00::5]:9000-9001"
    assert str(parse_endpoint("10.0.0.1:443", "test")) == "10.0.0.1:443"


def test_permission_without_a_source_is_refused():
    with pytest.raises(ValueError, match="expected where this permission comes from"):
        Endpoint(host="x", low_port=1, high_port=1, source="")
    with pytest.raises(ValueError, match="expected where this permission comes from"):
        PathRule(path="/a", source="")


@pytest.mark.parametrize("host", ["", "a b", "a\n10.0.0.9 b", "ａ", "a/b"])
def test_host_that_would_be_another_line_of_a_hosts_file_is_refused(host: str):
    with pytest.raises(ValueError, match="expected a name or an address"):
        Endpoint(host=host, low_port=1, high_port=1, source="test")


def test_relative_path_is_refused():
    with pytest.raises(ValueError, match="expected an absolute one"):
        PathRule(path="a", source="test")


def test_address_in_a_long_form_is_refused_because_it_would_never_match():
    with pytest.raises(ValueError, match="expected 'fd00::5'"):
        Endpoint(host="x", low_port=1, high_port=1, source="test", addresses=("fd00:0::5",))
    with pytest.raises(ValueError, match="expected one that means the same host everywhere"):
        Endpoint(host="x", low_port=1, high_port=1, source="test", addresses=("fe80::1%eth0",))


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("255.255.255.255", "broadcast"),
    ],
)
def test_address_that_is_not_one_host_is_no_endpoint(address: str, kind: str):
    one = Endpoint(host="x", low_port=1, high_port=1, source="test", addresses=(address,))
    with pytest.raises(ValueError, match=f"is an address of kind '{kind}'"):
        Policy(endpoints=(one,))
    # Listening on every address may be asked for.
    assert Policy(binds=(one,)).binds == (one,)


def test_port_zero_is_no_endpoint_and_one_to_listen_on():
    one = Endpoint(host="10.0.0.1", low_port=0, high_port=0, source="test", addresses=("10.0.0.1",))
    with pytest.raises(ValueError, match="got port 0"):
        Policy(endpoints=(one,))
    assert Policy(binds=(one,)).binds == (one,)


def test_listed_socket_must_lie_where_the_command_cannot_replace_it():
    folder = PathRule(path="/data/out", source="test")
    with pytest.raises(ValueError, match="lies in /data/out, which the command may write"):
        Policy(writable=(folder,), sockets=(PathRule(path="/data/out/broker", source="test"),))
    assert Policy(writable=(folder,), sockets=(PathRule(path="/data/outside", source="test"),)).sockets


def test_names_are_pinned_once_and_addresses_left_alone():
    asked: list[str] = []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        return ["10.0.0.7", "fd00:0::7", "10.0.0.7"]

    policy = Policy(
        endpoints=(parse_endpoint("site-a:1", "test"), parse_endpoint("10.0.0.1:1", "test")),
        binds=(parse_endpoint("here:2", "test", to_listen_on=True),),
    ).pin(resolve)
    assert asked == ["site-a", "here"]
    assert policy.endpoints[0].addresses == ("10.0.0.7", "fd00::7")
    assert policy.endpoints[1].addresses == ("10.0.0.1",)
    assert policy.names() == {"site-a": ("10.0.0.7", "fd00::7"), "here": ("10.0.0.7", "fd00::7")}
    assert policy.pin(resolve) == policy
    assert asked == ["site-a", "here"]


def test_name_without_an_address_is_refused_with_its_source():
    policy = Policy(endpoints=(parse_endpoint("nowhere:1", "agreement A"),))
    with pytest.raises(SandboxError, match=r"nowhere: no address found \(agreement A\)"):
        policy.pin(lambda name: [])


def test_name_that_leads_to_no_single_host_is_refused():
    policy = Policy(endpoints=(parse_endpoint("tricky:1", "test"),))
    with pytest.raises(SandboxError, match=r"tricky: 169.254.169.254 is an address of kind 'link-local'"):
        policy.pin(lambda name: ["169.254.169.254"])


def test_name_of_this_host_is_resolved_by_the_system():
    policy = Policy(binds=(parse_endpoint("localhost:1", "test", to_listen_on=True),)).pin()
    assert set(policy.binds[0].addresses) <= {"127.0.0.1", "::1"}
    assert policy.binds[0].addresses


def test_name_that_the_system_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch):
    def unknown(*_: object, **__: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    with pytest.raises(SandboxError, match=r"site-a: no address found .*not known"):
        Policy(endpoints=(parse_endpoint("site-a:1", "test"),)).pin()


def test_peers_are_hosts_that_are_listed_and_no_wildcards():
    policy = Policy(
        endpoints=(parse_endpoint("10.0.0.2:1", "a"), parse_endpoint("10.0.0.1:1", "a")),
        binds=(
            parse_endpoint("[::]:5", "b", to_listen_on=True),
            parse_endpoint("0.0.0.0:5", "b", to_listen_on=True),
            parse_endpoint("127.0.0.1:5", "b", to_listen_on=True),
        ),
    )
    assert policy.peers() == ("10.0.0.1", "10.0.0.2", "127.0.0.1")


@pytest.mark.parametrize(
    ("path", "folder", "inside"),
    [
        ("/a", "/a", True),
        ("/a/b", "/a", True),
        ("/ab", "/a", False),
        ("/", "/a", False),
        ("/a", "/", True),
        ("/a/b", "/a/", True),
    ],
)
def test_beneath_goes_by_whole_names(path: str, folder: str, inside: bool):
    assert is_beneath(path, folder) == inside


def test_path_rule_follows_links_and_needs_something_to_be_there(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert path_rule(tmp_path / "link", "test").path == str((tmp_path / "real").resolve())
    with pytest.raises(SandboxError, match=r"absent: No such file or directory; a path that is allowed must be there"):
        path_rule(tmp_path / "absent", "test")


def test_runtime_paths_hold_no_home_no_temporary_folder_and_nothing_secret():
    readable, writable = (({one.path for one in rules}) for rules in runtime_paths())
    assert not {"/", "/home", "/root", "/tmp", "/var", "/etc", "/etc/shadow", "/dev"} & (readable | writable)
    assert {"/dev/null", "/dev/shm"} <= writable
    assert "/usr" in readable
    # What Python lists to find this package.
    assert str(Path(genba.__file__).resolve().parents[1]) in readable
    assert not readable & writable


def test_policy_survives_being_written_as_facts():
    policy = Policy(
        endpoints=(parse_endpoint("10.0.0.1:443", "agreement A"),),
        readable=(PathRule(path="/data", source="agreement A"),),
    )
    assert read_toml_text(to_toml(policy), Policy, where="test") == policy
    assert dataclasses.asdict(policy)["endpoints"][0]["addresses"] == ("10.0.0.1",)
    with pytest.raises(ConfigError, match=r"unknown key; did you mean 'endpoints'"):
        read_toml_text("endpoint = []", Policy, where="test")
