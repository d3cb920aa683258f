"""`ssvd adapters blend` and `compare`: figures that agree, and refusals before a base is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters_store.publish_check import publish_check
from adapters_store.store import AdapterStore
from server.bank.blended import blended
from server.bank.packed import layout_of, pack
from ssvd_asr import cli
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.canary import seal_adapter
from ssvd_asr.adapter.read import inspect_adapter, load_adapter
from ssvd_asr.base.load import load_base
from ssvd_asr.basis.cache import factorize
from tests.random_owsm import write_random_owsm


def write(path: Path, base_folder: Path, seed: int, k: int = 6) -> Path:
    base = load_base(base_folder, device="cpu")
    factors = factorize(base, progress=False)
    adapter = Adapter.new(factors, k=k)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    training = {"domain": path.stem, "wer_after": 0.5}
    seal_adapter(path, adapter, adapt(base.network, factors), base, factors, training=training)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and the adapters a, b and small for it."""
    folder = tmp_path_factory.mktemp("blend")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSVD_CACHE_DIR", str(folder / "cache"))
        base = write_random_owsm(folder / "base")
        write(folder / "a.safetensors", base, 1)
        write(folder / "b.safetensors", base, 2)
        write(folder / "small.safetensors", base, 3, k=5)
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = cli.main(["adapters", *map(str, arguments)])
    output = capsys.readouterr()
    return status, output.out, output.err


def report(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: object) -> dict[str, Any]:
    status, out, err = run(capsys, *arguments, "--base", folder / "base", "--device", "cpu", "--json")
    assert status == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_blend_is_an_adapter_that_publish_takes_and_a_request_would_make(
    folder: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ab.safetensors"
    found = report(
        capsys, folder, "blend", out, f"{folder}/b.safetensors*0.25", f"{folder}/a.safetensors*0.75"
    )
    loaded = load_adapter(out)
    assert loaded.sha256 == found["sha256"]
    assert {each["file"]: each["weight"] for each in found["parts"]} == {
        "b.safetensors": 0.25,
        "a.safetensors": 0.75,
    }
    told = loaded.metadata.training["blend"]
    assert isinstance(told, list)
    assert sorted(each["training"]["domain"] for each in told) == ["a", "b"]  # type: ignore[index,call-overload,arg-type]
    files = {name: (folder / f"{name}.safetensors").read_bytes() for name in "ab"}
    digests = {name: load_adapter(data).sha256 for name, data in files.items()}
    order = sorted("ab", key=digests.__getitem__)
    parts = [pack(files[name], layout_of(files[name], inspect_adapter(files[name]))) for name in order]
    asked = blended(parts, [{"a": 0.75, "b": 0.25}[name] for name in order], order)
    cores = loaded.adapter.cores()
    assert all(torch.equal(core, cores[name]) for name, core in asked.expand("cpu", torch.float32).items())
    store = AdapterStore(tmp_path / "store", tmp_path / "none")
    base = load_base(folder / "base", device="cpu")
    assert store.publish("both", out, check=publish_check(base)).sha256 == found["sha256"]
    for name in "ab":
        store.publish(name, folder / f"{name}.safetensors")
    rates = []
    for domain in ("both", "b*.25 + a@1*0.75"):
        where = ["--store", store.root, "--base", folder / "base", "--device", "cpu", "--json"]
        assert (
            cli.main(
                ["evaluate", "--data", str(corpus / "valid.jsonl"), "--domain", domain, *map(str, where)]
            )
            == 0
        )
        rates.append(json.loads(capsys.readouterr().out))
    assert rates[0]["wer"] == rates[1]["wer"]
    assert rates[1]["domain"] == "b@1*0.25+a@1*0.75"
    again = tmp_path / "again.safetensors"
    report(capsys, folder, "blend", again, f"{folder}/a.safetensors*0.75", f"{folder}/b.safetensors*0.25")
    assert again.read_bytes() == out.read_bytes()


def test_fitted_weights_have_the_lowest_rate_found(
    folder: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training.blend_fit.GRID", (0.0, 0.5, 0.75))
    out = tmp_path / "ab.safetensors"
    found = report(
        capsys, folder, "blend", out, folder / "a.safetensors", folder / "b.safetensors",
        "--fit", corpus / "valid.jsonl",
    )  # fmt: skip
    tried = found["blend_valid_wer"]
    weights = dict(
        zip((each["name"] for each in found["parts"]), (e["weight"] for e in found["parts"]), strict=True)
    )
    assert weights
    assert min(tried.values()) == found["wer_after"]
    assert (found["evaluated_on"], found["evaluated_utterances"]) == ("valid", 4)
    training = inspect_adapter(out).training
    assert training["wer_before"] == found["wer_before"]


@pytest.mark.parametrize(
    ("parts", "options", "words"),
    [
        (["a.safetensors*0.5", "b.safetensors"], [], "has no weight"),
        (["a.safetensors*3"], [], "is no weight of a blend"),
        (["a.safetensors*0.5", "a.safetensors*0.1"], [], "the same adapter"),
        (["a.safetensors*0.5"], ["--fit"], "leave them out"),
        (["nowhere*0.5"], [], "no domain 'nowhere'"),
        (["a.safetensors*0.5"] * 5, [], "the most is 4"),
    ],
)
def test_what_cannot_be_blended_is_one_line(
    folder: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    parts: list[str], options: list[str], words: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    more = [*options, *([corpus / "valid.jsonl"] if options else [])]
    status, out, err = run(capsys, "blend", tmp_path / "x.safetensors", *parts, *more)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert words in err
    assert err.startswith("ssvd adapters blend: ")


def test_other_forms_and_a_file_that_is_there_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("--base", folder / "base", "--device", "cpu")
    parts = (f"{folder}/a.safetensors*1", f"{folder}/small.safetensors*1")
    status, _, err = run(capsys, "blend", tmp_path / "x.safetensors", *parts, *base)
    assert (status, "cannot be blended" in err) == (1, True)
    assert not (tmp_path / "x.safetensors").exists()
    status, _, err = run(capsys, "blend", folder / "a.safetensors", parts[0])
    assert (status, "is there already" in err) == (1, True)


def test_compare_tells_angles_and_each_ones_rate_on_the_others_data(
    folder: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = folder / "a.safetensors", folder / "b.safetensors"
    found = report(
        capsys, folder, "compare", a, b, "--data-a", corpus / "valid.jsonl",
        "--data-b", corpus / "train.jsonl", "--first", 3, "--plot", tmp_path / "near.svg",
    )  # fmt: skip
    assert abs(found["cosine"]) < 0.2  # random ones
    assert {each["layer"] for each in found["layers"]} == set(inspect_adapter(a).ks)
    assert {name: each["utterances"] for name, each in found["wer"].items()} == {"data_a": 3, "data_b": 3}
    assert found["wer"]["data_a"].keys() == {"utterances", "base", "a", "b"}
    assert "<svg" in (tmp_path / "near.svg").read_text()
    status, out, _ = run(capsys, "compare", a, a)
    assert status == 0
    assert "cosine of all layers +1.000 (skew +1.000, delta_sigma +1.000)" in out
    status, _, err = run(capsys, "compare", a, b, "--plot", tmp_path / "near.xyz")
    assert (status, "ends in .svg, .png or .pdf" in err) == (1, True)
