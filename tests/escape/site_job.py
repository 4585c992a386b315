"""A job of a site: ``python site_job.py FACTS``: talks to each host that it is given, and says which of them answered."""

import json
import socket
import sys

facts = json.loads(sys.argv[1])
out = {}
for name, host in facts["hosts"].items():
    tried = {}
    for way in ("connect", "not blocking", "fast open", "udp"):
        try:
            if way == "udp":
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"leak", (host, facts["port"]))
                tried[way] = "sent"
                continue
            one = socket.socket()
            one.settimeout(20)
            if way == "fast open":
                one.settimeout(None)
                one.sendto(b"hi", 0x20000000, (host, facts["port"]))
            elif way == "not blocking":
                one.connect_ex((host, facts["port"]))
                one.sendall(b"hi")
            else:
                one.connect((host, facts["port"]))
                one.sendall(b"hi")
            tried[way] = one.recv(16).decode()
        except OSError as error:
            tried[way] = type(error).__name__
    out[name] = tried
print(json.dumps(out))
