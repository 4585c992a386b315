"""Run OpenStack Swift with its S3 API on loopback, all four servers in this process. Debian's Python runs this, not ours.

    /usr/bin/python3 swift_server.py FOLDER

Prints the proxy's port when it answers; ends when its standard input is closed. Users: test / tester, key testing, as
``test:tester``. Nothing outside FOLDER is read or written, but for Swift's own code.
"""

import os
import sys

import eventlet
from eventlet import wsgi
from swift.common import utils
from swift.common.ring.builder import RingBuilder
from swift.common.wsgi import loadapp

utils.eventlet_monkey_patch()
utils.HASH_PATH_PREFIX = utils.HASH_PATH_SUFFIX = b"genba-tests"

STORAGE = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
log_facility =
log_level = ERROR
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
PROXY = """
[DEFAULT]
swift_dir = {folder}
bind_ip = 127.0.0.1
bind_port = {port}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors listing_formats s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
min_segment_size = 1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
"""


class Cache(dict):
    """What Swift asks of memcached, in this process."""

    def __bool__(self):
        return True

    def get(self, key, raise_on_error=False):
        return super().get(key)

    def set(self, key, value, **_):
        self[key] = value

    def delete(self, key, server_key=None):
        self.pop(key, None)

    def incr(self, key, delta=1, time=0):
        self[key] = int(self.get(key) or 0) + delta
        return self[key]


def with_cache(application):
    cache = Cache()

    def call(environment, start_response):
        environment["swift.cache"] = cache
        return application(environment, start_response)

    return call


def main(folder: str) -> None:
    os.makedirs(f"{folder}/devices/d1")
    kinds = ("account", "container", "object")
    sockets = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in (*kinds, "proxy")}
    for kind in kinds:
        builder = RingBuilder(4, 1, 0)
        device = {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": sockets[kind].getsockname()[1]}
        builder.add_dev({**device, "device": "d1", "weight": 1.0})
        builder.rebalance()
        builder.get_ring().save(f"{folder}/{kind}.ring.gz")
    open(f"{folder}/swift.conf", "w").close()
    for kind, socket in sockets.items():
        text = PROXY if kind == "proxy" else STORAGE
        with open(f"{folder}/{kind}.conf", "w") as file:
            file.write(text.format(folder=folder, kind=kind, port=socket.getsockname()[1]))
        application = loadapp(f"{folder}/{kind}.conf", global_conf={"log_name": kind})
        eventlet.spawn(wsgi.server, socket, with_cache(application), log_output=False)
    print(sockets["proxy"].getsockname()[1], flush=True)
    eventlet.tpool.execute(sys.stdin.read)


if __name__ == "__main__":
    main(sys.argv[1])
