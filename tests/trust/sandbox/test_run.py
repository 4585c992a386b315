"""A confined command does what it may, as if nothing were there; and where it cannot be confined, nothing is run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from genba.errors import SandboxError
from genba.trust.sandbox import kernel
from genba.trust.sandbox import run as run_module
from genba.trust.sandbox.log import EgressLog, read_log
from genba.trust.sandbox.policy import Endpoint, PathRule, Policy, parse_endpoint, path_rule
from genba.trust.sandbox.run import UNENFORCED_VARIABLE, is_sandboxed, run_sandboxed
from genba.trust.sandbox.supervisor import Supervisor
from genba.trust.sandbox.support import Requirement, requirements, try_for_real
from genba.trust.sandbox.syscalls import current_architecture

pytestmark = pytest.mark.usefixtures("enforcing")

LOCAL = Policy(
    endpoints=(parse_endpoint("127.0.0.1:*", "test"), parse_endpoint("[::1]:*", "test")),
    binds=(parse_endpoint("127.0.0.1:*", "test", to_listen_on=True),),
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def attempts(log: Path) -> list[dict[str, Any]]:
    return [one for one in read_log(log) if one["event"] == "attempt" and "nscd" not in one["address"]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "egress.jsonl"


def test_exit_status_is_the_commands(log: Path):
    assert run_sandboxed(["sh", "-c", "exit 7"], Policy(), log) == 7
    assert run_sandboxed(["sh", "-c", "kill -9 $$"], Policy(), log) == 128 + signal.SIGKILL
    ends = [one for one in read_log(log) if one["event"] == "end"]
    assert [one["status"] for one in ends] == [7, 137]
    assert len({one["run"] for one in ends}) == 2


def test_log_begins_with_command_policy_and_what_enforces(log: Path):
    run_sandboxed(["true"], LOCAL, log)
    start = next(iter(read_log(log)))
    assert start["event"] == "start"
    assert start["command"] == ["true"]
    assert start["is_enforced"] is True
    assert start["landlock"] >= 6
    assert {one["source"] for one in start["policy"]["endpoints"]} == {"test"}
    assert start["policy_digest"].startswith("sha256:")


def test_program_that_is_not_there_is_an_error_and_not_a_status(log: Path):
    with pytest.raises(SandboxError, match=r"no-such-program: cannot be executed: .*No such file"):
        run_sandboxed(["no-such-program"], Policy(), log)
    assert list(read_log(log))[-1]["reason"].startswith("not run: no-such-program")
    with pytest.raises(SandboxError, match="expected a program and its arguments"):
        run_sandboxed([], Policy(), log)


def test_program_outside_the_readable_paths_cannot_be_executed(log: Path, tmp_path: Path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(SandboxError, match=r"cannot be executed: .*Permission denied"):
        run_sandboxed([str(program)], Policy(), log)
    assert run_sandboxed([str(program)], Policy(readable=(path_rule(program, "test"),)), log) == 0


def test_path_that_is_not_there_keeps_the_command_from_running(log: Path, tmp_path: Path):
    absent = Policy(readable=(PathRule(path=str(tmp_path / "absent"), source="test"),))
    with pytest.raises(SandboxError, match="absent: No such file or directory; a path that is allowed must be there"):
        run_sandboxed(["true"], absent, log)


def test_log_and_code_must_be_out_of_reach(tmp_path: Path, log: Path):
    with pytest.raises(SandboxError, match="which the command may write"):
        run_sandboxed(["true"], Policy(writable=(path_rule(tmp_path, "test"),)), log)
    code = Path(run_module.__file__).parents[2]
    for one in (code, code.parent, code / "trust"):
        with pytest.raises(SandboxError, match="the code that confines the next command"):
            run_sandboxed(["true"], Policy(writable=(path_rule(one, "test"),)), log)


def test_log_that_cannot_be_opened_keeps_the_command_from_running(tmp_path: Path):
    with pytest.raises(SandboxError, match="expected a log file that can be appended to"):
        run_sandboxed(["true"], Policy(), tmp_path / "absent" / "log")


def test_log_that_cannot_be_written_stops_the_command(tmp_path: Path, log: Path):
    # A limit of 20 kB on files stands for a full disk; each connect to another port is a line.
    code = f"""
        import resource, sys
        from pathlib import Path
        from genba.trust.sandbox.policy import Policy
        from genba.trust.sandbox.run import run_sandboxed
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
        inner = "import socket\\nfor port in range(1, 20000): socket.socket().connect_ex(('127.0.0.2', port))"
        sys.exit(run_sandboxed([sys.executable, "-c", inner], Policy(), Path({str(log)!r}), sync="end"))
    """
    done = subprocess.run(python(code), capture_output=True, text=True)
    assert done.returncode == 125, done.stderr
    assert "without a log the command is stopped" in done.stderr
    assert log.stat().st_size <= 20000


def test_kernel_that_cannot_enforce_keeps_the_command_from_running(
    log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    lacking = Requirement(name="Landlock", is_met=False, found="version 3")
    monkeypatch.setattr(run_module, "missing", lambda: (lacking,))
    with pytest.raises(SandboxError, match=r"cannot enforce the policy, so nothing was run \(Landlock: version 3\)"):
        run_sandboxed(["true"], Policy(), log)
    assert not log.exists()
    assert run_sandboxed(["sh", "-c", "exit 3"], Policy(), log, is_override=True) == 3
    monkeypatch.setenv(UNENFORCED_VARIABLE, "1")
    assert run_sandboxed(["sh", "-c", "kill -9 $$"], Policy(), log) == 137
    with pytest.raises(SandboxError, match="cannot be executed"):
        run_sandboxed(["no-such-program"], Policy(), log)
    lines = list(read_log(log))
    assert [one["is_enforced"] for one in lines if one["event"] == "start"] == [False] * 3
    assert all("NOTHING IS ENFORCED" in one["warning"] for one in lines if one["event"] == "start")
    assert [one["status"] for one in lines if one["event"] == "end"] == [3, 137, 125]
    assert capfd.readouterr().err.count("NOTHING IS ENFORCED: Landlock: version 3") == 3


def test_another_system_can_import_it_and_is_refused_in_words(tmp_path: Path):
    code = """
        import os, select, sys
        from pathlib import Path
        import genba.config
        sys.platform = "darwin"
        for module, names in ((os, ("O_PATH", "pidfd_open")), (select, ("epoll",))):
            for name in names:
                delattr(module, name)
        from genba.errors import SandboxError
        from genba.trust.sandbox.policy import Policy
        from genba.trust.sandbox.run import run_sandboxed
        try:
            run_sandboxed(["true"], Policy(), Path(sys.argv[1]))
        except SandboxError as error:
            print(error)
        print(run_sandboxed(["true"], Policy(), Path(sys.argv[1]), is_override=True))
    """
    done = subprocess.run([*python(code), str(tmp_path / "log")], capture_output=True, text=True)
    first, second = done.stdout.splitlines() or [done.stderr, ""]
    assert "this computer cannot enforce the policy, so nothing was run" in first
    assert "this system is darwin; the sandbox needs Linux" in first
    assert second == "0"


def test_socket_file_that_is_older_than_the_bind_is_not_taken_for_the_commands(tmp_path: Path):
    # Somebody else's socket, moved over the command's own in the instant after its bind.
    supervisor = Supervisor(-1, Policy(), EgressLog(tmp_path / "log"), current_architecture())
    folder = os.open(tmp_path, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        one.bind(str(tmp_path / "strangers"))
        made = kernel.birth_ns(os.open(tmp_path / "strangers", os.O_PATH))
        if not made:
            pytest.skip("this file system keeps no time of birth, so no socket is taken for the command's")
        supervisor._remember("strangers", folder, made + 1)
        assert supervisor._own == {}
        supervisor._remember("absent", folder, 0)
        supervisor._remember("log", folder, 0)
        assert supervisor._own == {}
        two.bind(str(tmp_path / "own"))
        supervisor._remember("own", folder, made)
        assert [one.inode for one in supervisor._own] == [os.stat(tmp_path / "own").st_ino]
        os.remove(tmp_path / "own")
        # What no name leads to any more is let go.
        supervisor._remember("absent", folder, 0)
        assert supervisor._own == {}


def test_override_opens_nothing_where_the_kernel_can_enforce(log: Path):
    code = "import socket, sys; sys.exit(socket.socket().connect_ex(('127.0.0.2', 9)))"
    assert run_sandboxed(python(code), Policy(), log, is_override=True) == 13
    assert next(iter(read_log(log)))["is_enforced"] is True


def test_allowed_connections_behave_as_if_nothing_were_there(log: Path, capfd: pytest.CaptureFixture[str]):
    code = """
        import errno, json, select, socket, sys, threading
        port, port6, closed = map(int, sys.argv[1:])
        out = {}
        out["blocking"] = socket.create_connection(("127.0.0.1", port)).recv(2).decode()
        out["ipv6"] = socket.create_connection(("::1", port6)).recv(2).decode()
        one = socket.socket(socket.AF_INET6)
        one.connect(("::ffff:127.0.0.1", port))
        out["mapped"] = one.recv(2).decode()
        one = socket.socket()
        one.setblocking(False)
        out["not blocking"] = one.connect_ex(("127.0.0.1", port)) in (0, errno.EINPROGRESS)
        select.select([], [one], [], 10)
        out["its error"] = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        one.connect_ex(("127.0.0.1", port))
        out["again"] = one.connect_ex(("127.0.0.1", port))
        out["closed"] = errno.errorcode[socket.socket().connect_ex(("127.0.0.1", closed))]
        try:
            socket.fromfd(0, socket.AF_INET, socket.SOCK_STREAM).connect(("127.0.0.1", port))
        except OSError as error:
            out["no socket"] = errno.errorcode[error.errno]
        threads, got = [], []
        for _ in range(20):
            threads.append(threading.Thread(target=lambda: got.append(socket.create_connection(("127.0.0.1", port)).recv(2))))
        [one.start() for one in threads], [one.join() for one in threads]
        out["threads"] = len(got)
        print(json.dumps(out))
    """
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            closed_port = closed.getsockname()[1]
        for one in (four, six):
            threading.Thread(target=_greet, args=(one,), daemon=True).start()
        ports = [str(one) for one in (four.getsockname()[1], six.getsockname()[1], closed_port)]
        assert run_sandboxed([*python(code), *ports], LOCAL, log) == 0
        for one in (four, six):
            one.shutdown(socket.SHUT_RDWR)
    assert json.loads(capfd.readouterr().out) == {
        "blocking": "hi",
        "ipv6": "hi",
        "mapped": "hi",
        "not blocking": True,
        "its error": 0,
        # The kernel's own answer (EISCONN) to a connect of a socket that knows it is connected.
        "again": 106,
        "closed": "ECONNREFUSED",
        "no socket": "ENOTSOCK",
        "threads": 20,
    }


def _greet(server: socket.socket) -> None:
    while True:
        try:
            one, _ = server.accept()
        except OSError:
            return
        with one:
            one.sendall(b"hi")


def test_connection_that_waits_holds_up_no_other_and_no_signal_repeats_it(log: Path):
    code = """
        import signal, socket, sys, threading
        full, port = map(int, sys.argv[1:])
        threading.Thread(target=lambda: socket.socket().connect_ex(("127.0.0.1", full)), daemon=True).start()
        signal.signal(signal.SIGALRM, lambda *_: None)
        # Calls that a signal interrupts before the supervisor has taken them are made again; later none interrupts them.
        signal.siginterrupt(signal.SIGALRM, False)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(50):
            one = socket.create_connection(("127.0.0.1", port), None)
            assert one.getpeername()[1] == port
            one.close()
        signal.setitimer(signal.ITIMER_REAL, 0)
        import os; os._exit(0)
    """
    with socket.socket() as full, socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        held = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(full.getsockname())
            held.append(one)
        ports = [str(one.getsockname()[1]) for one in (full, server)]
        assert run_sandboxed([*python(code), *ports], LOCAL, log, sync="end") == 0
        for one in held:
            one.close()
    allowed = [one for one in attempts(log) if one["address"].endswith(f":{ports[1]}")]
    assert sum(one.get("repeated", 1) for one in allowed) == 50


def test_unix_sockets_of_its_own_work_by_any_path_and_keep_their_name(log: Path, capfd: pytest.CaptureFixture[str]):
    code = """
        import json, os, socket, tempfile
        os.chdir(tempfile.gettempdir())
        os.umask(0o077)
        os.mkdir("deep")
        out, servers = [], []
        for path in ("relative.sock", "deep/one.sock", os.path.abspath("absolute.sock")):
            server = socket.socket(socket.AF_UNIX)
            server.bind(path)
            server.listen()
            servers.append(server)
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            other, _ = server.accept()
            other.sendall(b"hi")
            out.append([server.getsockname() == path, oct(os.stat(path).st_mode & 0o777), client.recv(2).decode()])
        os.rename("relative.sock", "renamed.sock")
        socket.socket(socket.AF_UNIX).connect("renamed.sock")
        try:
            socket.socket(socket.AF_UNIX).bind("absolute.sock")
        except OSError as error:
            out.append(error.errno)
        print(json.dumps(out))
    """
    assert run_sandboxed(python(code), Policy(), log) == 0
    # 98 is EADDRINUSE.
    assert json.loads(capfd.readouterr().out) == [[True, "0o700", "hi"]] * 3 + [98]


def test_file_is_moved_from_one_folder_to_another(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "file").write_text("kept")
    code = f"import os; os.rename({str(tmp_path / 'a' / 'file')!r}, {str(tmp_path / 'b' / 'file')!r})"
    policy = Policy(writable=tuple(path_rule(tmp_path / name, "test") for name in "ab"))
    assert run_sandboxed(python(code), policy, tmp_path / "log") == 0
    assert (tmp_path / "b" / "file").read_text() == "kept"


def test_processes_of_a_command_talk_over_loopback_and_reach_nobody_elses_port(
    log: Path, capfd: pytest.CaptureFixture[str]
):
    code = """
        import json, os, socket, sys
        others = int(sys.argv[1])
        out = {}
        own = socket.create_server(("127.0.0.1", 0))
        port = own.getsockname()[1]
        if (child := os.fork()) == 0:
            socket.create_connection(("127.0.0.1", port)).sendall(b"hi")
            os._exit(0)
        other, _ = own.accept()
        out["own"] = other.recv(2).decode()
        out["child"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out["others"] = socket.socket().connect_ex(("127.0.0.1", others))
        own.close()
        out["closed"] = socket.socket().connect_ex(("127.0.0.1", port))
        print(json.dumps(out))
    """
    with socket.create_server(("127.0.0.1", 0)) as others:
        command = [*python(code), str(others.getsockname()[1])]
        assert run_sandboxed(command, Policy(has_own_ports=True), log) == 0
    # 13 is EACCES, 111 ECONNREFUSED.
    assert json.loads(capfd.readouterr().out) == {"own": "hi", "child": 0, "others": 13, "closed": 111}


def test_port_that_others_listen_on_too_is_not_the_commands_own(tmp_path: Path):
    supervisor = Supervisor(-1, Policy(), EgressLog(tmp_path / "log"), current_architecture())
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as one:
        port = one.getsockname()[1]
        assert supervisor._is_own_port(port) is False
        supervisor._listening[port] = {os.fstat(one.fileno()).st_ino}
        assert supervisor._is_own_port(port) is True
        with socket.create_server(("127.0.0.2", port)):
            assert supervisor._is_own_port(port) is False
    assert supervisor._is_own_port(port) is None


def test_listed_socket_of_a_service_is_reached(log: Path, tmp_path: Path):
    path = tmp_path / "service.sock"
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(path))
        service.listen()
        code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(path)!r}); s.sendall(b'hi')"
        assert run_sandboxed(python(code), Policy(sockets=(path_rule(path, "agreement A"),)), log) == 0
        with service.accept()[0] as other:
            assert other.recv(2) == b"hi"
        assert run_sandboxed(python(code), Policy(), log) == 1
    assert [one["decision"] for one in attempts(log)] == ["allowed", "refused"]


def test_only_peers_get_in_to_what_it_listens_on(log: Path, tmp_path: Path):
    policy = Policy(
        endpoints=(parse_endpoint("127.0.0.1:1", "site A"),),
        binds=(
            parse_endpoint("0.0.0.0:*", "test", to_listen_on=True),
            parse_endpoint("[::]:*", "test", to_listen_on=True),
        ),
        writable=(path_rule(tmp_path, "test"),),
    )
    code = f"""
        import os, socket
        one, two = socket.socket(), socket.socket(socket.AF_INET6)
        one.bind(("0.0.0.0", 0)); two.bind(("::", 0))
        for server in (one, two):
            server.listen()
            server.listen(5)
        with open({str(tmp_path / "new")!r}, "w") as file:
            file.write(f"{{one.getsockname()[1]}} {{two.getsockname()[1]}}")
        os.rename({str(tmp_path / "new")!r}, {str(tmp_path / "ports")!r})
        for server in (one, two):
            other, address = server.accept()
            assert address[:2] == other.getpeername()[:2]
            other.sendall(b"hi")
    """
    log = tmp_path.parent / f"{tmp_path.name}.jsonl"
    status: list[int] = []
    thread = threading.Thread(target=lambda: status.append(run_sandboxed(python(code), policy, log)))
    thread.start()
    for _ in range(3000):
        if (tmp_path / "ports").exists() or not thread.is_alive():
            break
        time.sleep(0.01)
    for port in map(int, (tmp_path / "ports").read_text().split()):
        with socket.socket() as foreign:
            foreign.bind(("127.0.0.2", 0))
            foreign.connect(("127.0.0.1", port))
            foreign.settimeout(30)
            # Closed before anything was said.
            with contextlib.suppress(ConnectionResetError):
                assert foreign.recv(1) == b""
        with socket.create_connection(("127.0.0.1", port), 30, ("127.0.0.1", 0)) as peer:
            assert peer.recv(2) == b"hi"
    thread.join()
    assert status == [0]
    came = [
        (one["decision"], one["address"].rpartition(":")[0]) for one in attempts(log) if one["operation"] == "accept"
    ]
    assert came == [("refused", "127.0.0.2"), ("allowed", "127.0.0.1")] * 2


def test_accept_that_waits_or_not_behaves_as_if_nothing_were_there(log: Path, capfd: pytest.CaptureFixture[str]):
    code = """
        import asyncio, errno, os, signal, socket, threading
        server = socket.create_server(("127.0.0.1", 0))
        server.setblocking(False)
        try:
            server.accept()
        except BlockingIOError:
            print("would wait")
        server.setblocking(True)
        signal.signal(signal.SIGALRM, lambda *_: 1 / 0)
        signal.alarm(1)
        try:
            server.accept()
        except ZeroDivisionError:
            print("a signal got through")
        client = socket.create_connection(server.getsockname())
        other, address = server.accept()
        print(address == client.getsockname(), os.get_inheritable(other.fileno()))

        async def talk():
            async def greet(reader, writer):
                writer.write(await reader.readexactly(2))
                writer.close()
            async with await asyncio.start_server(greet, "127.0.0.1", 0) as serving:
                reader, writer = await asyncio.open_connection(*serving.sockets[0].getsockname())
                writer.write(b"hi")
                print((await reader.readexactly(2)).decode())
                writer.close()
        asyncio.run(talk())
    """
    assert run_sandboxed(python(code), LOCAL, log) == 0
    assert capfd.readouterr().out.splitlines() == ["would wait", "a signal got through", "True False", "hi"]


def test_everything_that_it_started_ends_with_it(log: Path, tmp_path: Path):
    code = f"""
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                with open({str(tmp_path / "new")!r}, "w") as file:
                    file.write(str(os.getpid()))
                os.rename({str(tmp_path / "new")!r}, {str(tmp_path / "pid")!r})
                time.sleep(600)
            os._exit(0)
        while not os.path.exists({str(tmp_path / "pid")!r}):
            time.sleep(0.01)
    """
    log = tmp_path.parent / f"{tmp_path.name}.jsonl"
    assert run_sandboxed(python(code), Policy(writable=(path_rule(tmp_path, "test"),)), log) == 0
    left = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{left}").exists()


def test_death_of_the_supervisor_leaves_nobody_who_may_connect(log: Path, tmp_path: Path):
    # The command ends with its supervisor; a process that it left behind gets "no such call" (38) for every connect.
    code = f"""
        import os, socket, time
        supervisor = os.getppid()
        if os.fork() == 0:
            os.setsid()
            print(supervisor, flush=True)
            while os.path.exists(f"/proc/{{supervisor}}/exe") or os.getppid() == supervisor:
                time.sleep(0.01)
            with open({str(tmp_path / "new")!r}, "w") as file:
                file.write(str(socket.socket().connect_ex(("127.0.0.1", 9))))
            os.rename({str(tmp_path / "new")!r}, {str(tmp_path / "errno")!r})
            os._exit(0)
        time.sleep(600)
    """
    log = tmp_path.parent / f"{tmp_path.name}.jsonl"
    policy = Policy(endpoints=LOCAL.endpoints, writable=(path_rule(tmp_path, "test"),))
    outer = (
        "import sys; from pathlib import Path; from genba.config import build; import json\n"
        "from genba.trust.sandbox.policy import Policy\nfrom genba.trust.sandbox.run import run_sandboxed\n"
        "request = json.loads(sys.argv[1])\n"
        "sys.exit(run_sandboxed(request['command'], build(request['policy'], Policy, where='', path=''), Path(request['log'])))"
    )
    import dataclasses

    request = json.dumps({"command": python(code), "policy": dataclasses.asdict(policy), "log": str(log)})
    process = subprocess.Popen([sys.executable, "-c", outer, request], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    os.kill(int(process.stdout.readline()), signal.SIGKILL)
    assert process.wait(timeout=60) == 128 + signal.SIGKILL
    for _ in range(3000):
        if (tmp_path / "errno").exists():
            break
        time.sleep(0.01)
    process.stdout.close()
    assert (tmp_path / "errno").read_text() == "38"


def test_process_that_may_not_be_looked_into_connects_nowhere(log: Path):
    code = """
        import ctypes, socket, sys
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
        sys.exit(socket.socket().connect_ex(("127.0.0.1", 9)))
    """
    assert run_sandboxed(python(code), LOCAL, log) == 1
    assert "cannot be examined" in attempts(log)[-1]["reason"]


@pytest.mark.parametrize(
    ("length", "error"), [(0, "EINVAL"), (1, "EINVAL"), (129, "EINVAL"), (2**31, "EINVAL"), (16, "EFAULT")]
)
def test_address_of_impossible_length_or_place_is_refused(log: Path, length: int, error: str):
    code = f"""
        import ctypes, errno, os, socket, sys
        libc = ctypes.CDLL(None, use_errno=True)
        place = ctypes.c_void_p(8) if {error == "EFAULT"} else ctypes.create_string_buffer(256)
        one = socket.socket()
        out = libc.connect(one.fileno(), place, ctypes.c_uint({length}))
        sys.exit(0 if out < 0 and errno.errorcode[ctypes.get_errno()] == {error!r} else 1)
    """
    assert run_sandboxed(python(code), LOCAL, log) == 0
    assert attempts(log)[-1]["decision"] == "refused"


def test_names_lead_to_their_pinned_addresses_inside_and_only_there(log: Path, capfd: pytest.CaptureFixture[str]):
    named = Endpoint(host="store.site-a.test", low_port=9, high_port=9, source="site A", addresses=("127.0.0.7",))
    code = "import socket; print(socket.getaddrinfo('store.site-a.test', 9, type=socket.SOCK_STREAM)[0][4][0])"
    assert run_sandboxed(python(code), Policy(endpoints=(named,)), log) == 0
    assert capfd.readouterr().out == "127.0.0.7\n"
    assert "site-a.test" not in Path("/etc/hosts").read_text()


def test_descriptor_that_is_kept_reaches_the_command_and_no_other_does(log: Path):
    read, write = os.pipe()
    other_read, other_write = os.pipe()
    os.set_inheritable(other_write, True)
    code = f"import os; os.write({write}, b'x'); os.write({other_write}, b'x')"
    assert run_sandboxed(python(code), Policy(), log, keep=[write]) == 1
    assert os.read(read, 1) == b"x"
    for one in (read, write, other_read, other_write):
        os.close(one)


def test_connection_as_standard_input_is_refused(log: Path):
    code = f"""
        import sys
        from pathlib import Path
        from genba.trust.sandbox.policy import Policy
        from genba.trust.sandbox.run import run_sandboxed
        run_sandboxed(["true"], Policy(), Path({str(log)!r}))
    """
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        done = subprocess.run(python(code), stdin=one.fileno(), stderr=subprocess.PIPE, text=True)
    assert "descriptor 0 is a socket of AF_INET, through which data could leave" in done.stderr


def test_capabilities_and_privileges_are_gone(log: Path, capfd: pytest.CaptureFixture[str]):
    assert run_sandboxed(["grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)", "/proc/self/status"], Policy(), log) == 0
    shown = dict(line.split(":\t") for line in capfd.readouterr().out.splitlines())
    assert shown.pop("NoNewPrivs") == "1"
    assert shown.pop("Seccomp") == "2"
    if os.geteuid() != 0:
        # Without privileges the set of what a program could bring along stays, and no_new_privs makes it void.
        shown.pop("CapBnd")
    assert set(shown.values()) == {"0" * 16}


def test_temporary_folder_is_the_runs_own_and_goes_with_it(log: Path, capfd: pytest.CaptureFixture[str]):
    assert (
        run_sandboxed(["sh", "-c", 'echo x > "$TMPDIR/file"; echo "$TMPDIR"; ls -d "$TMPDIR/file"'], Policy(), log) == 0
    )
    folder, file = capfd.readouterr().out.split()
    assert file == f"{folder}/file"
    assert not Path(folder).exists()


def test_sandbox_is_known_by_trying_and_not_by_a_variable(log: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENBA_SANDBOX_RUN", "claimed")
    assert not is_sandboxed()
    monkeypatch.delenv("GENBA_SANDBOX_RUN")
    assert not is_sandboxed()
    code = "import sys; from genba.trust.sandbox.run import is_sandboxed; sys.exit(40 + is_sandboxed())"
    assert run_sandboxed(python(code), Policy(), log) == 41


def test_command_line_can_put_itself_under_a_policy(tmp_path: Path, log: Path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import socket, sys
        from pathlib import Path
        from genba.trust.sandbox.policy import Policy, path_rule
        from genba.trust.sandbox.run import enter_sandbox
        enter_sandbox(Policy(readable=(path_rule(sys.argv[0], "test"),)), Path({str(log)!r}))
        print(sys.argv[1:], socket.socket().connect_ex(("127.0.0.2", 9)))
        sys.exit(5)
        """)
    )
    done = subprocess.run([sys.executable, str(program), "a", "b c"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (5, "['a', 'b c'] 13\n"), done.stderr


def test_sandbox_within_a_sandbox_is_refused_and_says_why(log: Path, capfd: pytest.CaptureFixture[str]):
    code = """
        import os
        from pathlib import Path
        from genba.errors import SandboxError
        from genba.trust.sandbox.policy import Policy
        from genba.trust.sandbox.run import run_sandboxed
        try:
            run_sandboxed(["true"], Policy(), Path(os.environ["TMPDIR"]).parent / "log")
        except SandboxError as error:
            print(error)
        try:
            run_sandboxed(["true"], Policy(), Path("/dev/shm") / "log")
        except SandboxError as error:
            print(error)
    """
    assert run_sandboxed(python(code), Policy(), log) == 0
    lines = capfd.readouterr().out.splitlines()
    assert "expected a log file that can be appended to" in lines[0]
    assert "which the command may write" in lines[1]


def test_signals_that_end_programs_are_passed_on(log: Path):
    code = "import os, signal, time; os.kill(os.getppid(), 0)"
    # Inside, the supervisor cannot be signalled; from outside it passes on what it gets.
    assert run_sandboxed(python(code), Policy(), log) == 1
    trap = "trap 'exit 9' TERM; echo $PPID; while :; do sleep 0.1; done"
    outer = (
        "import sys; from pathlib import Path; from genba.trust.sandbox.policy import Policy\n"
        "from genba.trust.sandbox.run import run_sandboxed\n"
        "sys.exit(run_sandboxed(['sh', '-c', sys.argv[2]], Policy(), Path(sys.argv[1])))"
    )
    process = subprocess.Popen([sys.executable, "-c", outer, str(log), trap], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    os.kill(int(process.stdout.readline()), signal.SIGTERM)
    assert process.wait(timeout=60) == 9
    process.stdout.close()


def test_this_computer_is_found_to_enforce_by_trying():
    assert try_for_real() == ""
    assert all(one.is_met for one in requirements() if one.is_needed)
