"""What of an ESPnet config.yaml is read, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ssvd_asr.base.owsm.config import ModelConfig, parse_config, read_config
from ssvd_asr.errors import BaseModelError
from tests.random_owsm import TINY, bpe_model, espnet_config, token_list


@pytest.fixture(scope="module")
def tokens() -> list[str]:
    return token_list(bpe_model(), TINY.window_s)


@pytest.fixture
def raw(tokens: list[str]) -> dict[str, Any]:
    """A config that names no files."""
    config = espnet_config(TINY, tokens, "bpe.model", "feats_stats.npz")
    return {**config, "bpemodel": None, "normalize": None}


def test_window_is_that_of_the_checkpoint(raw: dict[str, Any]) -> None:
    raw["preprocessor_conf"]["speech_length"] = 2.5
    assert parse_config(raw).window_samples == 40_000


@pytest.mark.parametrize(("share", "known"), [(0.5, True), (0.0, False), (None, True)])
def test_a_model_trained_without_previous_texts_says_so(
    raw: dict[str, Any], share: float | None, known: bool
) -> None:
    front = {key: value for key, value in raw["preprocessor_conf"].items() if key != "text_prev_apply_prob"}
    raw["preprocessor_conf"] = front if share is None else {**front, "text_prev_apply_prob": share}
    assert parse_config(raw).knows_previous_text is known


def test_silent_keys_mean_what_espnet_means(raw: dict[str, Any], tokens: list[str]) -> None:
    del raw["preprocessor_conf"]
    raw["token_list"] = [*tokens, "<30.00>"]
    config = parse_config(raw)
    assert (config.window_s, config.time_step_s, config.last_time_symbol) == (30.0, 0.02, "<30.00>")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "espnet_asr"}, "espnet_asr"),
        ({"use_adapter": True}, "use_adapter"),
        ({"token_list": None}, "token_list"),
        ({"token_list": ["<blank>", "a", "a"]}, "token twice"),
        ({"preprocessor_conf": {"fs": 8000}}, "8000"),
        ({"preprocessor_conf": {"last_time_symbol": "<99.00>"}}, "<99.00>"),
        ({"bpemodel": "data/gone/bpe.model"}, "data/gone/bpe.model"),
    ],
)
def test_what_cannot_run_is_refused_by_name(raw: dict[str, Any], change: dict[str, Any], named: str) -> None:
    with pytest.raises(BaseModelError, match=named):
        parse_config({**raw, **change})


def test_missing_config_and_broken_yaml_are_named(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"config\.yaml does not exist"):
        read_config(tmp_path / "config.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("token_list: [", encoding="utf-8")
    with pytest.raises(BaseModelError, match="is not YAML"):
        read_config(broken)
    listed = tmp_path / "list.yaml"
    listed.write_text("- a\n", encoding="utf-8")
    with pytest.raises(BaseModelError, match="not a mapping"):
        read_config(listed)


def _write(folder: Path, raw: dict[str, Any], bpe: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**raw, "bpemodel": bpe}), encoding="utf-8")
    return path


def test_files_are_found_from_exp_run_upwards(raw: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/bpe.model").write_bytes(b"")
    config = read_config(_write(tmp_path / "exp/run", raw, "data/bpe.model"))
    assert config.bpe_model == tmp_path / "data/bpe.model"


def test_absolute_path_of_a_moved_folder_is_found_by_its_tail(raw: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/bpe.model").write_bytes(b"")
    path = _write(tmp_path, raw, "/nowhere/cache/abc/data/bpe.model")
    assert read_config(path, root=tmp_path).bpe_model == tmp_path / "data/bpe.model"


def test_token_file_is_read_as_espnet_reads_it(
    raw: dict[str, Any], tokens: list[str], tmp_path: Path
) -> None:
    # A token may be white space itself, such as U+3000; only what follows the first character is stripped.
    written = [*tokens, "\u3000", "word"]
    (tmp_path / "tokens.txt").write_text("".join(f"{token} \n" for token in written), encoding="utf-8")
    config: ModelConfig = parse_config({**raw, "token_list": "tokens.txt"}, roots=[tmp_path])
    assert list(config.token_list) == written
