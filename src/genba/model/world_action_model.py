"""One world-action model for every embodiment.

Three verbs, state passed in and out: ``encode`` turns an observation into a memory of keys and values; ``velocity``
lets the action expert read that memory at one flow step; ``predict`` lets the world expert say what comes of an
action. ``choose`` points at rows. ``forward`` is training: the losses of one batch of one embodiment. Everything is
built from an embodiment's channels; no machine is known by name. Read next: ``graphs``, which makes it deployable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genba.model import losses
from genba.model.attention import ACTION, UNDERSTANDING, WORLD, MixtureLayer, RMSNorm, compile_rules, rotary
from genba.model.config import ModelConfig
from genba.model.feedforward import MixtureOfExperts
from genba.model.heads import FlowHead, PointerHead, WorldHead
from genba.model.tokenizers import Inputs, Tokenizer, Tokens, make_tokenizer
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import has_free_rows


class Encoding(NamedTuple):
    """What the trunk made of an observation.

    Attributes:
        keys, values: per layer ``[batch, kv head, token, head width]``.
        tokens: ``[batch, token, width]`` after the last layer.
        valid: bool ``[batch, token]``.
        places: channel -> where its tokens stand.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    tokens: Tensor
    valid: Tensor
    places: Mapping[str, slice]

    def every(self, stride: int) -> Encoding:
        """Return every ``stride``-th sample's."""
        keys, values = (tuple(part[::stride] for part in parts) for parts in (self.keys, self.values))
        return Encoding(keys, values, self.tokens[::stride], self.valid[::stride], self.places)


class EmbodimentParts(nn.Module):
    """The small parameters of one embodiment: prompts, tokenizers, relation biases and heads."""

    allowed: Tensor
    surprise_scale: Tensor

    def __init__(self, embodiment: Embodiment, config: ModelConfig) -> None:
        super().__init__()
        self.embodiment = embodiment
        width, control = config.trunk.width, embodiment.control
        self.prompts = nn.Parameter(torch.randn(config.num_prompts, width) * 0.02)
        tokenizers: dict[str, Tokenizer] = {c.name: make_tokenizer(c, config) for c in embodiment.channels}
        self.tokenizers = nn.ModuleDict(tokenizers)
        self.stamps = nn.Parameter(torch.randn(len(tokenizers), width) * 0.02)
        groups, times = ["prompt"] * config.num_prompts, [0.0] * config.num_prompts
        # The rules are the same for all rows of an entity channel: one stands for them, however many there are.
        self.free_rows = {channel.name for channel in embodiment.entities if has_free_rows(channel)}
        self.slices: dict[str, slice] = {}
        self.num_tokens = config.num_prompts
        for name, tokenizer in tokenizers.items():
            self.slices[name] = slice(self.num_tokens, self.num_tokens + tokenizer.num_tokens)
            self.num_tokens += tokenizer.num_tokens
            ages_s = tokenizer.nominal_age_s[:1] if name in self.free_rows else tokenizer.nominal_age_s
            groups += ["observation"] * len(ages_s)
            times += ages_s
        nominal = torch.tensor(times, device="cpu")
        self.register_buffer("allowed", compile_rules(groups, nominal, groups, nominal), persistent=False)
        # No parameter where there is nothing to weigh: an empty one would never get a gradient or optimizer state.
        relations, choices = len(embodiment.relation), len(embodiment.action.choice)
        self.relation_bias = nn.Parameter(torch.zeros(relations, 2, config.num_heads, 3)) if relations else None
        # Heads.
        action = embodiment.action
        self.flow = FlowHead(len(action.continuous), control.chunk_length, config) if action.continuous else None
        self.pointers = nn.ModuleDict(
            {choice.name: PointerHead(choice, len(self.relations_of(choice)), config) for choice in action.choice}
        )
        self.choice_place = nn.Parameter(torch.randn(choices, width) * 0.02) if choices else None
        predicted = {name: t for name, t in tokenizers.items() if t.num_predicted}
        num_latents = sum(t.num_predicted for t in predicted.values())
        self.world = WorldHead(num_latents, control.horizon, len(action.continuous), len(action.choice), config)
        self.readouts = nn.ModuleDict(
            {name: nn.Linear(config.latent_width, t.readout_width, bias=False) for name, t in predicted.items()}
        )
        #: running mean of each latent's squared prediction error: what is normal, for the surprise score
        self.register_buffer("surprise_scale", torch.ones(num_latents))

    def relations_of(self, choice: object) -> list[str]:
        """Return the relations that run between the two entity channels of an assignment."""
        pair = (getattr(choice, "for_each", ""), getattr(choice, "over", ""))
        return [r.name for r in self.embodiment.relation if (r.source, r.target) == pair]

    def tokenize(self, inputs: Inputs) -> dict[str, Tokens]:
        """Tokenize every channel."""
        return {name: tokenizer(inputs) for name, tokenizer in self.tokenizers.items()}

    def places(self, tokens: Mapping[str, Tokens]) -> dict[str, slice]:
        """Say where each channel's tokens stand: ``slices``, but for the rows that were cut."""
        found, at = {}, len(self.prompts)
        for name, part in tokens.items():
            found[name] = slice(at, at + part.valid.shape[1])
            at += part.valid.shape[1]
        return found

    def rules(self, places: Mapping[str, slice]) -> Tensor:
        """Return who may look at whom, bool ``[token, token]``, for as many rows as there are."""
        return self._stretch(self._stretch(self.allowed, places).T, places).T if self.free_rows else self.allowed

    def _stretch(self, rules: Tensor, places: Mapping[str, slice]) -> Tensor:
        pieces, at = [rules[: len(self.prompts)]], len(self.prompts)
        for name, place in places.items():
            count = place.stop - place.start
            if name in self.free_rows:
                pieces.append(rules[at : at + 1].expand(count, -1))
                at += 1
            else:
                pieces.append(rules[at : at + count])
                at += count
        return torch.cat(pieces)

    def latents(self, tokens: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        """Return world latents ``[batch, latent, latent width]`` and which are valid ``[batch, latent]``."""
        found = [self.tokenizers[name].predicted(tokens[name]) for name in self.readouts]  # type: ignore[operator]
        return self.world.latent(torch.cat([f[0] for f in found], 1)), torch.cat([f[1] for f in found], 1)

    def attention_bias(self, inputs: Inputs, valid: Tensor, places: Mapping[str, slice]) -> Tensor:
        """Return the trunk's mask: boolean, or an additive bias where rows are related to one another."""
        allowed = self.rules(places)[None, None] & valid[:, None, None, :]
        if self.relation_bias is None:
            return allowed
        blocks = {}
        for i, relation in enumerate(self.embodiment.relation):
            values, mask = inputs[f"{relation.name}.values"], inputs[f"{relation.name}.mask"]
            for direction in (0, 1):
                weight = self.relation_bias[i, direction][None, :, :, None, None]
                related = mask.to(values.dtype)[:, None]
                block = weight[:, :, 0] * related + weight[:, :, 1] * values[:, None] + weight[:, :, 2] * (1 - related)
                ends = (relation.source, relation.target)
                if direction:
                    block, ends = block.transpose(2, 3), ends[::-1]
                blocks[ends] = blocks[ends] + block if ends in blocks else block
        entities = [channel.name for channel in self.embodiment.entities]
        batch, heads, total = valid.shape[0], self.relation_bias.shape[2], valid.shape[1]
        first, last = places[entities[0]].start, places[entities[-1]].stop
        rows = []
        for query in entities:
            count = places[query].stop - places[query].start
            row = [
                blocks[query, key]
                if (query, key) in blocks
                else valid.new_zeros(
                    (batch, heads, count, places[key].stop - places[key].start), dtype=self.prompts.dtype
                )
                for key in entities
            ]
            rows.append(torch.cat(row, 3))
        bias = torch.nn.functional.pad(torch.cat(rows, 2), (first, total - last, first, total - last))
        return bias.masked_fill(~allowed, float("-inf"))


class WorldActionModel(nn.Module):
    """One trunk and two small experts for all embodiments, and each embodiment's own parts.

    Args:
        config: the choices.
        embodiments: the facts of every machine type it shall serve.
    """

    def __init__(self, config: ModelConfig, embodiments: Sequence[Embodiment]) -> None:
        super().__init__()
        self.config = config
        self.embodiments = {embodiment.id: embodiment for embodiment in embodiments}
        self.layers = nn.ModuleList([MixtureLayer(config, depth) for depth in range(config.num_layers)])
        self.norm = RMSNorm(config.trunk.width)
        self.parts = nn.ModuleDict({_key(e.id): EmbodimentParts(e, config) for e in embodiments})

    def parts_of(self, embodiment_id: str) -> EmbodimentParts:
        """Return one embodiment's parts.

        Raises:
            KeyError: the model was not built for it.
        """
        if embodiment_id not in self.embodiments:
            raise KeyError(f"this model serves {sorted(self.embodiments)}, not {embodiment_id!r}")
        parts = self.parts[_key(embodiment_id)]
        assert isinstance(parts, EmbodimentParts)
        return parts

    def encode(self, embodiment_id: str, inputs: Inputs, tokens: Mapping[str, Tokens] | None = None) -> Encoding:
        """Encode an observation once.

        Args:
            inputs: the arrays of ``spec.normalise.packed_shapes`` with a leading batch axis; ``dropout.<channel>``
                (bool ``[batch]``) hides a channel.
            tokens: of ``tokenize``, where they are already there.
        """
        parts = self.parts_of(embodiment_id)
        tokens = parts.tokenize(inputs) if tokens is None else tokens
        batch = next(iter(tokens.values())).tokens.shape[0]
        pieces = [parts.prompts.expand(batch, -1, -1)]
        valid = [torch.ones(batch, len(parts.prompts), dtype=torch.bool, device=pieces[0].device)]
        ages = [torch.zeros(batch, len(parts.prompts), device=pieces[0].device, dtype=pieces[0].dtype)]
        for i, (name, found) in enumerate(tokens.items()):
            pieces.append(found.tokens + parts.stamps[i])
            hidden = inputs.get(f"dropout.{name}")
            valid.append(found.valid if hidden is None else found.valid & ~hidden[:, None])
            ages.append(found.age_s)
        x, known = torch.cat(pieces, 1), torch.cat(valid, 1)
        cos, sin = rotary(torch.cat(ages, 1) / parts.embodiment.control.period_s, self.config.head_width)
        places = parts.places(tokens)
        mask = parts.attention_bias(inputs, known, places)
        keys, values = [], []
        for layer in self.layers:
            x, key, value = self._run(layer, UNDERSTANDING, x, cos, sin, mask, None)
            keys.append(key)
            values.append(value)
        return Encoding(tuple(keys), tuple(values), self.norm(x), known, places)

    def velocity(self, embodiment_id: str, encoding: Encoding, noisy: Tensor, time: Tensor) -> Tensor:
        """Return the flow's velocity for noisy action chunks.

        Args:
            noisy: normalised ``[batch, sample, chunk, dimension]``; samples do not see one another.
            time: ``[batch, sample, chunk]`` in [0, 1], 1 = pure noise.
        """
        parts = self.parts_of(embodiment_id)
        assert parts.flow is not None, f"{embodiment_id} has no continuous actions"
        batch, samples, chunk, _ = noisy.shape
        tokens = parts.flow.tokens(noisy, time).flatten(1, 2)
        position = torch.arange(chunk, device=noisy.device, dtype=noisy.dtype).repeat(samples)
        apart = torch.arange(samples, device=noisy.device).repeat_interleave(chunk)
        own = apart[:, None] == apart[None, :]
        tokens = self._attend(ACTION, tokens, position, own, encoding)
        return parts.flow.velocity(tokens).view(batch, samples, chunk, -1)

    def choose(self, embodiment_id: str, encoding: Encoding, inputs: Inputs) -> dict[str, Tensor]:
        """Return scores of every choice: ``rank`` ``[batch, row]``, ``assign`` ``[batch, row, over row]``."""
        parts = self.parts_of(embodiment_id)
        rows = {e.name: encoding.tokens[:, encoding.places[e.name]] for e in parts.embodiment.entities}
        scores = {}
        for choice in parts.embodiment.action.choice:
            between = [
                inputs[f"{name}.{what}"].to(encoding.tokens.dtype)
                for name in parts.relations_of(choice)
                for what in ("values", "mask")
            ]
            allowed = inputs[f"{choice.allowed_by or choice.over}.mask"]
            stacked = torch.stack(between, -1) if between else encoding.tokens
            scores[choice.name] = parts.pointers[choice.name](rows, stacked, allowed)
        return scores

    def predict(
        self,
        embodiment_id: str,
        encoding: Encoding,
        latents: Tensor,
        actions: Tensor | None,
        choices: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Predict the latents ``horizon`` control periods ahead.

        Args:
            latents: current ones ``[batch, latent, latent width]``, of ``EmbodimentParts.latents``.
            actions: normalised ``[batch, horizon, dimension]`` that will be executed, or None.
            choices: choice name -> rank scores ``[batch, row]`` (standardised over rows) or chosen rows.
        """
        parts = self.parts_of(embodiment_id)
        done = self._summarise(parts, encoding, choices) if parts.embodiment.action.choice else None
        tokens = parts.world.tokens(latents, actions, done)
        control = parts.embodiment.control
        steps = torch.arange(control.horizon if parts.world.action is not None else 0, device=tokens.device)
        ahead = torch.full((tokens.shape[1] - len(steps),), float(control.horizon), device=tokens.device)
        position = torch.cat((steps.to(ahead.dtype), ahead)).to(tokens.dtype)
        own = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device)
        return parts.world.predict(latents, self._attend(WORLD, tokens, position, own, encoding))

    def forward(self, embodiment_id: str, batch: Inputs, seed: int = 0) -> dict[str, Tensor]:
        """Return the losses of one batch: ``action``, ``choice.<name>``, ``world``, ``readout``, ``isotropy``, ``total``.

        ``batch`` is what ``genba.data.windows`` gives plus the draws of ``genba.train.draws``; nothing random is drawn
        here but from ``seed``, so that a batch cut over ranks gives the same losses.
        """
        parts, config = self.parts_of(embodiment_id), self.config
        tokens = parts.tokenize(batch)
        encoding = self.encode(embodiment_id, batch, tokens)
        out: dict[str, Tensor] = {}
        if parts.flow is not None:
            actions, noise = batch["action.values"][:, None], batch["flow.noise"]
            time = batch["flow.time"][:, :, None].expand(-1, -1, actions.shape[2])
            noisy = time[..., None] * noise + (1 - time[..., None]) * actions
            velocity = self.velocity(embodiment_id, encoding, noisy, time)
            out["action"] = losses.flow_loss(velocity, noise, actions, batch["action.mask"][:, None])
        scores = self.choose(embodiment_id, encoding, batch)
        for choice in parts.embodiment.action.choice:
            score = scores[choice.name]
            target = batch[f"choice.{choice.name}.values"]
            if choice.kind == "rank":
                mask = batch[f"choice.{choice.name}.mask"]
                out[f"choice.{choice.name}"] = losses.score_loss(score, target, mask)
            else:
                out[f"choice.{choice.name}"] = losses.assign_loss(score, target)
        world = self._world_losses(parts, encoding, tokens, batch, seed)
        total = sum(out.values(), torch.zeros((), device=encoding.tokens.device))
        total = total + config.world_weight * (world["world"] + world["readout"])
        out["total"] = total + config.world_weight * config.regulariser_weight * world["isotropy"]
        return out | world

    def _world_losses(
        self, parts: EmbodimentParts, encoding: Encoding, tokens: Mapping[str, Tokens], batch: Inputs, seed: int
    ) -> dict[str, Tensor]:
        size = len(batch["next.valid"])
        stride = self.config.world_stride if size % (losses.ISOTROPY_GROUP * self.config.world_stride) == 0 else 1
        if stride > 1:
            batch = {name: value[::stride] for name, value in batch.items()}
            tokens = {name: Tokens(*(part[::stride] for part in found)) for name, found in tokens.items()}
            encoding = encoding.every(stride)
        following = {key[5:]: value for key, value in batch.items() if key.startswith("next.") and key != "next.valid"}
        now, now_valid = parts.latents(tokens)
        actual, actual_valid = parts.latents(parts.tokenize(following))
        valid = now_valid & actual_valid & batch["next.valid"][:, None]
        choices = {c.name: batch[f"choice.{c.name}.values"] for c in parts.embodiment.action.choice}
        predicted = self.predict(parts.embodiment.id, encoding, now, batch.get("executed.values"), choices)
        out = {"world": losses.latent_loss(predicted, actual, valid)}
        if self.training:
            with torch.no_grad():
                error = (predicted - actual).square().mean(-1)
                count = valid.sum(0)
                mean = (error * valid).sum(0) / count.clamp(min=1)
                scale = torch.where(count > 0, 0.98 * parts.surprise_scale + 0.02 * mean, parts.surprise_scale)
                parts.surprise_scale.copy_(scale)
        error, persistence = [], []
        change, start = predicted - now, 0
        for name, readout in parts.readouts.items():
            tokenizer = parts.tokenizers[name]
            assert isinstance(tokenizer, Tokenizer)
            here, here_mask = tokenizer.readout(batch)
            there, there_mask = tokenizer.readout(following)
            mask = here_mask & there_mask & batch["next.valid"][:, None, None]
            delta = readout(change[:, start : start + tokenizer.num_predicted])
            error.append(losses.per_sample_mean((here + delta - there).square(), mask))
            persistence.append(losses.per_sample_mean((here - there).square(), mask))
            start += tokenizer.num_predicted
        out["readout"] = torch.stack(error).mean()
        out["persistence"] = torch.stack(persistence).mean().detach()
        out["isotropy"] = losses.isotropy_loss(torch.cat((now, actual), 1), seed)
        return out

    def surprise(self, embodiment_id: str, predicted: Tensor, actual: Tensor, valid: Tensor) -> Tensor:
        """Return how many times larger than usual the prediction error of each sample is: ``[batch]``, about 1 nominal."""
        scale = self.parts_of(embodiment_id).surprise_scale
        ratio = (predicted - actual).square().mean(-1) / scale.clamp(min=1e-8)
        return (ratio * valid).sum(1) / valid.sum(1).clamp(min=1)

    @torch.no_grad()
    def rebalance(self) -> None:
        """Move every routing bias one step towards equal load; call once per train step."""
        for module in self.modules():
            if isinstance(module, MixtureOfExperts):
                module.rebalance()

    def _summarise(self, parts: EmbodimentParts, encoding: Encoding, choices: Mapping[str, Tensor] | None) -> Tensor:
        """Summarise what was chosen: row tokens weighted by their standardised score (``rank``), or the chosen rows."""
        assert choices is not None and parts.choice_place is not None, parts.embodiment.id
        found = []
        for i, choice in enumerate(parts.embodiment.action.choice):
            made = choices[choice.name]
            place = encoding.places[choice.over]
            rows, valid = encoding.tokens[:, place], encoding.valid[:, place]
            if choice.kind == "rank":
                count = valid.sum(1, keepdim=True).clamp(min=1)
                score = made.to(rows.dtype).masked_fill(~valid, 0.0)
                mean = score.sum(1, keepdim=True) / count
                spread = ((score - mean).square() * valid).sum(1, keepdim=True) / count
                weight = (score - mean) / (spread + 1e-6).sqrt() * valid / count
            else:
                chosen = torch.nn.functional.one_hot(made.clamp(min=0), rows.shape[1]) * (made >= 0)[..., None]
                weight = chosen.sum(1).to(rows.dtype) / (made >= 0).sum(1, keepdim=True).clamp(min=1)
            found.append((rows * weight[..., None]).sum(1) + parts.choice_place[i])
        return torch.stack(found, 1)

    def _attend(self, expert: str, x: Tensor, position: Tensor, own: Tensor, encoding: Encoding) -> Tensor:
        batch, length, _ = x.shape
        cos, sin = rotary(position.expand(batch, -1), self.config.head_width)
        seen = encoding.valid[:, None, None, :].expand(-1, 1, length, -1)
        mask = torch.cat((seen, own.expand(batch, 1, -1, -1)), -1)
        for i, layer in enumerate(self.layers):
            x = self._run(layer, expert, x, cos, sin, mask, (encoding.keys[i], encoding.values[i]))[0]
        return x

    def _run(
        self,
        layer: nn.Module,
        expert: str,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor,
        memory: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.config.checkpoint_activations and torch.is_grad_enabled():
            return checkpoint(layer, expert, x, cos, sin, mask, memory, use_reentrant=False)  # type: ignore[return-value]
        return layer(expert, x, cos, sin, mask, memory)


def _key(embodiment_id: str) -> str:
    # A module's name may not hold a dot.
    return embodiment_id.replace(".", "_")
