"""Batches are those of their train steps, whoever makes them and in whatever order."""

import threading
from dataclasses import replace

import torch
from toy import CART, LINES

from genba.data.vault import Vault
from genba.train.data import prepare
from genba.train.loader import Loader
from genba.train.recipe import recipe

MACHINES = [CART.embodiment, LINES.embodiment]
RECIPE = replace(recipe("debug"), num_steps=12)


def test_many_workers_make_the_batches_of_one(vault: Vault):
    data = prepare(vault, MACHINES, RECIPE)

    def batches(workers: int) -> list[tuple[int, dict]]:
        # Made anew each time, so that workers meet episodes that nobody has looked at yet.
        mixture = prepare(vault, MACHINES, RECIPE).training
        loader = Loader(mixture, data.embodiments, RECIPE.model, seed=0, ahead=4, workers=workers)
        return list(loader.steps(3, 11))

    one, many = batches(1), batches(4)
    assert [step for step, _ in one] == [step for step, _ in many] == list(range(3, 11))
    for (_, want), (_, got) in zip(one, many, strict=True):
        assert want.keys() == got.keys()
        for name, tensors in want.items():
            for key, tensor in tensors.items():
                torch.testing.assert_close(got[name][key], tensor, rtol=0, atol=0, msg=f"{name} {key}")


def test_the_first_batches_are_begun_before_one_is_asked_for(vault: Vault):
    data, made = prepare(vault, MACHINES, RECIPE), threading.Event()

    class Told(Loader):
        def batch(self, step: int):
            out = super().batch(step)
            made.set()
            return out

    batches = Told(data.training, data.embodiments, RECIPE.model, seed=0, ahead=1).steps(0, 5)
    assert made.wait(60)
    assert [step for step, _ in batches] == list(range(5))
