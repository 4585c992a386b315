"""The arm follows heights, and the scene has the contacts that the task needs."""

import mujoco
import numpy as np

from genba.machines.arm import scene


def test_joints_of_the_way_put_the_pinch_point_where_asked():
    model, ids, way = scene.compiled()
    data = mujoco.MjData(model)
    heights = np.linspace(scene.LOWEST_M, scene.HIGHEST_M, 37)
    for height, joints in zip(heights, way.set_points(heights, 0 * heights, 0 * heights), strict=True):
        data.qpos[ids.arm_qpos] = joints
        mujoco.mj_kinematics(model, data)
        # Fitted through solutions of 1e-10 m; a micrometre is far below every slip that is judged.
        np.testing.assert_allclose(data.site_xpos[ids.pinch_site], [scene.PINCH_X_M, 0.0, height], atol=1e-6)


def test_friction_does_not_creep_by_the_solver_settings():
    model, _, _ = scene.compiled()
    assert model.opt.noslip_iterations == 5
    assert model.opt.impratio == 10
    assert int(model.opt.cone) == int(mujoco.mjtCone.mjCONE_ELLIPTIC)


def test_pads_have_no_margin_which_made_contacts_chatter():
    model, _, _ = scene.compiled()
    assert model.geom("pad_left").margin[0] == 0.0
    assert model.geom("pad_right").margin[0] == 0.0
