"""Crossings of the German guideline for traffic signals (RiLSA), as the wheel ``eclipse-sumo`` has them.

Nets, vehicle types and light programmes are read where they lie in the wheel and are not copied. Its demand is a script, ``makeRoutes.py``,
which writes SUMO's flows; what it writes is kept in the cache of road networks. Read next: ``city``, which drives there.

Source: examples of "Richtlinien fuer Lichtsignalanlagen" (FGSV), modelled by the German Aerospace Center for Eclipse SUMO (EPL-2.0).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from genba.errors import SimulatorError
from genba.machines.vehicle.network import road_cache, sumo_home

#: name of a crossing -> the guideline's example: 1 is lit in two phases, 3 gives its two busiest approaches phases of their own
EXAMPLES = {"rilsa1": 1, "rilsa3": 3}


def find_files(name: str) -> tuple[Path, Path, tuple[Path, ...]]:
    """Return a crossing's net, its demand, and its vehicle types with its light programme.

    Raises:
        SimulatorError: the wheel does not carry it, or its script fails.
    """
    number = EXAMPLES[name]
    scenarios = sumo_home() / "tools" / "sumolib" / "scenario" / "scenarios"
    folder = scenarios / "RealWorld" / f"RiLSA_example{number}"
    net_file = folder / f"rilsa{number}.net.xml"
    script, additional = folder / "makeRoutes.py", (folder / "vtypes.add.xml", folder / f"rilsa{number}_tls.add.xml")
    for path in (net_file, script, *additional):
        if not path.is_file():
            raise SimulatorError(f"{path}: no such file; reinstall eclipse-sumo 1.28")
    return net_file, _make_routes(name, script), additional


def _make_routes(name: str, script: Path) -> Path:
    digest = hashlib.sha256(script.read_bytes()).hexdigest()[:16]
    cache = road_cache()
    route_file = cache / f"{name}-{digest}.rou.xml"
    if route_file.exists():
        return route_file
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        # The script knows one thing: it writes flows.rou.xml where it runs.
        ran = subprocess.run(
            [sys.executable, "-I", str(script)], cwd=folder, capture_output=True, text=True, check=False
        )
        made = Path(folder) / "flows.rou.xml"
        if ran.returncode != 0 or not made.is_file():
            raise SimulatorError(f"{script}: exit status {ran.returncode}, no flows.rou.xml: {ran.stderr.strip()}")
        # A rename is atomic: workers that make it at the same time put the same file there.
        os.replace(made, route_file)
    return route_file
