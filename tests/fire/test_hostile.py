"""Hostile files, forms and frames at a running server: refused by name, or answered with the truth."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import httpx
import pytest
from websockets.sync.client import connect

from server.realtime.audio_input import RATES_HZ
from tests.fire.hostile_adapters import ALIEN, DAMAGE, edited
from tests.fire.hostile_forms import TYPE, URL, clip, form, part, raw
from tests.fire.hostile_frames import append
from tests.fire.metrics import HELD
from tests.fire.sending import ALL, live, numbers
from tests.server.fakes import TIMEOUT_S
from tests.server.served import Served

CASES = [(kind, name) for kind, (_, cases) in ALL.items() for name in cases]
SAMPLED, MAX_ROUNDS = 50, 6  # cases of a round, and rounds in which memory may settle
# Of tens of megabytes, of which the allocator keeps now more and now less.
VAST = ("audio over OpenAI's limit", "a compressed bomb", "far over the limit", "over the limit")
TOGETHER = 3  # sent at the same time: fewer than there are places for live sessions
MAX_GROWTH_BYTES = 2 * 2**20  # of a round of SAMPLED cases, most of which carry kilobytes
MAX_PEAK_BYTES = 200 * 2**20  # over the memory before
NOTHING = dict.fromkeys(HELD, 0.0)


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=TIMEOUT_S) as client:
        yield client


def send(client: httpx.Client, case: tuple[str, str]) -> None:
    kind, name = case
    ALL[kind][0](client, name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}: {case[1]}")
def test_it_is_refused_by_name_or_answered_with_the_truth(
    client: httpx.Client, case: tuple[str, str]
) -> None:
    send(client, case)


def test_there_are_more_than_sixty() -> None:
    assert len(CASES) + len(ALIEN) + len(DAMAGE) > 180


def asked(client: httpx.Client, domain: str) -> httpx.Response:
    return client.post(URL, files={"file": ("a.wav", clip())}, data={"domain": domain})


def check_refused(response: httpx.Response) -> None:
    codes = {422: ("wrong_base", "wrong_basis"), 500: ("adapter_refused",)}
    assert response.json()["error"]["code"] in codes[response.status_code], response.text


@pytest.mark.parametrize("kind", ALIEN)
def test_an_adapter_for_something_else_leaves_its_domain_as_it_was(
    served: Served, client: httpx.Client, tmp_path: Path, kind: str
) -> None:
    name = f"alien-{list(ALIEN).index(kind)}"
    good = served.store.publish(name, served.adapter)
    (tmp_path / "alien").write_bytes(edited(served.adapter.read_bytes(), ALIEN[kind]))
    bad = served.store.publish(name, tmp_path / "alien")
    assert asked(client, name).json()["ssvd"]["adapter_sha256"] == good.sha256 != bad.sha256
    check_refused(asked(client, f"{name}@2"))


@pytest.mark.parametrize("kind", DAMAGE)
def test_an_adapter_that_changes_on_the_disk_is_not_served(
    served: Served, client: httpx.Client, tmp_path: Path, kind: str
) -> None:
    name = f"damaged-{list(DAMAGE).index(kind)}"
    good = served.store.publish(name, served.adapter)
    (tmp_path / "other").write_bytes(
        edited(served.adapter.read_bytes(), lambda metadata, _: metadata["training"].update(of=kind))
    )
    bad = served.store.publish(name, tmp_path / "other")
    bad.path.chmod(0o644)
    DAMAGE[kind](bad.path)
    try:
        assert asked(client, name).json()["ssvd"]["adapter_sha256"] == good.sha256
        check_refused(asked(client, f"{name}@2"))
        assert client.get("/v1/domains").status_code == 200
    finally:
        if bad.path.is_dir():
            bad.path.rmdir()


def connected(client: httpx.Client) -> socket.socket:
    """A connection of its own to the server of a client."""
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), TIMEOUT_S)


def upload() -> bytes:
    """A whole request with a file and a domain."""
    body = form(part('name="domain"', b"child"))
    return raw(f"Content-Type: {TYPE}\r\nContent-Length: {len(body)}\r\n", body)


def leave_during_the_upload(client: httpx.Client, random: Random) -> None:
    """A part of a request is sent, and then the client is gone."""
    request = upload()
    with connected(client) as connection:
        connection.sendall(request[: random.randrange(1, len(request))])


def leave_before_the_reply(client: httpx.Client, _: Random) -> None:
    """A whole request is sent, and nobody waits for its answer."""
    with connected(client) as connection:
        connection.sendall(upload())


def leave_a_stream(client: httpx.Client, _: Random) -> None:
    """A stream is read as far as its headers."""
    fields = {"domain": "child", "stream": "true"}
    with client.stream("POST", URL, files={"file": ("a.wav", clip())}, data=fields) as response:
        assert response.status_code == 200


def leave_a_session(client: httpx.Client, random: Random) -> None:
    """A live session breaks off while somebody speaks, without a closing frame."""
    with live(client) as session:
        session.send(append(random.randbytes(2 * RATES_HZ["audio/pcm"])))
        session.socket.shutdown(socket.SHUT_RDWR)


LEAVING: tuple[Callable[[httpx.Client, Random], None], ...] = (
    leave_during_the_upload,
    leave_before_the_reply,
    leave_a_stream,
    leave_a_session,
)


def settled(client: httpx.Client) -> dict[str, float]:
    """The numbers, once nothing is held by a request or a session."""
    until = time.monotonic() + TIMEOUT_S
    while True:
        found = numbers(client)
        if {name: found[name] for name in NOTHING} == NOTHING:
            return found
        assert time.monotonic() < until, {name: found[name] for name in NOTHING}
        time.sleep(0.05)


@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
def test_a_client_that_leaves_holds_nothing(
    client: httpx.Client, leave: Callable[[httpx.Client, Random], None]
) -> None:
    random = Random(1)
    for _ in range(8):
        leave(client, random)
    settled(client)
    assert asked(client, "child").status_code == 200


def test_half_sent_requests_hold_up_nobody(client: httpx.Client) -> None:
    slow = [connected(client) for _ in range(100)]
    for number, connection in enumerate(slow):
        connection.sendall(
            raw(f"Content-Type: {TYPE}\r\nContent-Length: 1000\r\n", bytes(100))[: 50 + 2 * number]
        )
    assert asked(client, "child").status_code == 200
    for connection in slow:
        connection.close()
    settled(client)


def test_a_page_of_a_stranger_opens_no_session(served: Served) -> None:
    """The refusal comes before the handshake, so the server holds no place for it."""
    address = f"ws{served.url.removeprefix('http')}/v1/realtime?intent=transcription"
    for origin in ("https://evil.example", "null", "file://", f"{served.url}.evil.example"):
        with pytest.raises(Exception, match="HTTP 403"), connect(address, origin=origin):  # type: ignore[arg-type]
            pass


def test_many_of_them_at_once_and_again_cost_neither_memory_nor_files(
    served: Served, client: httpx.Client
) -> None:
    """A leak grows with every round. What the allocator keeps for later does not."""
    process = Path(f"/proc/{served.process.pid}")
    cases = Random(1).sample([case for case in CASES if case[1] not in VAST], SAMPLED)
    held_bytes, open_files = [], []
    for _ in range(MAX_ROUNDS):
        before_bytes = settled(client)["process_resident_memory_bytes"]
        (process / "clear_refs").write_text("5")  # the peak begins again
        with ThreadPoolExecutor(TOGETHER) as threads:
            list(threads.map(lambda case: send(client, case), cases))
        found = settled(client)
        assert peak_bytes(process) - before_bytes < MAX_PEAK_BYTES
        held_bytes.append(found["process_resident_memory_bytes"])
        open_files.append(found["process_open_fds"])
        if len(held_bytes) > 1 and held_bytes[-1] - held_bytes[-2] < MAX_GROWTH_BYTES:
            break
    else:
        pytest.fail(f"the server's memory grows: {held_bytes}")
    print(f"memory after each round: {[int(each) // 2**20 for each in held_bytes]} MiB")
    assert abs(open_files[-1] - open_files[0]) <= TOGETHER  # connections that the client keeps
    assert served.process.poll() is None
    assert client.get("/readyz").status_code == 200
    assert asked(client, "child").json()["ssvd"]["domain"] == "child"


def peak_bytes(process: Path) -> int:
    """The most memory that a process had at a time."""
    lines = (process / "status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
