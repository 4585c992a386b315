"""Pictures show the episode, and a missing graphics library is named."""

import io

import pytest
from PIL import Image

from genba.errors import SimulatorError
from genba.machines.arm import picture
from genba.machines.arm.expert import GripExpert


def test_an_episode_gives_a_strip_and_a_chart(env, run):
    run(env, GripExpert(env), 9)
    strip, chart = picture.draw(env.trace(), "expert")
    image = Image.open(io.BytesIO(strip.data))
    assert image.size == (picture.FRAME_WIDTH * picture.NUM_FRAMES, picture.FRAME_HEIGHT)
    # The hand rises: the first and the last frame differ.
    first = image.crop((0, 0, picture.FRAME_WIDTH, picture.FRAME_HEIGHT))
    last = image.crop((image.width - picture.FRAME_WIDTH, 0, image.width, picture.FRAME_HEIGHT))
    assert first.tobytes() != last.tobytes()
    assert Image.open(io.BytesIO(chart.data)).format == "PNG"
    assert "success" in strip.caption


def test_a_missing_graphics_library_is_named_with_its_package(monkeypatch):
    def missing(name):
        raise ImportError("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(picture.importlib, "import_module", missing)
    with pytest.raises(SimulatorError, match="libegl1"):
        picture._open_context()
