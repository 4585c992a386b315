"""Opens a floor by its address: the scheme says what carries it."""

from __future__ import annotations

from genba.errors import ConfigError
from genba.floor.mqtt import SparkplugFloor
from genba.floor.opcua import OpcUaFloor
from genba.floor.protocol import SensingFloor


async def connect(address: str) -> SensingFloor:
    """Open a connection to the floor at ``opc.tcp://host:port`` or ``mqtt://host:port/group/node``.

    Raises:
        ConfigError: another scheme.
        FloorError: nothing answers there, or the carrier's extra is not installed.
    """
    if address.startswith("opc.tcp://"):
        return await OpcUaFloor.connect(address)
    if address.startswith("mqtt://"):
        return await SparkplugFloor.connect(address)
    raise ConfigError(f"floor: got {address!r}, expected opc.tcp://HOST:PORT or mqtt://HOST:PORT/GROUP/NODE")
