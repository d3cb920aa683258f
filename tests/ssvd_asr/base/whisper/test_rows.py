"""Rows that leave a decoder do not change what the others are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from ssvd_asr.base.load import load_base
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.rows import filled
from tests.devices import DEVICES

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own


@pytest.mark.parametrize("left", [[0, 2, 5], [5, 1], [4], [3, 4, 5], [5, 0, 1, 2], [2, 0, 1], [0, 0, 3]])
@pytest.mark.parametrize("device", DEVICES)
@torch.no_grad()
def test_rows_that_are_left_go_on_as_alone(whisper_folder: Path, left: Sequence[int], device: str) -> None:
    base = load_base(whisper_folder, device=device)
    generator = np.random.default_rng(3)
    waves = [0.1 * generator.standard_normal(30_000).astype(np.float32) for _ in range(6)]
    encoded = base.encode(waves)
    prompt = base.tokens.prompt_ids(Prompt())
    token = torch.full((1, 1), 7, device=device)
    orders = {"given": left, "filled": filled(sorted(set(left)))}
    for order in orders.values():
        with base.open_decoder(encoded) as decoder:
            decoder.read([prompt] * 6)
            decoder.keep(order)
            found = decoder.advance(token.expand(len(order), 1))
            decoder.keep([len(order) - 1])  # what was moved is moved again
            last = decoder.advance(token)
        for place, row in enumerate(order):
            with base.open_decoder(encoded[row : row + 1]) as decoder:
                decoder.read([prompt])
                alone = decoder.advance(token)
                torch.testing.assert_close(found[place : place + 1], alone, atol=1e-4, rtol=1e-4)
                if place == len(order) - 1:
                    torch.testing.assert_close(last, decoder.advance(token), atol=1e-4, rtol=1e-4)
