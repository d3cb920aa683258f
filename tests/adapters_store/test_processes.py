"""Several processes on one store: no number twice, no half state, no stale answer."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from adapters_store.store import AdapterStore
from tests.adapters_store.adapter_samples import adapter_bytes

WRITERS = 3
EACH = 4

WRITER = """
import pathlib, sys, tempfile
from adapters_store.store import AdapterStore
from tests.adapters_store.adapter_samples import adapter_file
store = AdapterStore(sys.argv[1], sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
with tempfile.TemporaryDirectory() as folder:
    for seed in range(int(sys.argv[3]), int(sys.argv[4])):
        version = store.publish("child", adapter_file(pathlib.Path(folder), seed))
        print(version.version, version.sha256, flush=True)
        store.publish("shared", adapter_file(pathlib.Path(folder), 1000))  # the same bytes from all
"""


def _start(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_that_publish_at_once_lose_nothing(store, builtin):
    writers = [
        _start(WRITER, store.root, builtin, 10 * number, 10 * number + EACH) for number in range(WRITERS)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    seen = 0
    while any(writer.poll() is None for writer in writers):  # a reader beside them, all the while
        active = store.resolve("child")
        active.read_bytes()
        assert active.version >= seen
        seen = active.version
    told = {}
    for writer in writers:
        output, _ = writer.communicate()
        assert writer.returncode == 0
        told |= {int(number): digest for number, digest in map(str.split, output.splitlines())}
    versions = store.versions("child")
    assert [version.version for version in versions] == list(range(1, 2 + WRITERS * EACH))
    assert {version.version: version.sha256 for version in versions[1:]} == told
    bytes_expected = {adapter_bytes(10 * n + i) for n in range(WRITERS) for i in range(EACH)}
    assert {version.read_bytes() for version in versions[1:]} == bytes_expected
    assert [version.version for version in store.versions("shared")] == [1]
    published = [event for event in store.get("child").events if event.action == "publish"]
    assert len(published) == WRITERS * EACH


def test_threads_of_one_process_keep_out_of_each_others_way(store, make):
    files = [make(seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        versions = list(pool.map(lambda file: store.publish("ward", file), files))
    assert sorted(version.version for version in versions) == list(range(1, 13))


READER = """
import sys
from adapters_store.store import AdapterStore
store = AdapterStore(sys.argv[1], sys.argv[2])
for line in sys.stdin:
    version = store.resolve("child")
    print(version.version, version.sha256, len(store.list()), flush=True)
"""


def test_a_running_process_sees_a_publish_at_its_next_look(store, builtin, make):
    reader = _start(READER, store.root, builtin)

    def look() -> tuple[int, str, int]:
        reader.stdin.write("look\n")
        reader.stdin.flush()
        number, digest, domains = reader.stdout.readline().split()
        return int(number), digest, int(domains)

    assert look() == (1, store.resolve("child").sha256, 2)
    for seed in (1, 2, 3):
        version = store.publish("child", make(seed))
        assert look() == (version.version, version.sha256, 2)
    store.publish("ward", make(1))
    store.rollback("child")
    assert look() == (3, store.resolve("child@3").sha256, 3)
    reader.communicate()
    assert reader.returncode == 0


def test_a_reader_never_sees_a_mixture(store, builtin, make):
    """Each version's bytes say which seed they are of; number and bytes must belong together."""
    expected = {1: adapter_bytes(100)} | {number: adapter_bytes(number) for number in range(2, 12)}
    stop = threading.Event()
    wrong = []

    def read() -> None:
        mine = AdapterStore(store.root, builtin)
        while not stop.is_set():
            version = mine.resolve("child")
            if version.read_bytes() != expected[version.version]:
                wrong.append(version)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(2, 12):
            store.publish("child", make(number))
            if number % 3 == 0:
                store.rollback("child")
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not wrong
