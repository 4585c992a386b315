"""Each loss against a number worked out by hand."""

import math

import pytest
import torch

from genba.model import losses


def test_flow_loss_is_the_mean_square_over_what_is_kept():
    noise, actions = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    # The wanted velocity is noise - action = -1. Errors: 1 and 3 in the first action; the second is masked.
    velocity = torch.tensor([[[[0.0, 2.0], [9.0, 9.0]]]])
    mask = torch.tensor([[[True, False]]])
    assert losses.flow_loss(velocity, noise, actions, mask).item() == pytest.approx((1 + 9) / 2)


def test_score_loss_does_not_depend_on_the_teachers_scale():
    mask = torch.tensor([[True, True, True, False]])
    target = torch.tensor([[10.0, 20.0, 30.0, 99.0]])
    # Standardised: mean 20, population spread sqrt(200 / 3); so -1.2247, 0, 1.2247.
    edge = math.sqrt(1.5)
    perfect = torch.tensor([[-edge, 0.0, edge, float("-inf")]])
    assert losses.score_loss(perfect, target, mask).item() == pytest.approx(0.0, abs=1e-10)
    nothing = torch.tensor([[0.0, 0.0, 0.0, float("-inf")]])
    assert losses.score_loss(nothing, target, mask).item() == pytest.approx(1.0)
    assert losses.score_loss(perfect, target * 1e-3, mask).item() == pytest.approx(0.0, abs=1e-6)


def test_assign_loss_is_the_cross_entropy_of_rows_that_have_a_target():
    scores = torch.tensor([[[0.0, 0.0, float("-inf")], [float("-inf")] * 3]], requires_grad=True)
    loss = losses.assign_loss(scores, torch.tensor([[1, -1]]))
    # One row of two equal scores: log 2; the row that allows nothing has no target and gives no NaN.
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    assert torch.isfinite(scores.grad).all()


def test_isotropy_is_small_for_a_normal_and_large_for_a_collapse():
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(4, 500, 8, generator=generator)
    collapsed = torch.zeros(4, 500, 8)
    # A collapse to 0 has the characteristic function 1 at every knot: the sum of w (1 - w)^2 with w the normal density.
    knots = torch.linspace(-3, 3, 9)
    weight = torch.exp(-0.5 * knots**2)
    expected = float((weight * (1 - weight) ** 2).sum() * 0.75)
    assert losses.isotropy_loss(collapsed, seed=1).item() == pytest.approx(expected, rel=1e-5)
    assert losses.isotropy_loss(normal, seed=1).item() < 0.02 * expected


def test_isotropy_of_a_batch_is_the_mean_over_its_groups():
    latents = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(1))
    halves = [losses.isotropy_loss(part, seed=2) for part in latents.split(4)]
    assert losses.isotropy_loss(latents, seed=2).item() == pytest.approx(float(sum(halves) / 2), rel=1e-5)
