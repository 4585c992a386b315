"""The camera shows what the package's own renderer shows, moved and turned as the published protocol has it."""

import io

import numpy as np
import pytest
from PIL import Image

from genba.errors import SimulatorError
from genba.machines.metaworld import camera, picture
from genba.machines.metaworld.camera import Camera
from genba.machines.metaworld.simulator import CAMERA, MetaWorldEnv
from genba.spec.action import Action

from .conftest import play

metaworld = pytest.importorskip("metaworld", reason="Meta-World is not installed: pip install 'genba[metaworld]'")


@pytest.fixture(scope="module")
def seen():
    env = MetaWorldEnv(("drawer-open-v3",), CAMERA)
    yield env
    env.close()


def test_a_frame_comes_with_every_control_step_and_nothing_of_the_truth(seen):
    first = seen.reset(3)
    assert set(first.samples) == {"hand", "corner2"}
    assert np.array_equal(first.samples["hand"].values[0], seen.raw[:4].astype(np.float32))
    later = first
    for _ in range(10):
        later = seen.step(Action(np.array([0, 1, 0, 1], np.float32)))
    before, after = (step.samples["corner2"] for step in (first, later))
    assert (before.values.shape, before.values.dtype) == ((1, 128, 128, 3), np.uint8)
    assert after.times_ns.tolist() == [later.time_ns]
    # The arm moved, the room and the camera did not, also not between the first picture and the next: some pixels differ by
    # much, most do not differ at all.
    change = np.abs(before.values.astype(int) - after.values).max(-1)
    assert 0.005 < (change > 30).mean() < 0.25
    assert (change == 0).mean() > 0.6


def test_it_is_the_packages_picture_from_the_moved_camera_turned_by_180_degrees(seen, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    seen.reset(4)
    ours = seen.picture(128, 128)
    world = metaworld.env_dict.ALL_V3_ENVIRONMENTS["drawer-open-v3"](
        render_mode="rgb_array", camera_name="corner2", width=128, height=128
    )
    world.model.vis.quality.shadowsize = world.model.vis.quality.offsamples = 0
    world.model.cam_pos[2] = [0.75, 0.075, 0.7]
    world._partially_observable, world._freeze_rand_vec, world.seeded_rand_vec = False, False, True
    world._set_task_called = True
    del world.sawyer_observation_space
    world.seed(4)
    world.reset()
    theirs = np.flip(world.render(), (0, 1))
    world.close()
    assert np.abs(ours.astype(int) - theirs).mean() < 1.0
    # turned and not mirrored: neither flip of one axis alone would do
    for axis in (0, 1):
        assert np.abs(np.flip(ours, axis).astype(int) - theirs).mean() > 5.0


def test_a_picture_may_have_any_size(seen):
    seen.reset(5)
    large = seen.picture(128, 160)
    small = seen.picture(64, 80)
    assert (large.shape, small.shape) == ((128, 160, 3), (64, 80, 3))
    # the same view: each small pixel is about the mean of four large ones
    halved = large.reshape(64, 2, 80, 2, 3).mean((1, 3))
    assert np.abs(halved - small).mean() < 8.0


def test_an_episode_is_drawn_again_from_its_trace(env):
    play(env, 3)  # door-open-v3
    (strip,) = picture.draw(env.trace(), "scripted")
    image = Image.open(io.BytesIO(strip.data))
    assert image.size == (picture.SIDE * picture.NUM_FRAMES, picture.SIDE)
    first = image.crop((0, 0, picture.SIDE, picture.SIDE))
    last = image.crop((image.width - picture.SIDE, 0, image.width, picture.SIDE))
    assert first.tobytes() != last.tobytes()
    assert strip.caption.startswith("open the door: success after ")


def test_a_missing_graphics_library_is_named_with_its_package(env, monkeypatch):
    def missing(name):
        raise ImportError("libEGL.so.1: cannot open shared object file")

    env.reset(0)
    monkeypatch.setattr(camera.importlib, "import_module", missing)
    with pytest.raises(SimulatorError, match="libegl1"):
        Camera(env._worlds[env.name], 64, 64)
