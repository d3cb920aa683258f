"""The loading thread: in order, what a task raises is its caller's, and death is not the end."""

from __future__ import annotations

import ctypes
import os
import sys
import threading

import pytest

from server.bank.loader import NICENESS, Loader, LoaderError


def test_tasks_run_in_order_on_one_thread_beside_the_caller() -> None:
    loader, done, threads = Loader(), list[int](), set[threading.Thread]()

    def task(number: int) -> None:
        done.append(number)
        threads.add(threading.current_thread())

    futures = [loader.submit(lambda n=number: task(n)) for number in range(5)]
    for future in futures:
        loader.wait(future, 10)
    loader.close()
    assert done == [0, 1, 2, 3, 4]
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_what_somebody_waits_for_goes_before_what_is_done_ahead() -> None:
    loader, done, go = Loader(), list[str](), threading.Event()
    loader.submit(lambda: go.wait(10))
    last = loader.submit(lambda: done.append("first ahead"), ahead=True)
    last = loader.submit(lambda: done.append("second ahead"), ahead=True)
    loader.submit(lambda: done.append("first load"))
    loader.submit(lambda: done.append("second load"))
    go.set()
    loader.wait(last, 10)
    loader.close()
    assert done == ["first load", "second load", "first ahead", "second ahead"]


def test_closing_waits_for_what_somebody_waits_for_and_for_nothing_more() -> None:
    loader, done, begun, go = Loader(), list[str](), threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go.wait(10)
        done.append("slow")

    loader.submit(slow)
    loader.submit(lambda: done.append("ahead"), ahead=True)
    loader.submit(lambda: done.append("load"))
    assert begun.wait(10)
    threading.Timer(0.05, go.set).start()
    loader.close()
    assert done == ["slow", "load"]
    assert loader._thread is not None
    assert not loader._thread.is_alive()  # a process that ends under it would abort
    with pytest.raises(LoaderError, match="the server stops"):
        loader.submit(lambda: None)


def test_closing_does_not_wait_for_a_disk_that_hangs() -> None:
    loader, begun, go = Loader(), threading.Event(), threading.Event()
    loader.submit(lambda: (begun.set(), go.wait(10)))
    assert begun.wait(10)
    loader.close(timeout_s=0.01)
    go.set()


def test_a_thread_that_died_between_two_waits_is_told_to_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It left no word, as one that the system killed: the next look finds it gone."""
    loader, begun = Loader(), threading.Event()
    monkeypatch.setattr(Loader, "_do", lambda *_: begun.set())  # and ends without a result
    lost = loader.submit(lambda: None)
    assert begun.wait(10)
    with pytest.raises(LoaderError, match="ended while it loaded this"):
        loader.wait(lost, 10)
    loader.close()


def test_it_rests_after_each_task_for_what_that_task_took_and_not_before_who_waits_is_told() -> None:
    rests: list[float] = []
    resting, go_on = threading.Event(), threading.Event()

    def rest(took_s: float) -> None:
        rests.append(took_s)
        resting.set()
        assert go_on.wait(10)

    loader = Loader(rest=rest)
    slow = threading.Event()
    loader.wait(loader.submit(lambda: slow.wait(0.05)), 10)  # told while the thread rests
    second = loader.submit(lambda: None)
    assert resting.wait(10)
    assert not second.done()
    go_on.set()
    loader.wait(second, 10)
    loader.close()
    assert rests[0] >= 0.05


def test_what_a_task_raises_is_raised_for_who_waits_and_the_thread_goes_on() -> None:
    loader = Loader()
    with pytest.raises(ZeroDivisionError):
        loader.wait(loader.submit(lambda: 1 / 0), 10)
    loader.wait(loader.submit(lambda: None), 10)
    loader.close()


def test_a_task_of_its_own_timeout_is_not_taken_for_waiting() -> None:
    def slow_disk() -> None:
        raise TimeoutError("the disk's")

    loader = Loader()
    with pytest.raises(TimeoutError, match="the disk's"):
        loader.wait(loader.submit(slow_disk), 10)
    loader.close()


def test_waiting_has_an_end() -> None:
    loader, go = Loader(), threading.Event()
    with pytest.raises(TimeoutError):
        loader.wait(loader.submit(lambda: go.wait(10)), 0.02)
    go.set()
    loader.close()


def test_a_killed_thread_fails_its_task_only_and_another_does_the_rest() -> None:
    """Killed as an operator's debugger does it: an exception set into the thread from outside."""
    loader, begun, go = Loader(), threading.Event(), threading.Event()
    victims: list[int] = []

    def victim() -> None:
        victims.append(threading.get_ident())
        begun.set()
        while not go.wait(0.01):
            pass

    killed, after = loader.submit(victim), loader.submit(lambda: None)
    assert begun.wait(10)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(victims[0]), ctypes.py_object(SystemExit)
    )
    with pytest.raises(LoaderError, match="ended"):
        loader.wait(killed, 10)
    loader.wait(after, 10)
    loader.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_loading_stands_back_and_nobody_else_does() -> None:
    loader, own = Loader(), os.getpriority(os.PRIO_PROCESS, 0)
    found: list[int] = []
    task = loader.submit(lambda: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    loader.wait(task, 10)
    loader.close()
    assert found == [min(19, max(own, NICENESS))]
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
