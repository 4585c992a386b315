"""Numbers of the system calls that the sandbox names, on x86-64 and aarch64, and which of them it refuses and why.

What is not named here may be called. A number beyond ``NEWEST`` answers "no such call": a call that a later kernel adds
opens nothing before somebody has looked at it. Which arguments of a call are refused is in ``bpf``; what the supervisor
decides by address is in ``decide``.

Source: Linux 6.1 ``arch/x86/include/generated/uapi/asm/unistd_64.h`` and ``include/uapi/asm-generic/unistd.h`` (aarch64);
numbers above 450 are one list for all architectures (Linux 6.18 ``scripts/syscall.tbl``).
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from genba.errors import SandboxError

#: The last number of Linux 6.18 (file_setattr). Beyond it stands what nobody here has looked at.
NEWEST = 469
#: Set in a number by the x32 interface of x86-64, under which calls have other numbers.
X32_BIT = 0x40000000

#: name -> (x86-64, aarch64); None where an architecture has no such call
_NUMBERS: dict[str, tuple[int, int | None]] = {
    "socket": (41, 198),
    "connect": (42, 203),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "socketpair": (53, 199),
    "setsockopt": (54, 208),
    "sendmmsg": (307, 269),
    "ioctl": (16, 29),
    "clone": (56, 220),
    "clone3": (435, 435),
    "prlimit64": (302, 261),
    # another process's memory or descriptors
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # calls made where no filter sees them
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # code in the kernel, and its doors
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    # namespaces and mounts
    "setns": (308, 268),
    "unshare": (272, 97),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    # memory and messages shared with processes outside, which file rules do not see
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # files past their paths, and the computer itself
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "lookup_dcookie": (212, 18),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    # what the sandbox itself calls
    "seccomp": (317, 277),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
    "pidfd_open": (434, 434),
    "capset": (126, 91),
    "close_range": (436, 436),
    "statx": (332, 291),
}

_GROUPS: dict[str, str] = {
    "reaches into another process": "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp",
    "io_uring makes calls that no filter sees": "io_uring_setup io_uring_enter io_uring_register",
    "brings code into the kernel or opens its insides": (
        "bpf perf_event_open userfaultfd init_module finit_module delete_module kexec_load kexec_file_load iopl ioperm "
        "modify_ldt uselib"
    ),
    "changes namespaces or mounts": (
        "setns unshare mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick "
        "mount_setattr open_tree_attr"
    ),
    "shares memory or messages with processes outside": (
        "shmget shmat shmctl semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink add_key "
        "request_key keyctl"
    ),
    "opens files past their paths": "open_by_handle_at fanotify_init fanotify_mark lookup_dcookie",
    "changes the computer itself": (
        "quotactl quotactl_fd syslog acct swapon swapoff reboot sethostname setdomainname settimeofday clock_settime "
        "clock_adjtime"
    ),
}

#: Calls that the supervisor decides by address and makes itself.
SUPERVISED = ("connect", "bind", "listen", "accept", "accept4")

#: name of a call that is refused whatever its arguments are -> why
REFUSED: dict[str, str] = {name: reason for reason, names in _GROUPS.items() for name in names.split()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One processor architecture as the kernel's filters see it."""

    name: str
    """As ``platform.machine()`` says it."""
    audit: int
    """The AUDIT_ARCH constant that a filter compares with. Source: ``include/uapi/linux/audit.h``."""
    column: int
    """Which column of the table of numbers."""
    has_x32: bool = False
    """Whether a second set of numbers exists beside the native one."""

    def number(self, name: str) -> int | None:
        """Return the number of call ``name``; None where this architecture has no such call."""
        return _NUMBERS[name][self.column]

    def name_of(self, number: int) -> str:
        """Return the name of call ``number``, or the number where the table does not name it."""
        return next((name for name in _NUMBERS if self.number(name) == number), f"system call {number}")


X86_64 = Architecture(name="x86_64", audit=0xC000003E, column=0, has_x32=True)
AARCH64 = Architecture(name="aarch64", audit=0xC00000B7, column=1)
ARCHITECTURES = {one.name: one for one in (X86_64, AARCH64)}


def current_architecture() -> Architecture:
    """Return the architecture of this process.

    Raises:
        SandboxError: a system or processor that has no table here.
    """
    if sys.platform != "linux":
        raise SandboxError(f"this system is {sys.platform}; the sandbox needs Linux to enforce anything")
    found = ARCHITECTURES.get(platform.machine())
    if found is None or sys.maxsize < 2**32:
        raise SandboxError(
            f"this process runs on {platform.machine()} with {sys.maxsize.bit_length() + 1}-bit pointers; the sandbox "
            f"knows 64-bit {' and '.join(ARCHITECTURES)} only"
        )
    return found
