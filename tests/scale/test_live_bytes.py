"""Live bytes are those of storages, from the first tensor on them to the last, real or fake alike."""

import torch
from batches import EVERYTHING, random_batch
from torch._subclasses.fake_tensor import FakeTensorMode

from genba.model.config import preset
from genba.model.world_action_model import WorldActionModel
from genba.spec.embodiment import load_embodiment
from genba.train.live_bytes import LiveBytes
from genba.train.plan import ACTIVATIONS, OPTIMIZER, PARAMETERS


def test_bytes_live_as_long_as_their_storage():
    weight = torch.zeros(10)
    with LiveBytes({PARAMETERS: [weight]}) as live:
        assert live.now[PARAMETERS] == 40
        a = weight + 1
        view = a[2:5]
        assert live.now[ACTIVATIONS] == 40  # a view adds nothing
        b = torch.cat((a, a))
        assert live.now[ACTIVATIONS] == 40 + 80
        del a
        assert live.now[ACTIVATIONS] == 40 + 80  # the view holds it
        del view
        assert live.now[ACTIVATIONS] == 80
        b.untyped_storage().resize_(0)
        assert live.now[ACTIVATIONS] == 0
        b.untyped_storage().resize_(16)
        assert live.now[ACTIVATIONS] == 16
    assert live.peak == live.now | {ACTIVATIONS: 120}
    assert live.peak_bytes == 160


def test_tensors_without_memory_count_like_real_ones():
    def peak() -> dict[str, int]:
        model = WorldActionModel(preset("debug"), [everything]).train()
        optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
        with LiveBytes({PARAMETERS: model.parameters(), ACTIVATIONS: model.buffers()}) as live:
            model(everything.id, {name: value.clone() for name, value in batch.items()})["total"].backward()
            optimizer.step()
        return live.peak | {"end": live.now[OPTIMIZER]}

    everything = load_embodiment(EVERYTHING)
    batch = random_batch(everything, 4, seed=0)
    real = peak()
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = peak()
    assert fake == real
    # AdamW keeps two means of every parameter, and a counter of 4 bytes.
    count = [p.numel() for p in WorldActionModel(preset("debug"), [everything]).parameters()]
    assert real["end"] == sum(2 * 4 * n + 4 for n in count)
