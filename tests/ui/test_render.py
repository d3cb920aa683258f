"""The page's HTML: what differs is marked, what made it is named, and nothing from elsewhere is trusted."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from server.engine import choosing
from tests.ui.replies import transcript
from ui import render
from ui.client import Catalogue, Domain, Transcript
from ui.heard import HeardWord
from ui.render import HINT
from ui.style import STYLE

BASE = transcript("the wed wabbit")
CHILD = transcript("the red rabbit", domain="child")


def marks(page: str) -> list[tuple[str, str]]:
    """Kind and text of every mark in the cards, in order."""
    cards = page.partition('<p class="ssvd-legend">')[0]
    return re.findall(r'class="ssvd-(wrong|differs|missing)"[^>]*>(?:<button[^>]*>)?([^<]+)', cards)


def test_where_the_truth_is_unknown_both_sides_are_marked_alike_and_none_as_wrong() -> None:
    page = render.result(BASE, CHILD, None, "clip")
    assert marks(page) == [("differs", word) for word in ("wed", "wabbit", "red", "rabbit")]
    assert "which one is right is not known" in page
    assert page.index("Base model") < page.index("With domain child")
    assert "What was said" not in page


def test_where_the_truth_is_known_errors_are_marked_on_both_sides_and_a_right_word_never_is() -> None:
    """A right word of the base stood marked beside a wrong one of the domain."""
    base, child = transcript("the red wabbit"), transcript("the wed rabbit ran", domain="child")
    page = render.result(base, child, "the red rabbit", "clip")
    assert marks(page) == [("wrong", "wabbit"), ("wrong", "wed"), ("wrong", "ran")]
    assert 'title="said: rabbit"' in page
    assert 'title="nothing was said here"' in page
    assert page.count("not what was said") == 1
    assert "said, and not heard" not in page


def test_a_missing_word_stands_in_brackets_where_it_was_said() -> None:
    page = render.result(transcript("red rabbit"), CHILD, "the red rabbit", "clip")
    assert marks(page) == [("missing", "[the]")]
    assert "[the]</span> red rabbit" in page
    assert "1 error in the 3 words said" in page
    empty = render.result(transcript(""), CHILD, "the red rabbit", "clip")
    assert "nothing was understood" in empty
    assert "3 errors in the 3 words said" in empty


def test_a_mark_is_never_a_colour_alone() -> None:
    for kind in ("wrong", "differs"):
        (rule,) = re.findall(rf"^\.ssvd-{kind} {{(.*)}}$", STYLE, re.MULTILINE)
        assert "text-decoration: underline" in rule
    assert "font-style: italic" in STYLE[STYLE.index(".ssvd-missing {") :].partition("}")[0]


def test_a_page_without_marks_has_no_legend() -> None:
    assert "ssvd-legend" not in render.result(CHILD, CHILD, None, "clip")
    assert "ssvd-legend" not in render.result(CHILD, CHILD, "the red rabbit", "clip")


def test_the_provenance_names_base_domain_version_and_whole_digests() -> None:
    page = render.result(BASE, CHILD, None, "clip")
    assert f'title="sha256:{"a" * 64}"' in page
    assert f'title="sha256:{"b" * 64}"' in page
    assert "owsm-nano" in page
    assert "child version 2" in page


def test_an_example_shows_what_was_said_and_the_errors() -> None:
    page = render.result(BASE, CHILD, "the red rabbit", "clip")
    assert "What was said" in page
    assert "2 errors in the 3 words said" in page
    assert "every word right" in page


def test_a_word_with_a_time_is_a_button_that_tells_it_and_one_without_is_text() -> None:
    page = render.result(
        transcript("the wabbit", 0.5), transcript("the rabbit", domain="child"), None, "clip"
    )
    assert '<button type="button" data-start-s="0.5" title="0.50 s: play from here">the</button>' in page
    assert marks(page) == [("differs", "wabbit"), ("differs", "rabbit")]
    assert page.count("data-start-s") == 1
    assert render.PLAYABLE in page
    assert render.PLAYABLE not in render.result(BASE, CHILD, None, "clip")


def test_each_transcript_has_its_own_downloads() -> None:
    page = render.result(BASE, CHILD, None, "clip")
    assert all(
        f"clip-{kind}.{end}" in page for kind in ("base", "child") for end in ("srt", "vtt", "txt", "json")
    )


def test_the_base_alone_has_one_card_and_no_marks() -> None:
    page = render.result(BASE, None, None, "clip")
    assert page.count("ssvd-card ") == 1
    assert marks(page) == []


def test_an_empty_transcript_says_so() -> None:
    assert "nothing was understood" in render.result(transcript(""), CHILD, None, "clip")


def test_what_the_server_warns_of_is_told_once() -> None:
    mended, doubted = "The recording is clipped: 5 % of its samples.", "Words may be missing."
    base = replace(transcript("one"), warnings=(mended,))
    domain = replace(transcript("one", domain="child"), warnings=(mended, doubted))
    page = render.result(base, domain, None, "clip")
    assert (page.count(mended), page.count(doubted)) == (1, 1)
    assert "ssvd-warnings" not in render.result(transcript("one"), None, None, "clip")


def test_a_better_domain_is_told_of_a_chosen_one_in_the_page_s_words_and_not_of_the_base_beside_it() -> None:
    hint = "This recording sounds more like domain ward; domain=auto would compare them."
    assert HINT in Path(choosing.__file__).read_text(encoding="utf-8")  # as the server says it
    base, child = replace(BASE, warnings=(hint,)), replace(CHILD, warnings=(hint,))
    assert "ssvd-warnings" not in render.result(base, CHILD, None, "clip")
    page = render.result(BASE, child, None, "clip")
    assert "sounds more like domain ward; “Find out” would compare them." in page
    assert "domain ward" in render.result(base, None, None, "clip")


def test_nothing_that_comes_from_elsewhere_is_html() -> None:
    evil = "<script>alert(1)</script>"
    words = (HeardWord(evil.split()[0], 1.0, 2.0),)
    made = Transcript(evil, words, 3.0, evil.encode(), evil, evil, evil, 1, evil, (evil,))
    catalogue = Catalogue(evil, evil, ())
    pages = [
        render.result(made, made, evil, evil),
        render.problem(evil, evil),
        render.about_base(catalogue),
        render.about_domain(Domain(evil, 1, evil, True, 0.5, 0.1, evil, 1)),
    ]
    assert not any("<script" in page for page in pages)


def test_the_page_is_honest_about_the_embedded_model_and_names_the_flag_for_a_real_one() -> None:
    nano = render.about_base(Catalogue("owsm-nano", "sha256:", ()))
    assert "knows these and nothing else" in nano
    assert "--base espnet/owsm_v3.1_ebf_base" in nano
    assert "demonstration" not in render.about_base(Catalogue("espnet/owsm_v3.1_ebf_base", "sha256:", ()))


def test_a_domain_s_error_rates_name_their_data_and_their_number() -> None:
    domain = Domain("child", 1, "e" * 64, True, 0.463, 0.081, "test", 600)
    told = render.about_domain(domain)
    assert "46.3 % of the words were wrong without it and 8.1 % with it" in told
    assert "measured on 600 test recordings" in told
    assert "20 validation recordings, by which it was also chosen" in render.about_domain(
        replace(domain, scored_on="valid", scored_utterances=20)
    )
    unnamed = render.about_domain(replace(domain, scored_on=None, scored_utterances=None))
    assert "an unknown number of recordings that its file does not name" in unnamed
    assert "%" not in render.about_domain(replace(domain, wer_before=None))


def test_a_problem_is_a_sentence_with_the_server_s_reason_folded_away() -> None:
    page = render.problem("The recording is too long.", "the limit is 600 s (SSVD_MAX_DURATION_S)")
    assert page.index("too long.<details>") < page.index("SSVD_MAX_DURATION_S")
    assert "<details>" not in render.problem("There is no recording yet.")
