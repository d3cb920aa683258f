"""CTC's best path beside a decoder is collapsed as ESPnet's."""

from __future__ import annotations

import pytest
import torch

from ssvd_asr.base.model import BaseModel
from ssvd_asr.decoding import best_path as module
from ssvd_asr.decoding.best_path import best_path
from tests.random_owsm import waves


def test_a_path_is_collapsed_as_espnet_collapses_it(
    tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = tiny_base.encode(waves(2))
    whole = best_path(tiny_base.ctc_head, encoded, tiny_base.tokens)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)  # frame by frame
    assert [h.token_ids for h in best_path(tiny_base.ctc_head, encoded, tiny_base.tokens)] == [
        h.token_ids for h in whole
    ]
    logp = tiny_base.network.ctc.log_softmax(encoded)
    for row, found in enumerate(whole):
        path = torch.unique_consecutive(logp[row].argmax(-1)).tolist()
        assert found.token_ids == tuple(token for token in path if token != tiny_base.tokens.blank)
        assert found.score == pytest.approx(float(logp[row].amax(-1).sum()), abs=1e-3)
