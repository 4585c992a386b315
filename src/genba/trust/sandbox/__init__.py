"""The sandbox: a command reaches what a policy lists and nothing else, enforced by the kernel, without root.

How it works, layer by layer:

- A filter over system calls (``bpf``) lets only TCP and unix stream sockets be made, and closes what goes around them:
  io_uring, TCP fast open, source routing, other processes' memory, namespaces, shared memory outside the file system.
- Every ``connect``, ``bind`` and ``listen`` goes to a supervisor outside (``supervisor``), which decides (``decide``) on its own copy
  of the address and makes the call itself; so no address can be exchanged between the check and the use.
- Landlock (``landlock``) bounds files, and closes TCP once more, signals, tracing and abstract sockets to processes outside.
- Every attempt is a line in the egress log (``log``).

Limits are in ``SECURITY.md``. Import what you need from ``run``, ``policy``, ``log`` and ``support``.
"""
