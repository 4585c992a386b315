"""A small DBC with every kind of signal, and frames of it, for the readers of CAN logs."""

import random
from pathlib import Path

import can

DBC = """VERSION ""

NS_ :

BS_:

BU_: XXX

BO_ 256 EngineData: 8 XXX
 SG_ EngineSpeed : 0|16@1+ (0.25,0) [0|16383.75] "rpm" XXX
 SG_ CoolantTemp : 16|8@1+ (1,-40) [-40|215] "degC" XXX
 SG_ Torque : 39|16@0- (0.5,0) [0|0] "Nm" XXX
 SG_ Mystery : 48|8@1+ (1,0) [0|0] "furlong" XXX

BO_ 512 MuxData: 8 XXX
 SG_ Kind M : 0|4@1+ (1,0) [0|0] "" XXX
 SG_ Pressure m0 : 8|16@1+ (0.1,0) [0|0] "bar" XXX
 SG_ Voltage m1 : 8|16@1- (0.001,0) [0|0] "V" XXX

BO_ 2566844672 Extended: 8 XXX
 SG_ Real : 0|32@1- (1,0) [0|0] "m/s" XXX

BO_ 768 FdData: 64 XXX
 SG_ Deep : 400|16@1+ (1,0) [0|0] "%" XXX

SIG_VALTYPE_ 2566844672 Real : 1;
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 256 20;
"""


def write_dbc(folder: Path) -> Path:
    """Write the DBC beside a log."""
    path = folder / "machine.dbc"
    path.write_text(DBC)
    return path


def messages(seed: int = 0, *, fd: bool = True) -> list[can.Message]:
    """Return 24 frames, 5 ms apart: every message, one of an unknown id, one remote frame, one short frame."""
    rng, out = random.Random(seed), []
    for i in range(24):
        kind = ("engine", "mux", "extended", "fd" if fd else "engine", "unknown", "engine")[i % 6]
        said = {"timestamp": 1_700_000_000.0 + 0.005 * i, "channel": 0, "is_extended_id": False, "is_rx": True}
        if kind == "engine":
            data = rng.randbytes(3 if i == 11 else 8)
            out.append(can.Message(arbitration_id=256, data=data, is_remote_frame=False, **said))
        elif kind == "mux":
            out.append(can.Message(arbitration_id=512, data=bytes([i // 6 % 3]) + rng.randbytes(7), **said))
        elif kind == "extended":
            said["is_extended_id"] = True
            out.append(can.Message(arbitration_id=2566844672 & 0x1FFFFFFF, data=rng.randbytes(3) + b"\x41" * 5, **said))
        elif kind == "fd":
            out.append(can.Message(arbitration_id=768, data=rng.randbytes(64), is_fd=True, **said))
        else:
            out.append(can.Message(arbitration_id=0x7FF, data=b"", **said))
    out.append(
        can.Message(
            timestamp=1_700_000_000.2, arbitration_id=256, is_remote_frame=True, dlc=8, channel=0, is_extended_id=False
        )
    )
    return out


def write(writer: type, path: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write the frames with one of python-can's writers; return the log and the options to read it with."""
    with writer(str(path)) as log:
        for message in messages(seed):
            log.on_message_received(message)
    return path, {"dbc": write_dbc(path.parent)}
