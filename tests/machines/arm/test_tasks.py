"""The task and its embodiment are what the registry says."""

from genba import registry
from genba.spec.embodiment import load_embodiment
from genba.spec.normalise import packed_shapes
from genba.spec.protocols import Env, Policy


def test_the_registered_task_is_whole(env):
    task = registry.task("arm/grip@1")
    assert task.id == "arm/grip@1"
    assert isinstance(env, Env)
    for name, make in task.policies.items():
        policy = make(env)
        assert isinstance(policy, Policy)
        assert policy.name == name
    assert len(task.test_seeds) == 300


def test_the_embodiment_hides_what_only_the_world_knows():
    embodiment = load_embodiment("arm/panda-grip@1")
    names = {dimension.name for channel in embodiment.telemetry for dimension in channel.dimensions}
    assert not names & {"slip", "friction", "mass", "crush_load", "stiffness"}
    shapes = packed_shapes(embodiment)
    # 0.6 s at 100 Hz with two pads of three axes; 5 s at 10 Hz with a normal and a shear force.
    assert shapes["touch.values"][0] == (60, 6)
    assert shapes["load.values"][0] == (50, 4)
    assert shapes["action.base"][0] == (2,)
