"""What a visitor leaves: nothing, whether the visit ends, breaks off or is killed together with the page."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file

from tests.ports import free_port
from tests.ui.browsing import wait_until
from ui.visits import VARIABLE, Visits


@pytest.fixture
def visits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visits]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    visits = Visits()
    yield visits
    visits.close()
    assert list(tmp_path.iterdir()) == []


def uploaded(visits: Visits, name: str = "anna.wav", digest: str = "ab") -> str:
    """A file as gradio lays it down."""
    file = visits.folder / digest / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"RIFF")
    return str(file)


def kept(visits: Visits) -> set[str]:
    return {path.name for path in visits.folder.iterdir()} - {"lock", "clips"}


def test_only_the_owner_may_read_the_folder(visits: Visits) -> None:
    assert stat.S_IMODE(visits.folder.stat().st_mode) == 0o700


def test_gradio_writes_into_the_folder_as_long_as_it_is_there(visits: Visits) -> None:
    """It reads the variable whenever it makes a component anew, as for one that a handler skips."""
    visits.take_gradio()
    assert str(visits.folder) == gr.Audio().GRADIO_CACHE
    visits.close()
    assert VARIABLE not in os.environ


def test_a_recording_goes_with_its_visit_and_when_another_takes_its_place(visits: Visits) -> None:
    visits.claim("one", uploaded(visits, digest="aa"))
    visits.claim("one", uploaded(visits, digest="bb"))
    assert kept(visits) == {"bb"}
    visits.leave("one")
    assert kept(visits) == set()
    visits.leave("one")  # gradio may say it twice


def test_a_file_that_two_visits_use_stays_for_the_second(visits: Visits) -> None:
    """gradio lays equal files of two visitors down once."""
    file = uploaded(visits)
    visits.claim("one", file)
    visits.claim("two", file)
    visits.leave("one")
    assert Path(file).exists()
    visits.leave("two")
    assert kept(visits) == set()


def test_an_upload_that_nobody_claims_is_swept_away_and_a_claimed_one_is_not(visits: Visits) -> None:
    visits.claim("one", uploaded(visits, digest="aa"))
    uploaded(visits, digest="bb")
    (visits.folder / "tmpabc").write_bytes(b"RI")  # an upload that broke off
    clip = visits.own / "0-child.ogg"
    clip.write_bytes(b"OggS")
    with visits.present("one"):
        visits.sweep(unclaimed_s=3600)
        assert kept(visits) == {"aa", "bb", "tmpabc"}
        visits.sweep(unclaimed_s=-1)
        assert kept(visits) == {"aa"}
    assert clip.exists()


def test_what_a_visit_that_is_not_present_claims_is_swept_away(visits: Visits) -> None:
    """As of a script without a heartbeat, or of a page that was closed before its last event was read."""
    with visits.present("left"), visits.present("left"):
        pass
    visits.claim("left", uploaded(visits, digest="aa"))
    visits.claim("never here", uploaded(visits, digest="bb"))
    visits.sweep(unclaimed_s=3600)
    assert kept(visits) == {"aa", "bb"}  # while its transcription may still read it
    visits.sweep(unclaimed_s=-1)
    assert kept(visits) == set()


def test_nothing_outside_the_folder_and_nothing_of_the_page_is_ever_deleted(
    visits: Visits, tmp_path: Path
) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(b"RIFF")
    clip = visits.own / "0-child.ogg"
    clip.write_bytes(b"OggS")
    for path in (other, clip, visits.folder / "lock", visits.folder, visits.folder / ".." / "other.wav"):
        visits.claim("one", str(path))
        visits.leave("one")
    assert other.exists()
    assert clip.exists()
    assert (visits.folder / "lock").exists()
    other.unlink()


KILLED = """
import sys, time
from ui.visits import Visits
visits = Visits()
print(visits.folder, flush=True)
time.sleep(600)
"""


def test_the_next_start_deletes_what_a_killed_page_left_and_not_what_a_living_one_has(
    visits: Visits, tmp_path: Path
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", KILLED], env=environment, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        folder = Path(killed.stdout.readline().decode().strip())
        killed.send_signal(signal.SIGKILL)
    assert folder.exists()
    later = Visits()
    assert not folder.exists()
    assert visits.folder.exists()
    later.close()


ALONE = """
import sys
import ui.visits
ui.visits.UNCLAIMED_S, ui.visits.SWEEP_S = map(float, sys.argv[3:])
from ui.app import launch
from ui.client import ServerClient
launch(ServerClient(sys.argv[1]), "127.0.0.1", int(sys.argv[2]))
"""


@contextmanager
def page_alone(
    folder: Path, unclaimed_s: float = 120, sweep_s: float = 15, server: str = "http://127.0.0.1:9"
) -> Iterator[tuple[Any, str]]:
    """Process and address of a page with its files in `folder`; no server is there unless one is given."""
    port = free_port()
    command = [sys.executable, "-c", ALONE, server, str(port), str(unclaimed_s), str(sweep_s)]
    environment = {**os.environ, "TMPDIR": str(folder), "GRADIO_HEARTBEAT_INTERVAL": "0.5"}
    with subprocess.Popen(command, env=environment) as page:
        try:
            wait_until(lambda: _answers(f"http://127.0.0.1:{port}"))
            yield page, f"http://127.0.0.1:{port}"
        finally:
            page.kill()


def recording_of(folder: Path, name: str) -> Path:
    file = folder / f"{name}.wav"
    file.write_text(f"RIFF {name}")
    return file


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_page_alone_leaves_nothing_however_it_is_ended(tmp_path: Path, ending: signal.Signals) -> None:
    with page_alone(tmp_path) as (page, address):
        client = Client(address, verbose=False)  # its page stays open
        client.predict(
            handle_file(str(recording_of(tmp_path, "anna"))), None, None, "", None, api_name="/transcribe"
        )
        assert len(list(tmp_path.glob("ssvd-ui-*/*/anna.wav"))) == 1
        page.send_signal(ending)
        wait_until(lambda: list(tmp_path.glob("ssvd-ui-*")) == [])
        page.kill()
        client.close()


def test_a_recording_of_a_client_without_a_heartbeat_goes_and_a_present_visitor_s_stays(
    tmp_path: Path,
) -> None:
    """Files of such clients lay until the process ended: gradio tells of the end of a heartbeat only."""

    def kept_names() -> set[str]:
        return {path.name for path in tmp_path.glob("ssvd-ui-*/*/*.wav")}

    with page_alone(tmp_path, unclaimed_s=4, sweep_s=0.1) as (_, address):
        client = Client(address, verbose=False)
        client.predict(
            handle_file(str(recording_of(tmp_path, "anna"))), None, None, "", None, api_name="/transcribe"
        )
        with recording_of(tmp_path, "bert").open("rb") as file:
            reply = httpx.post(f"{address}/gradio_api/upload", files={"files": file})
        (path,) = reply.raise_for_status().json()
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, None, None, None]
        httpx.post(f"{address}/gradio_api/call/transcribe", json={"data": data}).raise_for_status()
        wait_until(lambda: "bert.wav" not in kept_names())
        assert kept_names() == {"anna.wav"}  # which lies there longer
        client.close()
        wait_until(lambda: kept_names() == set())


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False
