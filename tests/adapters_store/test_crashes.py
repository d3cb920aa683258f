"""A crash or an error at any call to the file system leaves the old state or the new one, entire."""

import contextlib
import os
import shutil
import subprocess
import sys

import pytest

from adapters_store.store import AdapterStore
from ssvd_asr.errors import SsvdError
from tests.adapters_store.adapter_samples import adapter_bytes, adapter_file, builtin_folder

CALLS = ["open", "write", "fsync", "replace", "unlink", "mkdir", "fchmod", "lstat", "scandir", "fstat"]


class Interruption:
    """Counts the calls of os and stops at the n-th: raises or, like a power cut, ends the process."""

    def __init__(self, at: int, *, die: bool) -> None:
        self.count = 0
        self._at = at
        self._die = die

    def __enter__(self) -> "Interruption":
        self._saved = {name: getattr(os, name) for name in CALLS}
        for name, call in self._saved.items():
            setattr(os, name, self._counting(name, call))
        return self

    def __exit__(self, *_) -> None:
        for name, call in self._saved.items():
            setattr(os, name, call)

    def _counting(self, name, call):
        def counted(*arguments, **options):
            self.count += 1
            if self.count == self._at:
                if name == "write" and len(arguments[1]) > 1:  # half of it reaches the disk
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                if self._die:
                    os._exit(9)
                raise OSError(28, "No space left on device")
            return call(*arguments, **options)

        return counted


ACTIONS = {
    "publish": lambda store, file: store.publish("child", file),
    "activate": lambda store, _: store.activate("child", 1),
    "rollback": lambda store, _: store.rollback("child"),
    "remove": lambda store, _: store.remove("child", 3),
    "pin": lambda store, _: store.pin("child", 2),
    "alias": lambda store, _: store.set_alias("kids", "child@2"),
}
ACTIVE_AFTERWARDS = {"publish": 4, "activate": 1, "rollback": 2, "remove": 2, "pin": 3, "alias": 3}


def state(store: AdapterStore) -> tuple:
    """All that a reader can see, read through to the bytes."""
    domains = [
        (
            domain.name,
            domain.active.version,
            domain.pinned,
            [(each.version, each.read_bytes()) for each in domain.versions],
        )
        for domain in store.list()
    ]
    return domains, store.aliases()


def prepared(folder) -> AdapterStore:
    """child: built-in 1, published 2 and 3, active 3."""
    store = AdapterStore(folder / "root", builtin_folder(folder, child=100))
    store.publish("child", adapter_file(folder, 2))
    store.publish("child", adapter_file(folder, 3))
    return store


def check_crashes(folder, action: str, *, die: bool) -> tuple[int, int]:
    """Interrupt the action at every call in turn; return how often the old and the new state were found."""
    run = ACTIONS[action]
    template = prepared(folder)
    old = state(template)
    new_file = adapter_file(folder, 4)
    seen = {"old": 0, "new": 0}
    at = 0
    while True:
        at += 1
        store = AdapterStore(folder / f"{action}-{at}", template.builtin)
        shutil.copytree(template.root, store.root)
        run_to_end = _run_to_death if die else _run_to_error
        finished = run_to_end(run, store, new_file, at)
        found = state(AdapterStore(store.root, store.builtin))
        if finished:
            assert found != old
            return seen["old"], seen["new"]
        if found == old:
            # An error may be survived (a lock tried again), so only death is in order: old, then new.
            assert not (die and seen["new"]), "the old state after the new one: something was undone"
            seen["old"] += 1
            run(store, new_file)  # nothing is locked or in the way
        else:
            seen["new"] += 1
        assert store.resolve("child").version == ACTIVE_AFTERWARDS[action]
        if action == "publish":
            assert store.resolve("child@4").read_bytes() == adapter_bytes(4)
        shutil.rmtree(store.root)


def _run_to_error(run, store, file, at) -> bool:
    """Whether the action came to its end without an n-th call."""
    with Interruption(at, die=False) as interruption, contextlib.suppress(SsvdError):
        run(store, file)
    return interruption.count < at


def _run_to_death(run, store, file, at) -> bool:
    child = os.fork()
    if child == 0:
        with Interruption(at, die=True):
            run(store, file)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("action", ACTIONS)
def test_an_error_at_any_call_leaves_the_old_state_or_the_new(tmp_path, action):
    old, new = check_crashes(tmp_path, action, die=False)
    assert old >= 5  # the calls were counted at all
    assert new >= 1  # the sync after the index is in place


@pytest.mark.parametrize("action", ACTIONS)
def test_death_at_any_call_leaves_the_old_state_or_the_new(tmp_path, action):
    # In a process of its own: forking one that has threads is asking for trouble.
    code = (
        "import pathlib, sys; from tests.adapters_store.test_crashes import check_crashes\n"
        "print(*check_crashes(pathlib.Path(sys.argv[1]), sys.argv[2], die=True))"
    )
    command = [sys.executable, "-c", code, str(tmp_path), action]
    old, new = map(int, subprocess.check_output(command, text=True).split())
    assert old >= 5
    assert new >= 1


def test_what_a_crash_left_is_swept_by_a_later_writer(tmp_path):
    store = prepared(tmp_path)
    adapters = store.root / "adapters"
    orphan = adapters / ("f" * 64 + ".safetensors")
    stale, fresh = adapters / ".staged-old", adapters / ".staged-new"
    for path in (orphan, stale, fresh):
        path.write_bytes(b"left over")
    os.utime(stale, (0, 0))
    store.rollback("child")
    assert orphan.exists()  # only a writer of adapters looks for them
    store.publish("child", adapter_file(tmp_path, 4))
    assert not orphan.exists()
    assert not stale.exists()
    assert fresh.exists()  # perhaps another process is writing it
    assert [version.version for version in store.versions("child")] == [1, 2, 3, 4]
