"""Two servers on one store that changes: each reply is of a version that answered while its request ran."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from adapters_store.store import AdapterStore
from server.app import create_app
from server.engine.start import engine_over
from server.settings import ServerSettings
from tests.fire.hostile_forms import URL
from tests.fire.published import Changes, Domain, NotPossible
from tests.server.fakes import TIMEOUT_S, FakeRecogniser, write_adapter

NAMES = ("child", "ward")
SERVERS, FILES, VERSIONS = 2, 3, 5  # VERSIONS: more numbers than are ever published are asked for too
IN_FLIGHT = 6  # of one server

names = st.sampled_from(NAMES)
servers = st.integers(0, SERVERS - 1)
numbers = st.integers(1, VERSIONS)


@dataclass
class Asked:
    """A request that is not answered yet."""

    answer: Future[httpx.Response]
    server: int
    name: str
    pin: int | None
    possible: set[str | None]  # digests that may answer; None: it may be unknown


class Servers(RuleBasedStateMachine):
    """Changes and requests in any order. A held server decodes nothing, so its requests outlive changes."""

    def __init__(self, root: Path, files: list[Path], clip: bytes) -> None:
        super().__init__()
        self.files, self.clip = files, clip
        self.digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        self.domains = {name: Domain() for name in NAMES}
        self.asked: list[Asked] = []
        self.held = ExitStack()
        self.threads = self.held.enter_context(ThreadPoolExecutor(SERVERS * IN_FLIGHT))
        self.recognisers = [FakeRecogniser() for _ in range(SERVERS)]
        self.changes, self.clients, self.engines = [], [], []
        for recogniser in self.recognisers:
            store = AdapterStore(root / "store", builtin=root / "none")
            chosen = ServerSettings(store=store.root, ui=False, queue_max_audio_s=600)
            self.engines.append(engine_over(recogniser, chosen, store))
            self.clients.append(self.held.enter_context(TestClient(create_app(chosen, self.engines[-1]))))
            self.changes.append(Changes(store))

    @rule(server=servers, name=names, file=st.integers(0, FILES - 1))
    def publish(self, server: int, name: str, file: int) -> None:
        self.change(
            name,
            lambda: self.changes[server].publish(name, self.files[file]),
            lambda: self.domains[name].publish(self.digests[file]),
        )

    @rule(server=servers, name=names, number=numbers)
    def activate(self, server: int, name: str, number: int) -> None:
        self.change(
            name,
            lambda: self.changes[server].activate(name, number),
            lambda: self.domains[name].activate(number),
        )

    @rule(server=servers, name=names)
    def rollback(self, server: int, name: str) -> None:
        self.change(name, lambda: self.changes[server].rollback(name), self.domains[name].rollback)

    @rule(server=servers, name=names, number=numbers)
    def remove(self, server: int, name: str, number: int) -> None:
        self.change(
            name,
            lambda: self.changes[server].remove(name, number),
            lambda: self.domains[name].remove(number),
        )

    @rule(server=servers, name=names, pin=st.none() | numbers)
    def ask(self, server: int, name: str, pin: int | None) -> None:
        if sum(each.server == server for each in self.asked) >= IN_FLIGHT:
            self.let_go(server)
        reference = name if pin is None else f"{name}@{pin}"
        answer = self.threads.submit(
            self.clients[server].post, URL, files={"file": ("a.wav", self.clip)}, data={"domain": reference}
        )
        self.asked.append(Asked(answer, server, name, pin, {self.answering(name, pin)}))
        if self.recognisers[server].go.is_set():  # nothing changes meanwhile
            self.answer_all_of(server)

    @rule(server=servers)
    def hold(self, server: int) -> None:
        self.recognisers[server].go.clear()

    @rule(server=servers)
    def let_go(self, server: int) -> None:
        self.recognisers[server].go.set()
        self.answer_all_of(server)

    @invariant()
    def both_list_what_is_there(self) -> None:
        there = {name: domain.digest for name, domain in self.domains.items() if domain.digest is not None}
        for client in self.clients:
            listed = client.get("/v1/domains").json()["data"]
            assert {each["name"]: each["sha256"] for each in listed} == there

    def teardown(self) -> None:
        for server in range(SERVERS):
            self.let_go(server)
        assert all(engine.domains.bank.host.held == 0 for engine in self.engines)
        self.held.close()

    def answering(self, name: str, pin: int | None) -> str | None:
        """What answers for a request now."""
        domain = self.domains[name]
        return domain.digest if pin is None else domain.versions.get(pin)

    def change(self, name: str, act: Callable[[], None], expect: Callable[[], None]) -> None:
        """Do something to the store and to the model; both refuse it, or neither does."""
        refused = []
        for each in (act, expect):
            try:
                each()
            except NotPossible:
                refused.append(each)
        assert len(refused) in (0, 2), "refused" if act in refused else "not refused"
        for waiting in self.asked:
            if waiting.name == name:
                waiting.possible.add(self.answering(name, waiting.pin))

    def answer_all_of(self, server: int) -> None:
        """Wait for the requests of a server, and check each."""
        mine = [each for each in self.asked if each.server == server]
        self.asked = [each for each in self.asked if each.server != server]
        for each in mine:
            response = each.answer.result(TIMEOUT_S)
            if response.status_code == 404:
                assert response.json()["error"]["code"] == "domain_not_found"
                assert None in each.possible
            else:
                assert response.status_code == 200, response.text
                made_by = response.json()["ssvd"]
                assert made_by["adapter_sha256"] in each.possible
                version = made_by["adapter_version"]
                assert response.json()["text"] == f"{each.name} words of version {version}"
                assert each.pin in (None, version)


def run_servers(folder: Path, clip: bytes, *phases: Phase) -> None:
    """Run the machine, each run of it with a store of its own."""
    files = [write_adapter(folder / f"file{seed}", seed) for seed in range(FILES)]
    count = itertools.count()
    chosen = settings(
        max_examples=10,
        stateful_step_count=30,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=phases,
    )
    run_state_machine_as_test(lambda: Servers(folder / str(next(count)), files, clip), settings=chosen)


def test_two_servers_on_one_store_answer_with_what_was_active_meanwhile(tmp_path: Path, clip: bytes) -> None:
    run_servers(tmp_path, clip, Phase.generate, Phase.shrink)


def test_a_change_that_is_not_made_is_noticed(
    tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the test above might prove nothing."""
    monkeypatch.setattr(Changes, "rollback", lambda *_: None)
    with pytest.raises(AssertionError):
        run_servers(tmp_path, clip, Phase.generate)
