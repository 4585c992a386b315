"""A host of a site: ``python site_host.py NAME ADDRESS PORT``: answers with its name, and counts on its standard output."""

import select
import socket
import sys

name, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
server = socket.create_server((address, port))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind((address, port))
print("ready", flush=True)
while True:
    ready, _, _ = select.select([server, datagrams, sys.stdin], [], [])
    if sys.stdin in ready:
        break
    if datagrams in ready:
        datagrams.recv(100)
        print("datagram", flush=True)
    if server in ready:
        one, _ = server.accept()
        print("connection", flush=True)
        one.sendall(name.encode())
        one.close()
