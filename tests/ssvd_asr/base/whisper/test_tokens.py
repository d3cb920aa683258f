"""Text is what comes out again, controls are never text, and words are what is between spaces."""

from __future__ import annotations

import pytest

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.whisper.languages import ISO_639_3
from ssvd_asr.decoding.align import TimedWord, text_of, with_gaps
from ssvd_asr.errors import SsvdError


@pytest.mark.parametrize("text", ["the small boat", "Žluťoučký kůň", "你好，世界", "a  b", "ok 👍", "x"])
def test_a_text_comes_back_from_its_ids(tiny_whisper: BaseModel, text: str) -> None:
    assert tiny_whisper.tokens.decode(tiny_whisper.tokens.encode(text)) == text


@pytest.mark.parametrize("text", ["<|endoftext|>", "a <|en|> b", "<|0.00|> x <|2.00|>", "<|notimestamps|>"])
def test_a_text_that_spells_a_control_is_text(tiny_whisper: BaseModel, text: str) -> None:
    tokens = tiny_whisper.tokens
    ids = tokens.encode(text)
    assert max(ids) < tokens.eos
    assert tokens.decode(ids) == text
    told = tokens.prompt_ids(Prompt(previous_text=text))
    assert [told.count(each) for each in (tokens.sos, tokens.eos)] == [1, 0]


def test_controls_and_times_are_not_part_of_the_text(tiny_whisper: BaseModel) -> None:
    tokens = tiny_whisper.tokens
    ids = [tokens.first_time, *tokens.encode("the boat"), tokens.languages["<nld>"], tokens.last_time]
    assert tokens.decode(ids) == "the boat"
    assert [word for word, _ in tokens.words(ids)] == ["the", "boat"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the boat, it turned!", ["the", "boat,", "it", "turned!"]),
        ("Žluťoučký kůň", ["Žluťoučký", "kůň"]),
        ("你好，世界", ["你", "好，", "世", "界"]),
        ("好 ok 好a", ["好", "ok", "好", "a"]),
        ("", []),
    ],
)
def test_words_are_whole_characters_between_spaces(
    tiny_whisper: BaseModel, text: str, words: list[str]
) -> None:
    tokens = tiny_whisper.tokens
    ids = tokens.encode(text)
    found = tokens.words(ids)
    assert [word for word, _ in found] == words
    assert [piece for _, pieces in found for piece in pieces] == ids


def test_a_prompt_is_previous_text_language_task_and_no_times(tiny_whisper: BaseModel) -> None:
    tokens = tiny_whisper.tokens
    ids = tokens.prompt_ids(Prompt("<nld>", "<st_eng>", previous_text="the boat"))
    names = [tokens._read.id_to_token(index) for index in (ids[0], *ids[-4:])]
    wanted = ["startofprev", "startoftranscript", "nl", "translate", "notimestamps"]
    assert names == [f"<|{name}|>" for name in wanted]
    assert ids[1:-4] == tokens.encode("the boat")
    assert tokens.prompt_ids(Prompt(timestamps=True))[-1] != tokens.notime
    long = tokens.prompt_ids(Prompt(previous_text="the small boat turned " * 50))
    assert len(long) == 1 + 31 + 4  # half the decoder's positions but one
    with pytest.raises(SsvdError, match="no language '<fra>'"):
        tokens.prompt_ids(Prompt("<fra>"))
    with pytest.raises(SsvdError, match="no task '<st_nld>'"):
        tokens.prompt_ids(Prompt(task="<st_nld>"))


def test_every_language_of_whisper_has_its_own_code_of_three_letters() -> None:
    assert len(ISO_639_3) == 100
    assert len(set(ISO_639_3.values())) == 100
    assert all(len(code) == 3 for code in ISO_639_3.values())


@pytest.mark.parametrize(
    "text",
    [
        "今日は2024年です。", "これは Whisper の test です", "「はい」と言った", "สวัสดี ครับ ผม", "hello you",
        "a 3.5 b-c", "你好，世界 2 次", "ok です",
    ],
)  # fmt: skip
def test_words_with_their_gaps_are_the_text_again(tiny_whisper: BaseModel, text: str) -> None:
    tokens = tiny_whisper.tokens
    ids = tokens.encode(text)
    words = with_gaps([TimedWord(*word) for word in tokens.words(ids)], tokens)
    assert text_of(words) == tokens.decode(ids) == text


@pytest.mark.parametrize(
    "text", ["plain words", "naïve café", "今日は良い天気", "emoji 🦜 and ½", "tab\there"]
)
def test_the_bytes_of_tokens_are_those_of_the_text(tiny_whisper: BaseModel, text: str) -> None:
    tokens = tiny_whisper.tokens
    ids = [*tokens.encode(text), tokens.eos, tokens.first_time]  # the last two are no text
    assert b"".join(map(tokens.token_bytes, ids)).decode().strip() == text
