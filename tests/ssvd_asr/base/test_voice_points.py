"""Voice points of both families: alone or in company the same, with a domain open or not the base's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssvd_asr.adapted_model import adapt
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.voice import HEARD_S, WIDTH, point
from ssvd_asr.basis.cache import factorize
from tests.random_owsm import write_random_owsm
from tests.random_whisper import write_random_whisper
from tests.speechlike import babble


@pytest.fixture(scope="module", params=["owsm", "whisper"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder: Path = tmp_path_factory.mktemp(request.param) / "tiny"
    write = {"owsm": write_random_owsm, "whisper": write_random_whisper}[request.param]
    return load_base(write(folder), device="cpu", dtype="float32")


def test_a_point_does_not_depend_on_its_company(base: BaseModel) -> None:
    waves = [babble(seconds, seed=seed) for seed, seconds in enumerate((0.9, 0.1, 0.6))]
    together = base.voice_points(waves)
    assert together.shape[0] == 3
    assert torch.isfinite(together).all()
    for row, wave in zip(together, waves, strict=True):
        assert torch.equal(row, base.voice_points([wave])[0])


def test_only_the_beginning_is_heard(base: BaseModel) -> None:
    seconds = min(HEARD_S, base.window.duration_s)
    wave = babble(seconds + 2)
    heard = wave[: int(seconds * base.window.sample_rate_hz)]
    assert torch.equal(base.voice_points([wave]), base.voice_points([heard]))


def test_points_stay_the_base_s_after_it_was_adapted(base: BaseModel) -> None:
    wave = babble(0.7)
    before = base.voice_points([wave])
    adapt(base.network, factorize(base, progress=False))
    torch.testing.assert_close(base.voice_points([wave]), before)


def test_the_probe_says_how_points_are_made(base: BaseModel) -> None:
    assert base.voice_probe.startswith(base.family.lower())


def test_wide_layers_are_projected_and_keep_distances() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 5, 1024, generator=generator)
    one, other = point(frames[0]), point(frames[1])
    assert one.shape == (WIDTH,)
    apart = (frames[0].mean(0) - frames[1].mean(0)).norm()
    assert 0.7 < float((one - other).norm() / apart * (1024 / WIDTH) ** 0.5) < 1.4
