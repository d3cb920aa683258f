"""The factor cache: computed once, verified always, never half-written."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssvd_asr.basis import cache as factor_cache
from ssvd_asr.basis.cache import factor_folder, factorize, layer_file
from ssvd_asr.basis.factors import LayerFactors, canonical_svd
from ssvd_asr.errors import BaseModelError
from tests.ssvd_asr.toy import PATTERNS, Toy, ToyBase, toy_factors

BASE = ToyBase(Toy())
FOLDER_NAME = "sha256-toy"
Shapes = list[tuple[int, ...]]


def run(cache: Path, base: ToyBase = BASE) -> dict[str, LayerFactors]:
    return factorize(base, cache, progress=False, patterns=PATTERNS)


def assert_right(factors: dict[str, LayerFactors], model: Toy | None = None) -> None:
    expected = toy_factors(model if model is not None else Toy())
    assert factors.keys() == expected.keys()
    for name, right in expected.items():
        assert torch.equal(factors[name].s, right.s)
        assert torch.equal(factors[name].u, right.u)
        assert torch.equal(factors[name].vh, right.vh)
        assert factors[name].cut == right.cut


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Shapes:
    """The shapes of weights factorised while the test runs."""
    shapes: Shapes = []

    def counting(weight: torch.Tensor) -> LayerFactors:
        shapes.append(tuple(weight.shape))
        return canonical_svd(weight)

    monkeypatch.setattr(factor_cache, "canonical_svd", counting)
    return shapes


def test_factors_are_computed_once_and_read_back_the_same(tmp_path: Path, computed: Shapes) -> None:
    assert_right(run(tmp_path))
    assert len(computed) == 3
    assert_right(run(tmp_path))
    assert len(computed) == 3


def test_an_interrupted_run_goes_on_where_it_stopped(
    tmp_path: Path, computed: Shapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(weight: torch.Tensor) -> LayerFactors:
        if weight.shape == (10, 10):
            raise KeyboardInterrupt
        return canonical_svd(weight)

    with monkeypatch.context() as patch:
        patch.setattr(factor_cache, "canonical_svd", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    computed.clear()
    assert_right(run(tmp_path))
    assert computed == [(10, 10)]


def test_progress_counts_what_was_there_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    layer_file(factor_folder(BASE.digest, tmp_path), "wide").unlink()
    factorize(BASE, tmp_path, progress=True, patterns=PATTERNS)
    shown = capsys.readouterr().err
    assert "factorize: 3 of 3 layer" in shown


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-8] ^= 1  # the last bit of one number: the weight is still rebuilt, the checksum is not
    path.write_bytes(data)


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_swap(path: Path) -> None:
    path.write_bytes(layer_file(path.parent, "tall").read_bytes())


def damage_pickle(path: Path) -> None:
    torch.save({"s": torch.zeros(3)}, path)


@pytest.mark.parametrize(
    "damage",
    [damage_truncate, damage_flip, damage_empty, damage_swap, damage_pickle],
    ids=lambda f: f.__name__,
)
def test_a_damaged_layer_is_noticed_and_computed_anew(
    damage: object, tmp_path: Path, computed: Shapes, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path)
    computed.clear()
    damage(layer_file(factor_folder(BASE.digest, tmp_path), "wide"))  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        assert_right(run(tmp_path))
    assert computed == [(10, 16)]
    assert "wide.safetensors" in caplog.text
    computed.clear()
    run(tmp_path)
    assert computed == []


def test_factors_of_other_weights_are_not_taken_though_the_digest_is_the_same(
    tmp_path: Path, computed: Shapes, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path)
    computed.clear()
    other = Toy()
    with torch.no_grad():
        other.square.weight[0, 0] += 1e-6
    with caplog.at_level(logging.WARNING):
        factors = run(tmp_path, ToyBase(other))
    assert computed == [(10, 10)]
    assert "made of other weights" in caplog.text
    assert_right(factors, other)


def test_factors_that_do_not_rebuild_the_weight_are_not_taken(tmp_path: Path, computed: Shapes) -> None:
    run(tmp_path)
    computed.clear()
    right = toy_factors(Toy())["square"]
    wrong = LayerFactors(right.u, right.s * 1.001, right.vh, right.cut)
    factor_cache._write(tmp_path / "factors" / FOLDER_NAME, "square", Toy().square.weight, wrong)
    assert_right(run(tmp_path))
    assert computed == [(10, 10)]


def test_another_base_has_its_own_folder(tmp_path: Path) -> None:
    other = Toy(seed=1)
    run(tmp_path)
    assert_right(run(tmp_path, ToyBase(other, digest="sha256:other")), other)
    assert_right(run(tmp_path))
    assert {path.name for path in (tmp_path / "factors").iterdir()} == {FOLDER_NAME, "sha256-other"}


@pytest.mark.parametrize("digest", ["../../escape", "a/b", "sha256:" + "0" * 64])
def test_a_digest_is_never_a_path(digest: str, tmp_path: Path) -> None:
    folder = factor_folder(digest, tmp_path)
    assert folder.parent == tmp_path / "factors"


@pytest.mark.parametrize("digest", ["", "x" * 201])
def test_a_digest_that_cannot_be_is_refused(digest: str, tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="digest"):
        factor_folder(digest, tmp_path)


def test_a_crash_while_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise OSError("disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", crash)
        with pytest.raises(BaseModelError, match=r"disk is full.*SSVD_CACHE_DIR"):
            run(tmp_path)
    assert [path.name for path in (tmp_path / "factors" / FOLDER_NAME).iterdir()] in ([".lock"], [])
    assert_right(run(tmp_path))


def test_files_a_killed_process_left_are_swept(tmp_path: Path) -> None:
    folder = factor_folder(BASE.digest, tmp_path)
    folder.mkdir(parents=True)
    (folder / ".wide.safetensors.abc.tmp").write_bytes(b"half")
    assert_right(run(tmp_path))
    assert not list(folder.glob(".*.tmp"))


def test_a_cache_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "factors").write_text("a file where a folder should be")
    with pytest.raises(BaseModelError, match="SSVD_CACHE_DIR"):
        run(tmp_path)


def test_a_complete_cache_is_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("read-only file system")

    for name in ("os.replace", "os.mkdir", "tempfile.mkstemp"):
        monkeypatch.setattr(name, refuse)
    assert_right(run(tmp_path))


def test_half_precision_weights_use_the_cache_but_never_fill_it(tmp_path: Path) -> None:
    half = ToyBase(Toy().to(torch.bfloat16))
    with pytest.raises(BaseModelError, match=r"'tall' is torch\.bfloat16.*ssvd factorize"):
        run(tmp_path, half)
    run(tmp_path)
    assert_right(run(tmp_path, half))


def test_half_precision_weights_do_not_take_factors_of_another_model(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(BaseModelError, match="bfloat16"):
        run(tmp_path, ToyBase(Toy(seed=1).to(torch.bfloat16)))


def test_weights_stored_in_half_and_loaded_wider_have_one_cache(tmp_path: Path, computed: Shapes) -> None:
    rounded = Toy().half().float()
    run(tmp_path, ToyBase(rounded))
    computed.clear()
    run(tmp_path, ToyBase(Toy().half().double()))
    assert computed == []


def test_linears_by_name_do_without_a_base_model(tmp_path: Path) -> None:
    model = Toy()
    factors = factorize(
        ({name: getattr(model, name) for name in PATTERNS}, BASE.digest), tmp_path, progress=False
    )
    assert_right(factors)


def test_progress_is_shown_only_when_asked_and_never_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    factorize(BASE, tmp_path / "a", progress=True, patterns=PATTERNS)
    shown = capsys.readouterr()
    assert "factorize" in shown.err
    assert "3 of 3 layer" in shown.err
    run(tmp_path / "b")
    quiet = capsys.readouterr()
    assert quiet.err == shown.out == quiet.out == ""


def test_two_processes_at_once_leave_one_good_cache(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.ssvd_asr.basis.test_cache import assert_right, run\n"
        "assert_right(run(Path(sys.argv[1])))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert_right(run(tmp_path))
    names = {path.name for path in (tmp_path / "factors" / FOLDER_NAME).iterdir()} - {".lock"}
    assert names == {f"{name}.safetensors" for name in PATTERNS}
