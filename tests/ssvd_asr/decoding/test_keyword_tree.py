"""The bonus of keywords: kept by those that are completed, and by nothing else."""

from __future__ import annotations

import random

import pytest
import torch

from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import Tokens
from ssvd_asr.base.whisper.tokens import WhisperTokens
from ssvd_asr.decoding.keyword_tree import KeywordTree, Match, add_bonus
from ssvd_asr.decoding.keywords import MAX_KEYWORD_CHARS, MAX_KEYWORDS, check_keywords, spellings
from ssvd_asr.errors import KeywordError
from tests.random_whisper import WINDOW_S, write_tokenizer

BONUS = 1.5
CPU = torch.device("cpu")
WORDS = ["new", "york", "newton", "boat", "boats", "hill", "a", "slow", "slowly"]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """Byte-level pieces, which have capitals and every character."""
    path = tmp_path_factory.mktemp("tokens") / "tokenizer.json"
    size = write_tokenizer(path)["vocabulary"]
    return WhisperTokens(path.read_bytes(), size, WINDOW_S, multilingual=True, most_previous=8)


@pytest.fixture(scope="module")
def nano() -> Tokens:
    """Sentencepiece's pieces of small letters."""
    return load_base("owsm-nano", device="cpu").tokens


@pytest.fixture(params=["whisper", "nano"])
def tokens(request: pytest.FixtureRequest) -> Tokens:
    """Each of both."""
    found: Tokens = request.getfixturevalue(request.param)
    return found


def _said(tree: KeywordTree, ids: list[int]) -> Match:
    match = Match()
    for index in ids:
        match = tree.after(match, index)
    return match


def _bonus(tokens: Tokens, text: str, *keywords: str, ended: bool = True) -> float:
    """The bonus of a text, closed by <eos> or still open, in units of BONUS."""
    tree = KeywordTree(tokens, keywords, CPU, BONUS)
    return _said(tree, tokens.encode(text) + [tokens.eos] * ended).value / BONUS


def _pieces(tokens: Tokens, keyword: str) -> int:
    return min(map(len, spellings(tokens, keyword)))


def test_a_completed_keyword_keeps_its_bonus_and_a_broken_one_loses_all(tokens: Tokens) -> None:
    whole = _pieces(tokens, "newton")
    assert _bonus(tokens, "a newton boat", "newton") == pytest.approx(whole)
    assert _bonus(tokens, "newton", "newton") == pytest.approx(whole)
    assert 0 < _bonus(tokens, "a new", "newton", ended=False) < whole
    assert _bonus(tokens, "a new", "newton") == 0
    assert _bonus(tokens, "a new boat", "newton") == 0


def test_a_keyword_is_a_whole_word(tokens: Tokens) -> None:
    assert _bonus(tokens, "the boats", "boat") == 0
    assert _bonus(tokens, "houseboat", "boat") == 0
    assert _bonus(tokens, "the boat", "boat") > 0


def test_keywords_of_several_words_begin_and_end_with_them(tokens: Tokens) -> None:
    together, york = _pieces(tokens, "new york"), _pieces(tokens, "york")
    assert _bonus(tokens, "in new york now", "new york") == pytest.approx(together)
    assert _bonus(tokens, "in new boat", "new york", "york") == 0
    assert _bonus(tokens, "new new york", "new york") == pytest.approx(together)
    # Of keywords that share words, those count that give the most.
    assert _bonus(tokens, "new york", "new york", "york") == pytest.approx(max(together, york))
    assert _bonus(tokens, "new york newton", "new york newtons", "york") == pytest.approx(york)


def test_signs_end_a_word_and_letters_that_follow_in_scripts_without_spaces_do_too(whisper: Tokens) -> None:
    whole = _pieces(whisper, "boat")
    for text in ("the boat.", "the boat's", "boat-house", "house-boat", "“boat”", "boat… now", "(boat)"):
        assert _bonus(whisper, text, "boat") == pytest.approx(whole), text
    assert _bonus(whisper, "boaté", "boat") == 0
    assert _bonus(whisper, "我在東京住", "東京") == pytest.approx(_pieces(whisper, "東京"))
    assert _bonus(whisper, "C++ code", "c++") == pytest.approx(_pieces(whisper, "c++"))


def test_every_spelling_has_the_same_bonus(whisper: Tokens) -> None:
    whole = _pieces(whisper, "new york")
    for text in ("new york", "New York", "New york", "NEW YORK", "the-new york"):
        assert _bonus(whisper, text, "new york") == pytest.approx(whole), text
    assert _bonus(whisper, "the McBoat", "McBoat") == pytest.approx(_pieces(whisper, "McBoat"))


def test_order_and_case_of_keywords_do_not_matter(tokens: Tokens) -> None:
    draw = random.Random(3)
    for _ in range(20):
        text = " ".join(draw.choices(WORDS, k=6))
        keywords = draw.sample(WORDS, 4)
        expected = _bonus(tokens, text, *keywords)
        assert _bonus(tokens, text, *reversed(keywords)) == expected
        assert _bonus(tokens, text, *map(str.title, keywords)) == expected
        assert _bonus(tokens, text, *keywords, *keywords) == expected


def test_what_is_said_again_has_half_of_the_time_before(tokens: Tokens) -> None:
    whole, boat = _pieces(tokens, "newton"), _pieces(tokens, "boat")
    assert _bonus(tokens, "newton newton", "newton") == pytest.approx(1.5 * whole)
    assert _bonus(tokens, "newton boat newton boat", "newton", "boat") == pytest.approx(1.5 * (whole + boat))
    assert _bonus(tokens, 50 * "newton ", "newton") <= 2 * whole
    for text in ("newton newton", "newton newton newton"):  # while it is said, too
        assert _bonus(tokens, text, "newton", ended=False) == pytest.approx(_bonus(tokens, text, "newton"))


def test_the_bonus_is_the_sum_of_the_keywords_that_are_said(tokens: Tokens) -> None:
    draw = random.Random(4)
    for _ in range(30):
        said, keywords = draw.choices(WORDS, k=7), draw.sample(WORDS, 3)
        expected = sum(
            _pieces(tokens, word) * (2 - 0.5 ** (said.count(word) - 1)) for word in keywords if word in said
        )
        assert _bonus(tokens, " ".join(said), *keywords) == pytest.approx(expected)


def test_scores_change_by_what_each_next_token_changes_in_the_bonus(tokens: Tokens) -> None:
    draw = random.Random(5)
    tree = KeywordTree(tokens, ["new york", "newton", "boat", "a", "slow hill"], CPU, BONUS)
    trees = [tree if row % 4 else None for row in range(16)]
    matches, expected = [], []
    for one in trees:
        ids = tokens.encode(" ".join(draw.choices(WORDS, k=4)))
        matches.append(match := _said(tree, ids[: draw.randint(0, len(ids))]) if one else Match())
        expected.append(
            [tree.after(match, index).value - match.value if one else 0.0 for index in range(len(tokens))]
        )
    scores = torch.zeros(len(trees), len(tokens))
    scores[:, 7] = -torch.inf
    add_bonus(scores, trees, matches)
    wanted = torch.tensor(expected)
    wanted[:, 7] = -torch.inf
    torch.testing.assert_close(scores, wanted)


@pytest.mark.parametrize(
    ("keyword", "words"),
    [("café", "'é'"), ("c#", "'#'"), ("...", "letter"), ("", "letter"), ("<eng>", "'<', '>'")],
)
def test_what_the_vocabulary_lacks_is_named(nano: Tokens, keyword: str, words: str) -> None:
    with pytest.raises(KeywordError, match="keyword") as refused:
        check_keywords(nano, ["boat", keyword])
    assert words in str(refused.value)
    assert repr(keyword) in str(refused.value)


def test_count_and_length_are_bounded(nano: Tokens) -> None:
    check_keywords(nano, MAX_KEYWORDS * ["boat"])
    check_keywords(nano, [MAX_KEYWORD_CHARS * "a"])
    with pytest.raises(KeywordError, match=str(MAX_KEYWORDS)):
        check_keywords(nano, (MAX_KEYWORDS + 1) * ["boat"])
    with pytest.raises(KeywordError, match=str(MAX_KEYWORD_CHARS)):
        check_keywords(nano, [(MAX_KEYWORD_CHARS + 1) * "a"])


def test_controls_are_words_like_others_or_refused(whisper: Tokens) -> None:
    for ids in spellings(whisper, "<|endoftext|>"):
        assert all(whisper.token_bytes(index) for index in ids)


def test_edges_of_words_are_read_once(nano: Tokens) -> None:
    from ssvd_asr.decoding.word_edges import word_edges

    assert word_edges(nano, CPU) is word_edges(nano, CPU)
