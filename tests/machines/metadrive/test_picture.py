"""A strip of five moments, the last one the end."""

import io

import numpy as np
from PIL import Image

from genba.machines.metadrive import picture
from genba.machines.metadrive.baselines import Straight

from .conftest import play


def test_the_strip_shows_the_car_and_says_how_it_ended(env):
    play(env, Straight(env), 5001)
    trace = env.trace()
    (strip,) = picture.draw(trace, "straight")
    image = Image.open(io.BytesIO(strip.data)).convert("RGB")
    assert image.size == (picture.SIDE * picture.NUM_FRAMES, picture.SIDE)
    # The car is in the middle of every frame, as large as it is: 4.515 x 1.852 m at 3 pixels a metre are 75 pixels.
    blue = (np.array(image) == picture.EGO).all(-1)
    for i in range(picture.NUM_FRAMES):
        ys, xs = np.nonzero(blue[:, i * picture.SIDE : (i + 1) * picture.SIDE])
        assert 50 < len(xs) < 130
        assert abs(xs.mean() - picture.SIDE / 2) < 3 and abs(ys.mean() - picture.SIDE / 2) < 3
    assert "of the route" in strip.caption and strip.title.startswith("MetaDrive's scene 5001")
