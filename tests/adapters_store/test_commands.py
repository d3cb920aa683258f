"""`ssvd adapters`: one JSON object or a table, the right exit status, and the full check before a publish."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters_store.commands import main
from adapters_store.publish_check import publish_check
from adapters_store.store import AdapterStore
from adapters_store.tables import difference_table
from ssvd_asr.errors import AdapterError, WrongBaseError
from tests.adapters_store.adapter_samples import adapter_file


@pytest.fixture
def run(store, capsys, monkeypatch):
    """run("list", ...) -> (status, stdout, stderr), on the built-ins of the store fixture."""
    monkeypatch.setattr(
        "adapters_store.commands.AdapterStore", lambda root: AdapterStore(root or store.root, store.builtin)
    )

    def call(*arguments: object) -> tuple[int, str, str]:
        status = main([*map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


@pytest.fixture
def report(run):
    """report("list") -> the one JSON object."""

    def call(*arguments: object):
        status, output, error = run(*arguments, "--json")
        assert (status, error) == (0, "")
        return json.loads(output)

    return call


def test_list_as_json_is_one_object(store, make, report):
    store.publish("child", make(1))
    found = report("list")
    assert found["store"] == str(store.root)
    child, scottish = found["domains"]
    assert (child["name"], child["active"], child["versions"], child["builtin"]) == (
        "child",
        2,
        [1, 2],
        False,
    )
    assert (scottish["name"], scottish["active"], scottish["builtin"]) == ("scottish", 1, True)
    assert child["sha256"] == store.resolve("child").sha256
    assert child["base_name"] == "owsm-test"
    assert child["training"] == {"seed": 1, "wer_before": 0.5, "wer_after": 0.125}
    assert (child["layers"], child["k_min"], child["k_max"]) == (1, 3, 3)


def test_a_long_value_does_not_widen_the_table_of_differences():
    changed = {"training.blend": [None, ["x" * 9000]], "p": [0.5, 0.25]}
    table = difference_table({"name": "ward", "from": 1, "to": 2, "changed": changed})
    assert max(map(len, table.splitlines())) < 250
    assert '["xxx' in table


def test_the_table_has_a_line_a_domain(store, run):
    status, output, _ = run("list")
    head, child, scottish = output.splitlines()
    assert status == 0
    assert head.split()[:3] == ["domain", "active", "sha256"]
    assert child.split()[:4] == ["child", "1", "built-in", store.resolve("child").sha256[:12]]
    assert child.endswith("50.0 %      12.5 %  unnamed data")
    assert scottish.startswith("scottish")


def test_an_empty_store_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "adapters_store.commands.AdapterStore", lambda root: AdapterStore(root, tmp_path / "none")
    )
    assert main(["list", "--store", str(tmp_path / "empty")]) == 0
    assert capsys.readouterr().out == f"no domains in {tmp_path / 'empty'}\n"


def test_show_has_versions_and_history(store, make, report, run):
    store.publish("ward", make(1))
    store.publish("ward", make(2))
    store.rollback("ward")
    found = report("show", "ward")
    assert [(version["version"], version["active"]) for version in found["versions"]] == [
        (1, True),
        (2, False),
    ]
    assert [event["action"] for event in found["events"]] == ["publish", "publish", "rollback"]
    assert [version["version"] for version in report("show", "ward@2")["versions"]] == [2]
    _, text, _ = run("show", "ward")
    assert "1*" in text
    assert "rollback 1" in text


def test_rollback_activate_and_remove(store, make, report):
    for seed in (1, 2, 3):
        store.publish("ward", make(seed))
    assert report("rollback", "ward")["version"] == 2
    digest = store.resolve("ward@3").sha256
    assert report("activate", f"ward@sha256:{digest[:12]}")["version"] == 3
    assert report("remove", "ward@1") == {"name": "ward", "removed": [1], "active": 3}
    assert report("remove", "ward") == {"name": "ward", "removed": [2], "active": 3}
    assert store.resolve("ward").version == 3


def test_the_active_version_is_removed_only_by_force_and_what_answers_is_told(store, make, run):
    store.publish("ward", make(1))
    store.publish("ward", make(2))
    store.publish("child", make(3))
    status, _, error = run("remove", "ward@2")
    assert (status, error) == (
        1,
        "ssvd adapters: ward@2 is active; without it ward@1 would answer for it: --force means that\n",
    )
    assert store.resolve("ward").version == 2
    assert "child@1 would answer" in run("remove", "child@2")[2]  # the built-in
    assert run("remove", "ward@2", "--force")[1] == "removed ward@2; ward@1 answers\n"
    assert "'ward' would be unknown" in run("remove", "ward@1")[2]
    assert run("remove", "ward@1", "--force")[1] == "removed ward@1; 'ward' is unknown now\n"


def test_an_adapter_of_another_domain_and_a_built_in_name_want_a_word(make, run, monkeypatch):
    monkeypatch.setattr("adapters_store.actions.base_of", lambda _: None)
    monkeypatch.setattr("adapters_store.publish_check.publish_check", lambda _: None)
    file = make(1, domain="carib")
    for arguments, told in [
        (["ward", file], "the adapter was trained as 'carib': --as ward publishes it under that name"),
        (["ward", file, "--as", "wrad"], "--as wrad and the name ward differ"),
        (["child", file, "--as", "child"], "'child' is built in, and the new version would answer"),
        (["child", file, "--as", "child", "--over", "scottish"], "--over scottish and the name child differ"),
    ]:
        status, _, error = run("publish", *arguments)
        assert (status, error.count("\n")) == (1, 1)
        assert told in error
    for arguments in (["ward", file, "--as", "ward"], ["carib", file]):
        assert run("publish", *arguments)[0] == 0
    assert run("publish", "child", file, "--as", "child", "--over", "child")[0] == 0
    assert run("publish", "child", make(2))[0] == 0  # a published version answers already


def test_what_is_no_adapter_is_one_line_that_names_the_file(run, tmp_path):
    sound = tmp_path / "speech.wav"
    sound.write_bytes(b"RIFF" + b"\x24\x08\0\0WAVEfmt " + b"\0" * 3000)
    (tmp_path / "folder").mkdir()
    for path, told in ((sound, "not an adapter file"), (tmp_path / "folder", "Is a directory")):
        status, output, error = run("publish", "ward", path)
        assert (status, output, error.count("\n")) == (1, "", 1)
        assert str(path) in error
        assert told in error


@pytest.mark.parametrize("word", ["auto", "base", "blend", "other"])
def test_a_word_that_means_something_else_is_no_name(run, store, make, word):
    status, _, error = run("publish", word, make(1), "--as", word)
    assert (status, f"no domain can be called {word!r}" in error) == (1, True)
    assert [domain.name for domain in store.list()] == ["child", "scottish"]


def test_refusals_are_one_line_on_stderr_and_nothing_on_stdout(run):
    for arguments, reason in [
        (("show", "ward"), "no domain 'ward'"),
        (("rollback", "child"), "nothing was active before 1"),
        (("activate", "child"), "child@NUMBER"),
        (("remove", "child@1"), "built in"),
        (("publish", "ward", "missing.safetensors"), "missing.safetensors"),
        (("alias", "blend", "child"), "no domain can be called 'blend'"),
    ]:
        status, output, error = run(*arguments, "--json")
        assert (status, output) == (1, "")
        assert error.startswith("ssvd adapters: ")
        assert reason in error
        assert error.count("\n") == 1


def test_a_damaged_adapter_is_listed_as_such(store, make, run, report):
    version = store.publish("ward", make(1))
    version.path.unlink()
    assert "ward@1: its file cannot be read" in report("list")["domains"][2]["error"]
    assert "DAMAGED" in run("list")[1]


@dataclass(frozen=True)
class Trained:
    base_folder: Path
    other_folder: Path
    adapter: Path  # sealed for the base


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    """A tiny random OWSM, another one, and an adapter with random numbers for the first."""
    import torch

    from ssvd_asr.adapted_model import adapt
    from ssvd_asr.adapter.adapter import Adapter
    from ssvd_asr.adapter.canary import seal_adapter
    from ssvd_asr.base.load import load_base
    from ssvd_asr.basis.cache import factorize
    from tests.random_owsm import write_random_owsm

    folder = tmp_path_factory.mktemp("trained")
    base_folder = write_random_owsm(folder / "base", seed=1)
    other_folder = write_random_owsm(folder / "other", seed=2)
    base = load_base(base_folder, device="cpu", dtype="float32")
    factors = factorize(base, folder / "cache", progress=False)
    adapter = Adapter.new(factors, k=4)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for parameter in adapter.parameters():
            parameter.normal_(std=0.1)
    path = folder / "adapter.safetensors"
    seal_adapter(path, adapter, adapt(base.network, factors), base, factors)
    return Trained(base_folder, other_folder, path)


@pytest.fixture
def cache(trained, monkeypatch):
    monkeypatch.setenv("SSVD_CACHE_DIR", str(trained.adapter.parent / "cache"))


@pytest.mark.usefixtures("cache")
def test_publish_checks_against_the_base_and_makes_it_active(trained, report, store):
    found = report("publish", "ward", trained.adapter, "--base", trained.base_folder)
    assert (found["name"], found["version"], found["active"]) == ("ward", 1, True)
    assert store.resolve("ward").read_bytes() == trained.adapter.read_bytes()


@pytest.mark.usefixtures("cache")
def test_publish_refuses_what_is_for_another_base(trained, run, store):
    status, output, error = run("publish", "ward", trained.adapter, "--base", trained.other_folder)
    assert (status, output) == (1, "")
    assert "made for base" in error
    assert "ward" not in [domain.name for domain in store.list()]


@pytest.mark.usefixtures("cache")
def test_the_check_leaves_the_base_as_it_was(trained):
    import torch

    from ssvd_asr.base.load import load_base

    base = load_base(trained.base_folder, device="cpu", dtype="float32")
    modules = [type(module) for module in base.network.modules()]
    state = {name: tensor.clone() for name, tensor in base.network.state_dict().items()}
    check = publish_check(base)
    check(trained.adapter)
    check(trained.adapter)
    assert [type(module) for module in base.network.modules()] == modules
    assert all(torch.equal(tensor, state[name]) for name, tensor in base.network.state_dict().items())


@pytest.mark.usefixtures("cache")
def test_the_check_refuses_what_changes_nothing_or_has_no_canary(trained, tmp_path, store):
    import torch

    from ssvd_asr.adapter.read import load_adapter
    from ssvd_asr.adapter.write import save_adapter
    from ssvd_asr.base.load import load_base

    base = load_base(trained.base_folder, device="cpu", dtype="float32")
    loaded = load_adapter(trained.adapter)
    bare = loaded.metadata.model_copy(update={"canary": None})
    save_adapter(tmp_path / "bare.safetensors", loaded.adapter, metadata=bare)
    with torch.no_grad():
        for parameter in loaded.adapter.parameters():
            parameter.zero_()
    save_adapter(tmp_path / "idle.safetensors", loaded.adapter, metadata=loaded.metadata)
    for name, reason in [("bare", "no canary"), ("idle", "changes nothing")]:
        with pytest.raises(AdapterError, match=reason):
            store.publish("child", tmp_path / f"{name}.safetensors", check=publish_check(base))
    with pytest.raises(WrongBaseError):
        store.publish("child", adapter_file(tmp_path, 7), check=publish_check(base))
    assert store.resolve("child").builtin  # what served before goes on serving


@pytest.mark.usefixtures("cache")
def test_merge_writes_a_base_of_its_own_with_the_adapter_in_its_weights(trained, report, run, tmp_path):
    import torch

    from ssvd_asr.adapted_model import adapt
    from ssvd_asr.adapter.read import load_adapter
    from ssvd_asr.base.load import load_base
    from ssvd_asr.basis.cache import factorize

    base = load_base(trained.base_folder, device="cpu", dtype="float32")
    found = report("merge", trained.adapter, "--base", trained.base_folder, "--out", tmp_path / "merged")
    merged = load_base(tmp_path / "merged", device="cpu", dtype="float32")
    assert (merged.digest, found["base_digest"]) == (found["digest"], base.digest)
    assert merged.digest != base.digest
    origin = json.loads((tmp_path / "merged/merged-from.json").read_text())
    assert origin["adapter_sha256"] == found["adapter_sha256"] == load_adapter(trained.adapter).sha256
    wave = torch.randn(16_000, generator=torch.Generator().manual_seed(1)).numpy()
    plain = base.encode([wave])
    factors = factorize(base, progress=False)
    cores = load_adapter(trained.adapter, base, factors).adapter.cores()
    with torch.no_grad(), adapt(base.network, factors).using(cores):
        wanted = base.encode([wave])
    torch.testing.assert_close(merged.encode([wave]), wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain, wanted, rtol=1e-2, atol=1e-2)
    status, _, error = run(
        "merge", trained.adapter, "--base", trained.base_folder, "--out", tmp_path / "merged"
    )
    assert (status, "not an empty folder" in error) == (1, True)
    run("publish", "voices", trained.adapter, "--base", trained.base_folder)
    for name in ("voices", "voices@1"):  # from the store
        again = report("merge", name, "--base", trained.base_folder, "--out", tmp_path / name)
        assert (again["digest"], again["adapter_sha256"]) == (found["digest"], found["adapter_sha256"])


@pytest.mark.usefixtures("cache")
def test_merge_makes_a_base_of_whole_weights_too(trained, report, run, tmp_path):
    import torch
    from safetensors.torch import save_file

    from ssvd_asr.base.load import load_base

    base = load_base(trained.base_folder, device="cpu", dtype="float32")
    weights = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in base.network.state_dict().items()
    }
    weights["decoder.output_layer.bias"] += 1.0
    file = tmp_path / "weights.safetensors"
    save_file(weights, file)
    status, _, error = run("publish", "whole", file)
    assert (status, "whole weights" in error) == (1, True)
    other = tmp_path / "other.safetensors"
    save_file({"decoder.output_layer.bias": weights["decoder.output_layer.bias"]}, other)
    status, _, error = run("merge", other, "--base", trained.base_folder, "--out", tmp_path / "merged")
    assert (status, "tensors missing" in error) == (1, True)
    found = report("merge", file, "--base", trained.base_folder, "--out", tmp_path / "merged")
    assert (found["adapter_sha256"], found["base_digest"]) == (None, base.digest)
    merged = load_base(tmp_path / "merged", device="cpu", dtype="float32")
    assert merged.digest == found["digest"] != base.digest
    assert all(torch.equal(tensor, weights[name]) for name, tensor in merged.network.state_dict().items())


@pytest.mark.usefixtures("cache")
def test_merge_refuses_an_adapter_of_another_base_and_writes_nothing(trained, run, tmp_path):
    out = tmp_path / "merged"
    status, _, error = run("merge", trained.adapter, "--base", trained.other_folder, "--out", out)
    assert (status, out.exists()) == (1, False)
    assert "made for base" in error
