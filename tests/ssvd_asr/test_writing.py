"""Texts are joined by a space, and without one in scripts that have none."""

from __future__ import annotations

import pytest

from ssvd_asr.writing import joined_texts


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["he said", " no. ", "", "Then"], "he said no. Then"),
        (["今日は", "いい天気です。", "「はい」", "散歩"], "今日はいい天気です。「はい」散歩"),
        (["你好，", "世界"], "你好，世界"),
        (["สวัสดี", "ครับ"], "สวัสดีครับ"),
        (["안녕", "하세요"], "안녕 하세요"),  # Korean has spaces
        (["これは", "Whisper"], "これは Whisper"),  # as Whisper's own text begins with a space
        (["Да", "«нет»"], "Да «нет»"),
        ([], ""),
    ],
)
def test_the_first_letter_of_what_follows_decides(parts: list[str], whole: str) -> None:
    assert joined_texts(parts) == whole
