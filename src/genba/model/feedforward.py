"""The part of a block that looks at one token at a time: SwiGLU, dense or as a mixture of experts.

Balance without an auxiliary loss: each routed expert has a bias that only routing sees; ``rebalance`` moves it against
the load of the last step (DeepSeek-V3, arXiv 2412.19437, section 2.1.2). How experts are spread over ranks is not
here but in ``genba.train.parallelize``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genba.model.config import MixtureConfig


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202): down(silu(gate x) * up x)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class RoutedExperts(nn.Module):
    """The stacked weights of all routed experts: ``[expert, in, out]``."""

    def __init__(self, width: int, hidden: int, count: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.empty(count, width, hidden))
        self.up = nn.Parameter(torch.empty(count, width, hidden))
        self.down = nn.Parameter(torch.empty(count, hidden, width))
        for weight in (self.gate, self.up, self.down):
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        """Apply expert ``e`` to ``rows[ends[e - 1]:ends[e]]``; ``rows`` ``[row, width]`` sorted by expert, ``ends`` int32."""
        hidden = F.silu(F.grouped_mm(rows, self.gate, offs=ends)) * F.grouped_mm(rows, self.up, offs=ends)
        return F.grouped_mm(hidden, self.down, offs=ends)


class MixtureOfExperts(nn.Module):
    """Shared experts for every token and the best few routed ones."""

    #: routing bias and load of the last forward pass, ``[expert]``; kept with the weights
    bias: Tensor
    load: Tensor

    def __init__(self, width: int, config: MixtureConfig) -> None:
        super().__init__()
        self.config = config
        self.router = nn.Linear(width, config.num_routed, bias=False)
        self.routed = RoutedExperts(width, config.feedforward, config.num_routed)
        self.shared = FeedForward(width, config.feedforward * config.num_shared)
        self.register_buffer("bias", torch.zeros(config.num_routed))
        self.register_buffer("load", torch.zeros(config.num_routed), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        chosen, weight = self.route(rows)
        flat = chosen.reshape(-1)
        order = flat.argsort(stable=True)
        token = order // self.config.num_active
        ends = self._counts(flat).cumsum(0).to(torch.int32)
        out = self.routed(rows[token], ends) * weight.reshape(-1)[order, None]
        mixed = torch.zeros_like(rows).index_add(0, token, out)
        return self.shared(x) + mixed.view_as(x)

    def route(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the experts of each row ``[row, active]`` and their weights, which sum to 1 per row."""
        active, count = self.config.num_active, self.config.num_routed
        score = self.router(rows).sigmoid()
        if self.config.force_balanced:
            index = torch.arange(rows.shape[0] * active, device=rows.device).view(-1, active)
            chosen = index % count
        else:
            chosen = (score.detach() + self.bias).topk(active, dim=-1).indices
            if self.training:
                self.load = self.load + self._counts(chosen.reshape(-1))
        weight = score.gather(1, chosen)
        return chosen, weight / weight.sum(-1, keepdim=True)

    def _counts(self, chosen: Tensor) -> Tensor:
        ones = torch.ones_like(chosen, dtype=torch.float32)
        return torch.zeros(self.config.num_routed, device=chosen.device).scatter_add(0, chosen, ones)

    @torch.no_grad()
    def rebalance(self) -> None:
        """Move the routing bias one step towards equal load; call once per train step."""
        self.bias += self.config.balance_rate * torch.sign(self.load.mean() - self.load)
        self.load = torch.zeros_like(self.load)
