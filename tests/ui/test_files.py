"""Downloads of a transcript: what is at hand is in the page, and subtitles name the exact adapter."""

from __future__ import annotations

import re
from base64 import b64decode

from tests.ui.replies import SHA256, transcript
from ui.files import downloads

CHILD = transcript("rote häuser", 0.5, 1.0, domain="child")


def contents(html: str) -> dict[str, bytes]:
    """The files that are in the page, by name."""
    links = re.findall(r'download="([^"]+)" href="data:[^,]+;base64,([^"]+)"', html)
    return {name: b64decode(data) for name, data in links}


def test_text_and_json_are_in_the_page_as_the_server_sent_them() -> None:
    files = contents(downloads(CHILD, "clip"))
    assert files == {"clip-child.txt": "rote häuser\n".encode(), "clip-child.json": CHILD.reply}


def test_subtitles_are_asked_of_the_adapter_that_made_the_transcript() -> None:
    html = downloads(CHILD, "clip")
    asked = re.findall(r'data-format="(\w+)" data-domain="([^"]+)" data-name="([^"]+)"', html)
    exact = f"child@sha256:{SHA256}"
    assert asked == [("srt", exact, "clip-child.srt"), ("vtt", exact, "clip-child.vtt")]
    assert "data-domain" not in downloads(transcript("red"), "clip")


def test_names_are_never_html() -> None:
    html = downloads(transcript("red", domain='"><script>'), '"><script>')
    assert "<script>" not in html
