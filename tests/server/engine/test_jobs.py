"""A request is answered once, whoever comes to answer it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import wait
from types import SimpleNamespace
from typing import cast

import pytest

from server.bank.bank import Lease
from server.engine.jobs import Job
from server.engine.messages import Provenance, Reply, Request
from tests.speechlike import babble

REPLY = Reply("", (), "eng", 0.0, Provenance("base", "sha256:0"))


@pytest.fixture
def job() -> Job:
    return Job(Request(babble(0.1)), None, deadline_s=0.0)


def test_of_all_who_answer_at_once_one_is_heard(job: Job) -> None:
    together = threading.Barrier(9)
    errors: list[BaseException] = []

    def settle(act: Callable[[], object]) -> None:
        together.wait(30)
        try:
            act()
        except BaseException as error:
            errors.append(error)

    acts = [lambda: job.answer(REPLY), lambda: job.fail(KeyError("late")), job.future.cancel] * 3
    threads = [threading.Thread(target=settle, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert job.future.done()


def test_the_first_answer_stands(job: Job) -> None:
    job.answer(REPLY)
    job.fail(KeyError("late"))
    assert job.future.result(0) is REPLY


def test_while_one_answers_another_does_nothing(job: Job) -> None:
    """As a stopping server and the device do with one request."""
    assert job.claim()
    job.fail(KeyError("late"))
    job.future.set_result(REPLY)
    assert job.future.result(0) is REPLY


def test_who_waits_for_a_cancelled_request_is_woken(job: Job) -> None:
    job.future.cancel()
    assert not job.claim()
    assert wait([job.future], 0).done == {job.future}


def test_a_reply_names_the_domain_of_most_audio_and_of_equals_the_earliest(job: Job) -> None:
    child, scottish = (cast(Lease, SimpleNamespace(sha256=name)) for name in ("child", "scottish"))
    job.tell_choice(scottish, 150, 2)
    assert job.lease is scottish
    job.tell_choice(child, 100, 1)
    assert job.lease is scottish
    job.tell_choice(child, 50, 3)
    assert job.lease is child
    job.tell_choice(None, 150, 0)
    assert job.lease is None
    job.tell_choice(child, 1, 4)
    assert job.lease is child
