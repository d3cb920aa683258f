"""A visit by gradio's own client to a served page: nothing of it stays on the disk or in the log."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from tests.ui.browsing import readmes_clip, served, visitors_files, wait_until

NAME = "anna-klein-2019"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("visit")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    with served(folder) as address:
        yield address
    assert visitors_files(folder) == []
    assert list((folder / "tmp").glob("ssvd-ui-*")) == []


def test_a_visit_leaves_no_file_no_name_and_no_words(server: str, folder: Path, tmp_path: Path) -> None:
    clip, _ = readmes_clip()
    own = tmp_path / f"{NAME}.opus"
    own.write_bytes(clip.read_bytes())
    client = Client(f"{server}/ui/", verbose=False)
    shown = client.predict(handle_file(str(own)), None, None, "", None, api_name="/transcribe")[0]
    assert "Base model" in shown
    (kept,) = visitors_files(folder)  # while the page plays it
    (private,) = (folder / "tmp").glob("ssvd-ui-*")
    assert kept.is_relative_to(private)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    client.close()
    # The folder that gradio makes for each file goes after the file.
    wait_until(lambda: {path.name for path in private.iterdir()} == {"lock", "clips"})
    assert NAME not in (folder / "log").read_text()


def test_a_recording_goes_when_the_visitor_takes_another(server: str, folder: Path, tmp_path: Path) -> None:
    client = Client(f"{server}/ui/", verbose=False)
    for name in ("first", "second"):
        file = tmp_path / f"{name}.wav"
        file.write_text(f"{name}: not audio at all")
        shown = client.predict(handle_file(str(file)), None, None, "", None, api_name="/transcribe")[0]
        assert "could not be read" in shown
    assert [path.name for path in visitors_files(folder)] == ["second.wav"]
    client.close()
    wait_until(lambda: visitors_files(folder) == [])


def test_the_choices_of_a_page_that_is_older_than_the_server_still_hold(server: str) -> None:
    """As after a restart: gradio refused them, and the button to transcribe stayed off."""
    clip, _ = readmes_clip()
    client = Client(f"{server}/ui/", verbose=False)  # it has not filled its menus
    audio = handle_file(str(clip))
    shown = client.predict(audio, "child", "child/an-example", "", None, api_name="/transcribe")[0]
    assert "child" in shown
    assert "not in the list" not in shown
    gone = client.predict(audio, "no-such-domain", None, "", None, api_name="/transcribe")[0]
    assert "does not know this domain any more" in gone
    client.close()
