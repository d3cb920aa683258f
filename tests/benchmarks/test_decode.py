"""benchmarks/decode: all sides do the same work, else their ratio would say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import decode
from benchmarks.espnet_side import EspnetSide
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.shapes import TINY, random_base
from tests.random_owsm import waves

TOKENS = 6


@pytest.fixture(scope="module")
def base() -> BaseModel:
    made = random_base(TINY)
    decode._make_talkative(made)
    return made


@pytest.mark.parametrize("mode", decode.MODES.values(), ids=lambda mode: mode.name)
def test_all_sides_say_the_same_tokens_and_equally_many(base: BaseModel, mode: decode.Mode) -> None:
    encoded = base.encode(waves(3))
    theirs = EspnetSide(base, mode.beam_size, mode.ctc_weight)
    ours = decode._ours(base, mode, encoded, TOKENS)
    assert [len(said) for said in ours] == [TOKENS] * 3
    assert ours == theirs.batch(encoded, TOKENS) == theirs.call(encoded, TOKENS)
    assert len(set(ours)) > 1  # they listen


def test_a_quick_run_writes_a_row_for_every_batch_and_mode(tmp_path: Path) -> None:
    decode.main(
        ["--quick", "--device", "cpu", "--batches", "1", "2", "--repeats", "1", "--out", str(tmp_path)]
    )
    record = json.loads((tmp_path / "decode-tiny-cpu.json").read_text(encoding="utf-8"))
    rows = [(row["rows"], row["mode"]) for row in record["rows"]]
    assert rows == [(batch, mode) for batch in (1, 2) for mode in decode.MODES]
    assert all(row["whole"] == "from parts" for row in record["rows"])  # quick: no budget to measure in


def test_espnets_ctc_is_not_tried_beyond_the_memory_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "CTC_LIMIT_BYTES", 0)
    monkeypatch.setattr(decode._Steps, "clear", True)  # however noisy the machine is
    decode.main(
        ["--quick", "--device", "cpu", "--batches", "2", "--repeats", "1", "--modes", "greedy", "beam5-ctc",
         "--out", str(tmp_path)]
    )  # fmt: skip
    greedy, ctc = json.loads((tmp_path / "decode-tiny-cpu.json").read_text(encoding="utf-8"))["rows"]
    assert "batch_step_s" in greedy
    assert "batch_step_s" not in ctc
    assert ctc["call_step_s"] > 0
