"""CTC's best path is ESPnet's, of OWSM-CTC and of the CTC head beside a decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.ctc_network import CtcModel, load_ctc_model
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding import best_path as module
from ssvd_asr.decoding.best_path import best_path
from ssvd_asr.errors import AudioTooLongError, BaseModelError
from tests.random_owsm import TINY, bpe_model, espnet_config, token_list, waves

PROMPTS = [
    Prompt(),
    Prompt(language="<nld>", previous_text="the small boat turned"),
    Prompt(previous_text="hill"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """config.yaml and checkpoint of a tiny random OWSM-CTC."""
    from ssvd_asr.base.owsm.config import parse_config
    from ssvd_asr.base.owsm.ctc_network import build_ctc_network

    folder = tmp_path_factory.mktemp("ctc")
    bpe = bpe_model()
    (folder / "bpe.model").write_bytes(bpe)
    raw = espnet_config(TINY, token_list(bpe, TINY.window_s), str(folder / "bpe.model"), None)
    for key in [key for key in raw if key.startswith(("decoder", "preencoder", "postencoder"))]:
        del raw[key]
    raw |= {
        "model": "espnet_ctc",
        "model_conf": {"interctc_weight": 0.5},
        "encoder": "e_branchformer_ctc",
        "promptencoder": "transformer",
        "promptencoder_conf": {"output_size": 16, "attention_heads": 2, "linear_units": 32, "num_blocks": 1},
        "preprocessor": "s2t_ctc",
    }
    raw["encoder_conf"] |= {"interctc_layer_idx": [1], "interctc_use_conditioning": True}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build_ctc_network(parse_config({**raw, "model": None}, roots=[folder]))
        with torch.no_grad():
            network.ctc.ctc_lo.weight.mul_(4.0)
    config, checkpoint = folder / "config.yaml", folder / "model.pth"
    config.write_text(yaml.safe_dump(raw), encoding="utf-8")
    torch.save(network.state_dict(), checkpoint)
    return config, checkpoint


@pytest.fixture(scope="module")
def model(files: tuple[Path, Path]) -> CtcModel:
    return load_ctc_model(*files, device="cpu")


def test_a_batch_of_prompts_gives_what_espnet_gives_each(
    model: CtcModel, files: tuple[Path, Path], espnet: Any
) -> None:
    audio = waves(3)
    found = best_path(model.network.ctc.ctc_lo, model.encode(audio, PROMPTS), model.tokens)
    assert len({hypothesis.token_ids for hypothesis in found}) == 3
    assert min(hypothesis.margin for hypothesis in found) > 1e-4  # none is decided by rounding
    judge = espnet.Speech2Text(*files)
    for ours, prompt, wave in zip(found, PROMPTS, audio, strict=True):
        padded = np.pad(wave, (0, model.config.window_samples - len(wave)))
        # As ids: this BPE model would split the text "<na>" into pieces.
        said = prompt.previous_text
        previous = [model.tokens.na] if said is None else model.tokens.encode(said)
        _, _, ids, text, _ = judge.best_path(padded, previous, prompt.language, prompt.task)[0]
        assert ours.token_ids == tuple(ids)
        assert ours.text == text


def test_rows_are_what_they_are_alone_in_any_order(model: CtcModel) -> None:
    audio = waves(3)
    together = best_path(model.network.ctc.ctc_lo, model.encode(audio[::-1], PROMPTS[::-1]), model.tokens)[
        ::-1
    ]
    for row, found in enumerate(together):
        encoded = model.encode(audio[row : row + 1], PROMPTS[row : row + 1])
        assert best_path(model.network.ctc.ctc_lo, encoded, model.tokens)[0].token_ids == found.token_ids


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


def test_other_models_are_refused_by_name(
    model: CtcModel, files: tuple[Path, Path], tiny_owsm_folder: Path
) -> None:
    with pytest.raises(AudioTooLongError, match=r"3\.50 s is longer than the window of 3 s"):
        model.encode([np.zeros(56_000, dtype=np.float32)], [Prompt()])
    config = next(tiny_owsm_folder.rglob("config.yaml"))
    with pytest.raises(BaseModelError, match="has model: 'espnet'; OWSM-CTC has 'espnet_ctc'"):
        load_ctc_model(config, files[1], device="cpu")
    with pytest.raises(BaseModelError, match="espnet_ctc"):
        load_base("ctc", config=files[0], checkpoint=files[1], device="cpu")
