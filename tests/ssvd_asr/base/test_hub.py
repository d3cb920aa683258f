"""A hub tag is the model in its repository: pinned, resumed, cached. What cannot be had is one line."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ssvd_asr.base import hub as module
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.errors import BaseModelError
from tests.hub_server import Hub
from tests.random_owsm import write_random_owsm
from tests.random_whisper import write_random_whisper
from tests.ssvd_asr.base.conftest import point_at

TAG, WHISPER = "espnet/owsm_v3.1_ebf_base", "openai/whisper-base"
PLOT = "exp/s2t_train_random_raw_bpe50000/images/acc.png"


def _digest(tag: str) -> str:
    return load_base(tag, device="cpu").digest


def _refusal(tag: str) -> str:
    """Return what is said of a tag that cannot be loaded, which is one line."""
    with pytest.raises(BaseModelError) as told:
        load_base(tag, device="cpu")
    message = str(told.value)
    assert "\n" not in message
    assert tag in message
    return message


@pytest.fixture
def repository(tiny_owsm_folder: Path, tmp_path: Path) -> Path:
    """A folder as ESPnet packs it, with a plot, a page and a second checkpoint."""
    folder = Path(shutil.copytree(tiny_owsm_folder, tmp_path / "packed"))
    (folder / PLOT).parent.mkdir()
    (folder / PLOT).write_bytes(b"plot")
    (folder / "README.md").write_text("a page")
    (folder / PLOT).with_name("1epoch.pth").write_bytes(b"checkpoint")
    return folder


@pytest.fixture(scope="module")
def whisper_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_random_whisper(tmp_path_factory.mktemp("hub") / "whisper")
    (folder / "pytorch_model.bin").write_bytes(b"the same weights again")
    return folder


def test_a_tag_is_the_model_of_its_repository_and_is_downloaded_once(
    hub: Hub, repository: Path, tiny_base: BaseModel
) -> None:
    hub.add(TAG, repository)
    base = load_base(TAG, device="cpu")
    assert (base.digest, base.name) == (tiny_base.digest, TAG)
    for unwanted in ("acc.png", "README.md", "1epoch.pth"):
        assert hub.count("GET", unwanted) == 0
    asked = len(hub.seen)
    assert _digest(TAG) == base.digest
    assert {each.path for each in hub.seen[asked:]} == {f"/api/models/{TAG}"}


def test_a_whisper_tag_is_the_whisper_of_its_repository(hub: Hub, whisper_repository: Path) -> None:
    hub.add(WHISPER, whisper_repository)
    base = load_base(WHISPER, device="cpu")
    assert (base.family, base.name) == ("Whisper", WHISPER)
    assert base.digest == load_base(whisper_repository, device="cpu").digest
    assert hub.count("GET", "README") == hub.count("HEAD", "pytorch_model.bin") == 0


def test_a_revision_pins_a_commit(hub: Hub, repository: Path, tiny_base: BaseModel, tmp_path: Path) -> None:
    first = hub.add(TAG, repository, "v1")
    hub.add(TAG, write_random_owsm(tmp_path / "newer", seed=2))
    newer = _digest(TAG)
    assert newer != tiny_base.digest
    assert _digest(f"{TAG}@v1") == _digest(f"{TAG}@{first}") == tiny_base.digest
    asked = len(hub.seen)
    assert _digest(f"{TAG}@{first}") == tiny_base.digest
    assert hub.seen[asked:] == []  # a commit never changes, so nobody is asked


def test_a_download_that_breaks_off_goes_on_where_it_stopped(
    hub: Hub, repository: Path, tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # what is written at a time
    hub.add(TAG, repository)
    hub.breaks = 2
    assert _digest(TAG) == tiny_base.digest
    begins = [int(each.range.removeprefix("bytes=").rstrip("-")) for each in hub.seen if each.range]
    assert begins
    assert min(begins) > 0


def test_a_download_that_failed_is_completed_by_the_next(
    hub: Hub, repository: Path, tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(TAG, repository)
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
        hub.breaks = 1000
        assert "download failed" in _refusal(TAG)
    hub.breaks = 0
    assert _digest(TAG) == tiny_base.digest


def test_a_gated_model_takes_a_token_which_its_store_does_not_see(
    hub: Hub, repository: Path, tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(TAG, repository)
    hub.repositories[TAG].gated = "hf_allowed"
    assert "status 401): accept them at" in _refusal(TAG)
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert "status 403): accept them at" in _refusal(TAG)
    monkeypatch.setenv("HF_TOKEN", "hf_allowed")
    assert _digest(TAG) == tiny_base.digest
    stored = [each for each in hub.seen if each.path.startswith("/store/")]
    assert stored
    assert all(each.token is None and each.host.startswith("localhost") for each in stored)


@pytest.mark.parametrize("token", [None, "hf_any"])
def test_a_repository_that_is_not_there_is_asked_for_once(
    hub: Hub, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    assert f"status {401 if token is None else 404}): check the name" in _refusal("espnet/none")
    assert len(hub.seen) == 1


def test_a_revision_that_is_not_there_is_named(hub: Hub, repository: Path) -> None:
    hub.add(TAG, repository)
    assert "has no revision 'v9'" in _refusal(f"{TAG}@v9")
    assert len(hub.seen) == 1
    assert f"has no revision '{'0' * 40}'" in _refusal(f"{TAG}@{'0' * 40}")


def test_what_is_of_no_known_family_is_refused_before_its_weights(
    hub: Hub, repository: Path, whisper_repository: Path, tmp_path: Path
) -> None:
    config = json.loads((whisper_repository / "config.json").read_text())
    other = Path(shutil.copytree(whisper_repository, tmp_path / "other"))
    (other / "config.json").write_text(json.dumps({**config, "model_type": "wav2vec2"}))
    hub.add("acme/other", other)
    assert "model_type 'wav2vec2', not 'whisper'" in _refusal("acme/other")
    meta = yaml.safe_load((repository / "meta.yaml").read_text())
    meta["files"] = {"asr_model_file": meta["files"]["s2t_model_file"]}
    (repository / "meta.yaml").write_text(yaml.safe_dump(meta))
    hub.add("espnet/some_asr", repository)
    with pytest.raises(BaseModelError, match="is it an S2T model"):
        load_base("espnet/some_asr", device="cpu")
    assert hub.count("GET", "/store/") == 0


def test_a_hub_that_is_down_or_gone_is_told_after_one_try_and_a_copy_serves(
    hub: Hub, repository: Path, tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.status = 503
    assert "answered with status 503" in _refusal(TAG)
    assert len(hub.seen) == 1
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with monkeypatch.context() as patch:
        point_at(gone, patch)
        assert "cannot be reached (ConnectError" in _refusal(TAG)
    hub.status = None
    hub.add(TAG, repository)
    assert _digest(TAG) == tiny_base.digest
    hub.status = 503
    assert _digest(TAG) == tiny_base.digest
    with monkeypatch.context() as patch:
        point_at(gone, patch)
        assert _digest(TAG) == tiny_base.digest
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert _digest(TAG) == tiny_base.digest
        assert "HF_HUB_OFFLINE forbids the hub" in _refusal("espnet/none")


def test_a_hub_that_never_answers_is_given_up_and_a_copy_serves(
    hub: Hub,
    repository: Path,
    tiny_base: BaseModel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub.add(TAG, repository)
    assert _digest(TAG) == tiny_base.digest
    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        point_at(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
        assert "did not answer within 0.05 s" in _refusal(WHISPER)
        assert _digest(TAG) == tiny_base.digest
    assert "did not answer within 0.05 s; the copy in the cache is used" in caplog.text


def test_an_incomplete_copy_is_not_taken_for_the_model(
    hub: Hub, whisper_repository: Path, tmp_path: Path
) -> None:
    hub.add(WHISPER, whisper_repository)
    digest = _digest(WHISPER)
    # A file that a Whisper may lack: without it, other features would be computed in silence.
    for copy in (tmp_path / "cache").rglob("preprocessor_config.json"):
        copy.unlink()
    hub.status = 503
    asked = len(hub.seen)
    assert "status 503, and its copy in the cache is incomplete" in _refusal(WHISPER)
    commit = hub.repositories[WHISPER].refs["main"]
    assert "status 503, and its copy in the cache is incomplete" in _refusal(f"{WHISPER}@{commit}")
    assert len(hub.seen) == asked + 2
    hub.status = None
    assert _digest(f"{WHISPER}@{commit}") == digest


def test_base_check_of_a_tag_reads_the_clients_own_settings(
    hub: Hub, repository: Path, tiny_base: BaseModel, tmp_path: Path
) -> None:
    hub.add(TAG, repository)
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "ssvd_asr.cli", "base", "check", TAG, "--json", "--device", "cpu"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["digest"] == tiny_base.digest
