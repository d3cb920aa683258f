"""The packaged base and domains say of packaged clips what they said when they were made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recipes.espeak.goldens import CLIPS, COMMAND, GOLDENS, Listener
from ssvd_asr.transcription import Transcript
from tests.devices import DEVICES

DOMAINS = ("child", "scottish")


@pytest.fixture(scope="module", params=DEVICES)
def listener(request: pytest.FixtureRequest) -> Listener:
    return Listener(request.param)


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads(GOLDENS.read_text(encoding="utf-8"))


def test_the_goldens_are_of_what_ships(listener: Listener, golden: dict[str, Any]) -> None:
    made_of = {name: row["adapter_sha256"] for name, row in golden["domains"].items()}
    shipped = {name: version.sha256 for name, version in listener.versions.items()}
    assert (golden["base_digest"], made_of) == (listener.base.digest, shipped), f"run: {COMMAND}"
    assert set(DOMAINS) == set(shipped)
    assert {name: len(row["clips"]) for name, row in golden["domains"].items()} == dict.fromkeys(
        shipped, CLIPS
    )


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("by", ["base", "domain"])
def test_a_clip_is_heard_as_it_was_when_the_goldens_were_made(
    listener: Listener, golden: dict[str, Any], domain: str, by: str
) -> None:
    clips = golden["domains"][domain]["clips"]
    asked = domain if by == "domain" else None
    heard = listener.hear([clip["audio"] for clip in clips], asked)
    differences = [
        _difference(listener, clip["audio"], asked, clip[by], now)
        for clip, now in zip(clips, heard, strict=True)
        if (now.text, list(now.hypothesis.token_ids)) != (clip[by]["text"], clip[by]["token_ids"])
    ]
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_goldens_tell_the_domain_from_the_base(golden: dict[str, Any], domain: str) -> None:
    assert any(clip["base"]["text"] != clip["domain"]["text"] for clip in golden["domains"][domain]["clips"])


def test_a_difference_is_told_with_the_distance_at_the_token_where_it_begins(
    listener: Listener, golden: dict[str, Any]
) -> None:
    clip = golden["domains"]["child"]["clips"][0]
    (heard,) = listener.hear([clip["audio"]], None)
    altered = {**clip["base"], "token_ids": [*clip["base"]["token_ids"][:2], 5]}
    said = _difference(listener, clip["audio"], None, altered, heard)
    distance = listener.distance(clip["audio"], None, heard.hypothesis.token_ids, altered["token_ids"])
    assert distance >= clip["base"]["margin"] - 1e-3  # what was said beat every other token by that much
    assert f"{distance:.2g}" in said


def _difference(
    listener: Listener, audio: str, domain: str | None, golden: dict[str, Any], now: Transcript
) -> str:
    ids = now.hypothesis.token_ids
    margin = f"margin then {golden['margin']}, now {now.hypothesis.margin:.2g}"
    if list(ids) != golden["token_ids"]:
        distance = listener.distance(audio, domain, ids, golden["token_ids"])
        margin += f"; {distance:.2g} between the tokens where they part"
    return f"{audio} by {domain or 'the base'}: {golden['text']!r} is now {now.text!r} ({margin})"
