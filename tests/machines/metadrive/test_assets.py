"""The assets come out of the older wheel whole, without its recordings, and never half."""

import importlib.util
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "metadrive_assets.py"


@pytest.fixture(scope="module")
def script():
    found = importlib.util.spec_from_file_location("metadrive_assets", SCRIPT)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def wheel(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, f"what {name} holds")
    return path


def test_it_takes_the_assets_alone_and_names_the_texture_as_the_newer_package_does(script, tmp_path):
    names = ["models/car.gltf", "textures/grass2/color.jpg", "waymo/0.pkl", "real_data/log.pkl", "../escaped.txt"]
    made = wheel(tmp_path / "a.whl", [f"metadrive/assets/{name}" for name in names] + ["metadrive/envs/base_env.py"])
    package = tmp_path / "metadrive"
    package.mkdir()
    # two of the wheel's files, the texture under its other name, and the version
    assert script.install(made, package) == 3
    found = sorted(str(p.relative_to(package)) for p in package.rglob("*") if p.is_file())
    texture = "assets/textures/grass1/GroundGrassGreen002_COL_1K.jpg"
    assert found == ["assets/models/car.gltf", texture, "assets/textures/grass2/color.jpg", "assets/version.txt"]
    assert (package / texture).read_text() == "what metadrive/assets/textures/grass2/color.jpg holds"
    assert (package / "assets/version.txt").read_text() == "0.4.3"
    assert not (tmp_path / "escaped.txt").exists()


def test_another_wheel_leaves_no_assets(script, tmp_path):
    made = wheel(tmp_path / "b.whl", ["metadrive/assets/models/car.gltf"])
    with pytest.raises(SystemExit, match=r"expected the wheel of metadrive-simulator 0\.3\.0\.1"):
        script.install(made, tmp_path)
    assert not (tmp_path / "assets").exists()
