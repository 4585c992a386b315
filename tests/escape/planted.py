"""A command of this program that tries to reach a host abroad before it does its work: ``PLANTED`` is run with ``python -c``.

What follows is the host, the port, where to write what came of it, and the command's own words. Nothing is tried before the
command is where it is confined.
"""

PLANTED = """
import ctypes, json, os, socket, struct, subprocess, sys
host, port, out, *words = sys.argv[1:]
from genba.cli import confined, main
words = confined.enter(words)
tried = {}
def attempt(name, function):
    try:
        function()
        tried[name] = "reached"
    except OSError as error:
        tried[name] = type(error).__name__
def by_ctypes():
    libc = ctypes.CDLL(None, use_errno=True)
    address = struct.pack("<H", socket.AF_INET) + struct.pack(">H", int(port)) + socket.inet_aton(host) + bytes(8)
    one = socket.socket()
    if libc.connect(one.fileno(), address, len(address)):
        raise OSError(ctypes.get_errno(), "connect")
def in_a_child():
    code = "import socket, sys; sys.exit(socket.socket().connect_ex((sys.argv[1], int(sys.argv[2]))))"
    if error := subprocess.run([sys.executable, "-c", code, host, port]).returncode:
        raise OSError(error, "connect")
def by_arrow():
    from pyarrow import fs
    once = fs.AwsStandardS3RetryStrategy(max_attempts=1)
    store = fs.S3FileSystem(access_key="a", secret_key="b", region="r", scheme="http", endpoint_override=f"{host}:{port}",
                            connect_timeout=5, request_timeout=5, retry_strategy=once)
    store.get_file_info("bucket/object")
attempt("python", lambda: socket.create_connection((host, int(port)), 5).close())
attempt("ctypes", by_ctypes)
attempt("child", in_a_child)
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"leak", (host, int(port))))
if "train" in words:
    attempt("arrow", by_arrow)
with open(out, "a") as file:
    print(json.dumps(tried), file=file)
main.main(words)
"""
