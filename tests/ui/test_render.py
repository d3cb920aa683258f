"""The page's HTML: what differs is marked, what made it is named, and nothing from elsewhere is trusted."""

from __future__ import annotations

from dataclasses import replace

from tests.ui.replies import transcript
from ui import render
from ui.client import Catalogue, Domain, Transcript
from ui.heard import HeardWord

BASE = transcript("the wed wabbit")
CHILD = transcript("the red rabbit", domain="child")


def test_both_transcripts_stand_side_by_side_with_differing_words_marked() -> None:
    page = render.result(BASE, CHILD, None, "clip")
    assert "the <mark>wed</mark> <mark>wabbit</mark>" in page
    assert "the <mark>red</mark> <mark>rabbit</mark>" in page
    assert page.index("Base model") < page.index("With domain child")
    assert "What was said" not in page


def test_the_provenance_names_base_domain_version_and_whole_digests() -> None:
    page = render.result(BASE, CHILD, None, "clip")
    assert f'title="sha256:{"a" * 64}"' in page
    assert f'title="sha256:{"b" * 64}"' in page
    assert "owsm-nano" in page
    assert "child version 2" in page


def test_an_example_shows_what_was_said_and_the_errors() -> None:
    page = render.result(BASE, CHILD, "the red rabbit", "clip")
    assert "What was said" in page
    assert "2 errors in 3 words" in page
    assert "every word right" in page


def test_a_word_with_a_time_is_a_button_that_tells_it_and_one_without_is_text() -> None:
    page = render.result(
        transcript("the wabbit", 0.5), transcript("the rabbit", domain="child"), None, "clip"
    )
    assert '<button type="button" data-start-s="0.5" title="0.50 s: play from here">the</button>' in page
    assert "<mark>wabbit</mark>" in page
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
    assert "<mark>" not in page


def test_an_empty_transcript_says_so() -> None:
    assert "nothing was understood" in render.result(transcript(""), CHILD, None, "clip")


def test_nothing_that_comes_from_elsewhere_is_html() -> None:
    evil = "<script>alert(1)</script>"
    words = (HeardWord(evil.split()[0], 1.0, 2.0),)
    made = Transcript(evil, words, 3.0, evil.encode(), evil, evil, evil, 1, evil)
    catalogue = Catalogue(evil, evil, ())
    pages = [
        render.result(made, made, evil, evil),
        render.problem(evil),
        render.about_base(catalogue),
        render.about_domain(Domain(evil, 1, evil, True, 0.5, 0.1)),
    ]
    assert not any("<script" in page for page in pages)


def test_the_page_is_honest_about_the_embedded_model_and_names_the_flag_for_a_real_one() -> None:
    nano = render.about_base(Catalogue("owsm-nano", "sha256:", ()))
    assert "knows these and nothing else" in nano
    assert "--base espnet/owsm_v3.1_ebf_base" in nano
    assert "demonstration" not in render.about_base(Catalogue("espnet/owsm_v3.1_ebf_base", "sha256:", ()))


def test_a_domain_tells_its_word_error_rates_where_they_are_known() -> None:
    domain = Domain("child", 1, "e" * 64, True, 0.463, 0.081)
    assert "46.3 % of the words were wrong without it, 8.1 % with it" in render.about_domain(domain)
    assert "%" not in render.about_domain(replace(domain, wer_before=None))
