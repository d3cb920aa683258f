"""A domain that is left to the server: who is heard, what is compared, and what the reply says of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adapters_store.store import AdapterStore
from server.auto.wish import AutoWish, parse_auto
from server.engine.each_channel import submit_recording
from server.engine.engine import Engine
from server.engine.messages import Reply, Request
from server.engine.start import engine_over
from server.errors import QueueFullError
from server.settings import ServerSettings
from ssvd_asr.adapter.voices import VoiceSummary
from ssvd_asr.audio.read import Recording
from ssvd_asr.errors import AdapterError, StoreError, UnknownDomainError
from tests.server.fakes import DIGEST, TIMEOUT_S, FakeRecogniser, wait_until
from tests.speechlike import babble

PLACES = {"child": (6.0, 0.0), "scottish": (0.0, 6.0), None: (0.0, 0.0)}  # of the voices; None: the base
LONG = np.concatenate([babble(3.0, seed=n) if n % 2 == 0 else np.zeros(32_000, np.float32) for n in range(5)])


def summary(place: tuple[float, ...]) -> VoiceSummary:
    points = np.random.default_rng(0).standard_normal((50, len(place)))
    return VoiceSummary.of("fake", points - points.mean(axis=0) + place)


@pytest.fixture
def described(store: AdapterStore) -> AdapterStore:
    for name, place in PLACES.items():
        digest = DIGEST if name is None else store.resolve(name).sha256
        store.voices.write(digest, summary(place))
    return store


def say(engine: Engine, wave: np.ndarray | None = None, wish: AutoWish | None = None) -> Reply:
    return engine.submit(Request(babble(2.0) if wave is None else wave, auto=wish or AutoWish())).result(
        TIMEOUT_S
    )


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize("name", PLACES)
def test_one_that_is_sure_decodes_alone(name: str | None, engine: Engine, recogniser: FakeRecogniser) -> None:
    recogniser.voice = np.asarray(PLACES[name], np.float32)
    reply = say(engine)
    assert reply.provenance.domain == name
    assert recogniser.batches[1:] == [[name]]  # the first was heard
    (chosen,) = reply.chosen
    assert not chosen.compared
    assert chosen.considered[0].domain == name
    assert sum(each.likely or 0.0 for each in chosen.considered) == pytest.approx(1.0)


@pytest.mark.usefixtures("described")
def test_keywords_go_with_the_trials_of_a_choice(engine: Engine, recogniser: FakeRecogniser) -> None:
    recogniser.voice = np.asarray([3.0, 3.0], np.float32)
    wish = AutoWish()
    engine.submit(Request(babble(2.0), auto=wish, keywords=("boat",))).result(TIMEOUT_S)
    decoded = [piece for piece in recogniser.pieces if not piece.listens]
    assert len(decoded) > 1
    assert {piece.keywords for piece in decoded} == {("boat",)}


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize("best", ["child", "scottish", None])
def test_among_the_unsure_the_one_that_finds_its_words_most_probable_is_taken(
    best: str | None, engine: Engine, recogniser: FakeRecogniser
) -> None:
    recogniser.voice = np.asarray([3.0, 3.0], np.float32)
    recogniser.finds = {best: -1.0}
    reply = say(engine)
    assert reply.provenance.domain == best
    assert reply.text == say_alone(engine, best).text
    (chosen,) = reply.chosen
    assert chosen.compared
    assert [each.nats_a_token for each in chosen.considered] == [-0.1, -0.5, -0.5]


def say_alone(engine: Engine, domain: str | None) -> Reply:
    return engine.submit(Request(babble(2.0), domain=domain)).result(TIMEOUT_S)


@pytest.mark.usefixtures("described")
def test_the_base_is_taken_on_a_tie(engine: Engine, recogniser: FakeRecogniser) -> None:
    recogniser.voice = np.asarray([3.0, 3.0], np.float32)
    assert say(engine).provenance.domain is None


@pytest.mark.parametrize(("described_too", "expected"), [(True, "child"), (False, None)])
def test_words_that_cannot_be_compared_leave_it_to_the_voices(
    described_too: bool,
    expected: str | None,
    engine: Engine,
    recogniser: FakeRecogniser,
    request: pytest.FixtureRequest,
) -> None:
    if described_too:
        request.getfixturevalue("described")
    recogniser.voice = np.asarray([4.5, 1.0], np.float32)
    recogniser.comparable = False
    engine.auto_options = replace(engine.auto_options, sure=2.0)
    assert say(engine).provenance.domain == expected


@pytest.mark.usefixtures("described")
def test_fast_decodes_once_however_unsure(engine: Engine, recogniser: FakeRecogniser) -> None:
    recogniser.voice = np.asarray([4.5, 1.0], np.float32)
    reply = say(engine, wish=AutoWish(mode="fast"))
    assert reply.provenance.domain == "child"
    assert len(recogniser.pieces) == 2


@pytest.mark.usefixtures("described")
def test_only_named_candidates_and_the_base_are_considered(
    engine: Engine, recogniser: FakeRecogniser
) -> None:
    recogniser.voice = np.asarray(PLACES["child"], np.float32)
    reply = say(engine, wish=AutoWish(("scottish",)))
    assert {each.domain for each in reply.chosen[0].considered} <= {"scottish", None}
    assert reply.provenance.domain != "child"


def test_domains_whose_voices_are_unknown_are_compared_by_their_words(
    engine: Engine, recogniser: FakeRecogniser
) -> None:
    recogniser.finds = {"scottish": -1.0}
    reply = say(engine)
    assert reply.provenance.domain == "scottish"
    assert [each.likely for each in reply.chosen[0].considered] == [None] * 3


@pytest.mark.parametrize("odd", [("scottish",), tuple(PLACES)])
def test_voices_in_numbers_of_another_width_count_as_unknown(
    odd: tuple[str | None, ...], engine: Engine, recogniser: FakeRecogniser, described: AdapterStore
) -> None:
    for name in odd:
        digest = DIGEST if name is None else described.resolve(name).sha256
        described.voices.write(digest, summary((6.0, 0.0, 0.0)))
    recogniser.voice = np.asarray(PLACES["child"], np.float32)
    recogniser.finds = {"child": -1.0}
    reply = say(engine)
    assert reply.provenance.domain == "child"
    told = {each.domain: each.likely for each in reply.chosen[0].considered}
    assert all(told.get(name) is None for name in odd)


def test_voices_that_are_described_anew_count_from_the_next_request(
    engine: Engine, recogniser: FakeRecogniser, described: AdapterStore
) -> None:
    recogniser.voice = np.asarray(PLACES["child"], np.float32)
    assert say(engine).provenance.domain == "child"
    child, scottish = (described.resolve(name).sha256 for name in ("child", "scottish"))
    described.voices.write(child, summary((0.0, -6.0)))
    path = described.voices.write(scottish, summary(PLACES["child"]))
    assert say(engine).provenance.domain == "scottish"
    path.write_text("{}")
    told = {each.domain: each.likely for each in say(engine).chosen[0].considered}
    assert told.get("scottish") is None
    path.unlink()
    described.voices.write(child, summary(PLACES["child"]))
    assert say(engine).provenance.domain == "child"


@pytest.mark.usefixtures("described")
def test_a_recording_whose_points_are_not_finite_is_decided_by_its_words(
    engine: Engine, recogniser: FakeRecogniser
) -> None:
    recogniser.voice = np.asarray([np.nan, 1.0], np.float32)
    recogniser.finds = {"scottish": -1.0}
    reply = say(engine)
    assert reply.provenance.domain == "scottish"
    assert [each.likely for each in reply.chosen[0].considered] == [None] * 3


@pytest.mark.usefixtures("described")
def test_a_long_recording_is_decided_by_its_beginning_and_no_piece_is_decoded_twice_in_its_domain(
    engine: Engine, recogniser: FakeRecogniser
) -> None:
    recogniser.voice = np.asarray(PLACES["child"], np.float32)
    engine.auto_options = replace(engine.auto_options, heard_s=3.0, sure=2.0)
    recogniser.finds = {"child": -1.0}
    reply = say(engine, LONG)
    named = engine.submit(Request(LONG, domain="child")).result(TIMEOUT_S)
    assert (reply.text, reply.segments) == (named.text, named.segments)
    decoded = [piece.lease and piece.lease.name for piece in recogniser.pieces if not piece.listens]
    assert decoded.count("scottish") == decoded.count(None) == 1
    assert decoded.count("child") == 2 * len(reply.segments)  # once for each of the two requests


@pytest.mark.usefixtures("described")
def test_pieces_can_be_decided_one_by_one(engine: Engine, recogniser: FakeRecogniser) -> None:
    recogniser.voice = np.asarray(PLACES["child"], np.float32)
    engine.auto_options = replace(engine.auto_options, per_piece=True)
    reply = say(engine, LONG)
    assert len(reply.chosen) == len(reply.decoding) > 1
    assert [each.start_s for each in reply.chosen] == [each.start_s for each in reply.decoding]


@pytest.mark.usefixtures("described")
def test_each_channel_is_decided_alone_and_the_reply_says_how(
    engine: Engine, recogniser: FakeRecogniser
) -> None:
    recogniser.voice = np.asarray(PLACES["child"], np.float32)
    waves = Recording((babble(2.0), babble(2.0, seed=3)), ((), ()), apart=True)
    reply = submit_recording(engine, waves, Request(waves.waves[0], auto=AutoWish())).result(TIMEOUT_S)
    assert [(each.channel, each.domain) for each in reply.chosen] == [(0, "child"), (1, "child")]
    assert reply.warnings == ()


@pytest.mark.usefixtures("described")
def test_a_candidate_that_cannot_be_loaded_is_left_out_and_told(
    engine: Engine, recogniser: FakeRecogniser, store: AdapterStore
) -> None:
    recogniser.voice = np.asarray(PLACES["child"], np.float32)
    recogniser.refuse.add(store.resolve("child").sha256)
    reply = say(engine)
    assert reply.provenance.domain is None
    assert any("child could not be considered" in warning for warning in reply.warnings)


@pytest.mark.usefixtures("described")
def test_a_silent_recording_needs_no_choice(engine: Engine) -> None:
    reply = say(engine, np.zeros(32_000, np.float32))
    assert (reply.text, reply.provenance.domain, reply.chosen) == ("", None, ())


@pytest.mark.usefixtures("described")
def test_what_all_pieces_will_need_has_to_fit_the_queue_at_once(engine: Engine, busy: FakeRecogniser) -> None:
    wave = np.tile(LONG, 2)
    engine.auto_options = replace(engine.auto_options, heard_s=3.0)
    futures = [engine.submit(Request(wave, auto=AutoWish()))]
    with pytest.raises(QueueFullError):
        futures.append(engine.submit(Request(np.tile(LONG, 3), auto=AutoWish())))
    busy.go.set()
    assert all(future.result(TIMEOUT_S).text for future in futures)


@pytest.mark.usefixtures("described")
def test_a_request_that_ends_early_leaves_no_lease(
    engine: Engine, busy: FakeRecogniser, store: AdapterStore
) -> None:
    future = engine.submit(Request(LONG, auto=AutoWish()))
    assert future.cancel()
    busy.go.set()
    busy.voice = np.asarray([3.0, 3.0], np.float32)
    say(engine)
    for digest in (store.resolve(name).sha256 for name in ("child", "scottish")):
        wait_until(lambda digest=digest: not engine.domains.bank.host.leased(digest))
    assert engine.idle


@pytest.fixture
def hinting(engine: Engine, recogniser: FakeRecogniser, described: AdapterStore) -> Engine:  # noqa: ARG001
    recogniser.voice = np.asarray(PLACES["scottish"], np.float32)
    engine.domains.fetch("scottish")
    return engine


def test_a_named_domain_is_kept_and_a_clearly_better_one_is_told(
    hinting: Engine, recogniser: FakeRecogniser
) -> None:
    recogniser.finds = {"scottish": -1.0, "child": -9.0}
    reply = hinting.submit(Request(babble(2.0), domain="child", hint=True)).result(TIMEOUT_S)
    assert reply.provenance.domain == "child"
    assert reply.text == say_alone(hinting, "child").text
    assert any("more like domain scottish" in warning for warning in reply.warnings)
    assert reply.chosen == ()


@pytest.mark.parametrize("finds", [{"scottish": -9.0, "child": -1.0}, {"scottish": -1.0, "child": -1.05}])
def test_a_domain_that_is_not_clearly_better_is_not_told(
    finds: dict[str | None, float], hinting: Engine, recogniser: FakeRecogniser
) -> None:
    recogniser.finds = finds
    reply = hinting.submit(Request(babble(2.0), domain="child", hint=True)).result(TIMEOUT_S)
    assert reply.warnings == ()


def test_a_hint_waits_for_no_file(
    engine: Engine, recogniser: FakeRecogniser, described: AdapterStore
) -> None:
    recogniser.voice = np.asarray(PLACES["scottish"], np.float32)
    recogniser.finds = {"scottish": -1.0, "child": -9.0}
    request = Request(babble(2.0), domain="child", hint=True)
    assert engine.submit(request).result(TIMEOUT_S).warnings == ()
    wait_until(lambda: engine.domains.at_hand(described.resolve("scottish").pinned))
    (warning,) = engine.submit(request).result(TIMEOUT_S).warnings
    assert "scottish" in warning


def test_a_hint_that_fails_does_not_fail_the_request(
    hinting: Engine, recogniser: FakeRecogniser, store: AdapterStore
) -> None:
    recogniser.refuse.add(store.resolve("scottish").sha256)
    reply = hinting.submit(Request(babble(2.0), domain="child", hint=True)).result(TIMEOUT_S)
    assert reply.text == "child words of version 2"
    assert reply.warnings == ()
    assert [None] not in recogniser.batches[1:], "the base was tried in its place"


@pytest.mark.parametrize(
    "wish",
    ["auto:", "auto:child,", "auto:child,child", "auto:child,child@1", "auto:child@1,child@2", "auto:Child!"],
)
def test_a_list_that_is_none_is_refused(wish: str) -> None:
    with pytest.raises(UnknownDomainError):
        parse_auto(wish, "full")


def test_unknown_candidates_and_those_of_another_base_are_refused_at_once(
    engine: Engine, recogniser: FakeRecogniser, store: AdapterStore, settings: ServerSettings
) -> None:
    with pytest.raises(UnknownDomainError):
        engine.submit(Request(babble(2.0), auto=AutoWish(("klingon",))))
    recogniser.digest = "sha256:" + "cd" * 32
    other = engine_over(recogniser, settings, store)
    try:
        with pytest.raises(AdapterError, match="cannot be chosen"):
            other.submit(Request(babble(2.0), auto=AutoWish(("child",))))
    finally:
        other.close(timeout_s=5)


def test_no_domain_is_called_auto(store: AdapterStore) -> None:
    with pytest.raises(StoreError, match="auto"):
        store.publish("auto", store.resolve("child").path)
