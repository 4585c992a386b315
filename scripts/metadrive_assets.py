"""Puts MetaDrive's assets where the package looks for them, from PyPI alone.

    python scripts/metadrive_assets.py [--wheel metadrive_simulator-0.3.0.1-py3-none-any.whl]

``metadrive-simulator==0.4.3`` carries no assets: at its first reset it fetches an archive from GitHub. The wheel of version 0.3.0.1 on
PyPI carries them, under the same licence (Apache-2.0). This takes that wheel with ``pip download`` and copies its folder of assets into
the installed package. Physics and LiDAR need no more; two textures of the terrain are in neither, so there is no camera.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE, WITH_ASSETS, WANTED = "metadrive-simulator", "0.3.0.1", "0.4.3"
INSIDE = "metadrive/assets/"
#: The newer package asks for this texture, which the older wheel has under another name.
TEXTURE, SAME_TEXTURE = "textures/grass1/GroundGrassGreen002_COL_1K.jpg", "textures/grass2/color.jpg"
#: Recorded scenes, as pickles; nothing here reads them.
LEFT_OUT = ("waymo/", "real_data/", "nuscenes/")


def download(folder: Path) -> Path:
    """Let pip fetch the wheel with the assets and return where it lies."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*command, f"{PACKAGE}=={WITH_ASSETS}"], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, package: Path) -> int:
    """Copy the wheel's assets into the package's folder, whole or not at all; return how many files."""
    target, unfinished = package / "assets", package / "assets.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    num_files = 0
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            inside = name.removeprefix(INSIDE)
            if inside == name or inside.endswith("/") or inside.startswith(LEFT_OUT) or ".." in Path(inside).parts:
                continue
            path = unfinished / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))
            num_files += 1
    if not (unfinished / SAME_TEXTURE).exists():
        raise SystemExit(f"{wheel}: has no {INSIDE}{SAME_TEXTURE}, expected the wheel of {PACKAGE} {WITH_ASSETS}")
    (unfinished / TEXTURE).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(unfinished / SAME_TEXTURE, unfinished / TEXTURE)
    # What the package compares with its own version before it would fetch anything.
    (unfinished / "version.txt").write_text(WANTED, encoding="utf-8")
    unfinished.rename(target)
    return num_files + 1


def main() -> None:
    """Install the assets, unless they are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="the wheel, where it is here already")
    given = parser.parse_args()
    found = importlib.util.find_spec("metadrive")
    if found is None or found.origin is None:
        raise SystemExit("metadrive is not installed: pip install 'genba[metadrive]'")
    if (version := importlib.metadata.version(PACKAGE)) != WANTED:
        raise SystemExit(f"{PACKAGE}: got version {version}, expected {WANTED}, which these assets are made to fit")
    package = Path(found.origin).parent
    if (package / "assets").exists():
        print(f"{package / 'assets'} is there already")
        return
    with tempfile.TemporaryDirectory() as folder:
        num_files = install(given.wheel or download(Path(folder)), package)
    print(f"{num_files} files in {package / 'assets'}")


if __name__ == "__main__":
    main()
