"""Whisper learns by the loss of transformers, in windows of any length, and leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.whisper.encoder import encode
from training.recipe import OWSM


def batch(base: BaseModel, seconds: float = 4.0) -> dict[str, torch.Tensor]:
    """Two rows of noise with texts of unlike length."""
    texts = [base.tokens.encode("the small boat turned"), base.tokens.encode("boat")]
    rows = [[*base.tokens.prompt_ids(_prompt())[1:], *text] for text in texts]
    longest = max(map(len, rows))
    speech = 0.1 * torch.randn(2, int(seconds * 16_000), generator=torch.Generator().manual_seed(0))
    return {
        "speech": speech,
        "text": torch.tensor([row + [-1] * (longest - len(row)) for row in rows]),
        "text_lengths": torch.tensor([len(row) for row in rows]),
    }


def _prompt() -> Any:
    from ssvd_asr.base.prompt import Prompt

    return Prompt("<nld>")


def test_the_loss_is_transformers_own(tiny_whisper: BaseModel) -> None:
    base, given = tiny_whisper, batch(tiny_whisper)
    with torch.no_grad(), base.learner.validation():
        loss, statistics = base.learner.loss(given)
    labels = torch.full((2, given["text"].size(1) + 1), -100)
    labels[:, :-1] = given["text"].masked_fill(given["text"] < 0, -100)
    labels[torch.arange(2), given["text_lengths"]] = base.tokens.eos
    features = base._features(given["speech"])  # type: ignore[attr-defined]
    with torch.no_grad():
        theirs = base.network(input_features=features, labels=labels)
    tokens = int((labels != -100).sum())
    assert float(loss) * 2 == pytest.approx(float(theirs.loss) * tokens, rel=1e-5)
    right = (theirs.logits.argmax(-1) == labels)[labels != -100].float().mean()
    assert float(statistics["acc"]) == pytest.approx(float(right))
    assert statistics["loss_ctc"] is None


def test_a_short_window_is_the_beginning_of_the_long_ones_positions(tiny_whisper: BaseModel) -> None:
    encoder = tiny_whisper.network.model.encoder
    with torch.no_grad():
        short = encode(encoder, torch.randn(1, 16, 100))
    assert short.shape == (1, 50, 32)
    loss, _ = tiny_whisper.learner.loss(batch(tiny_whisper, 1.5))
    assert torch.isfinite(loss)


def gradient(base: BaseModel, *, half: bool) -> torch.Tensor:
    """The gradient of training in full precision, or in bfloat16, of one encoder weight."""
    weight = base.network.model.encoder.layers[0].self_attn.q_proj.weight
    weight.requires_grad_(True)
    with (
        base.learner.training(OWSM.changed(dropout=0.0, freq_masks=0, time_masks=0)),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        base.learner.loss(batch(base))[0].backward()  # type: ignore[no-untyped-call]
    found, weight.grad = weight.grad, None
    weight.requires_grad_(False)
    assert found is not None
    return found


def test_attention_in_bfloat16_takes_another_way_to_the_same_gradient(
    tiny_whisper: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.whisper import modeling_whisper

    taken: list[torch.dtype] = []
    products = modeling_whisper.eager_attention_forward

    def counted(module: Any, query: torch.Tensor, *rest: Any, **options: Any) -> Any:
        taken.append(query.dtype)
        return products(module, query, *rest, **options)

    monkeypatch.setattr(modeling_whisper, "eager_attention_forward", counted)
    exact = gradient(tiny_whisper, half=False)
    assert not taken
    rounded = gradient(tiny_whisper, half=True)
    layers = [*tiny_whisper.network.model.encoder.layers, *tiny_whisper.network.model.decoder.layers]
    assert taken == [torch.bfloat16] * len(layers)  # not the decoder's causal attention
    error = (rounded - exact).norm() / exact.norm()
    assert error < 0.05, float(error)


def test_training_masks_and_drops_as_the_recipe_says_and_leaves_no_trace(tiny_whisper: BaseModel) -> None:
    base, given = tiny_whisper, batch(tiny_whisper)
    network = base.network
    names = ("dropout", "attention_dropout", "activation_dropout")
    before = [(m.training, *(getattr(m, name, None) for name in names)) for m in network.modules()]
    with torch.no_grad():
        plain = float(base.learner.loss(given)[0])
        with base.learner.training(OWSM.changed(dropout=0.3, label_smoothing=0.0)):
            assert network.model.encoder.layers[0].dropout == 0.3
            moving = {float(base.learner.loss(given)[0]) for _ in range(2)}
            with base.learner.validation():
                still = {float(base.learner.loss(given)[0]) for _ in range(2)}
        assert float(base.learner.loss(given)[0]) == plain
    assert len(moving) == 2
    assert still == {plain}
    assert [(m.training, *(getattr(m, name, None) for name in names)) for m in network.modules()] == before
