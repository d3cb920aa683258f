"""HTML of a transcript's downloads: txt and json from the reply at hand, srt and vtt asked for when wanted.

The bytes are the server's own. Only the server writes subtitles, and each is another transcription.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape

from ui.auto import AUTO
from ui.client import Transcript

SUBTITLE_FORMATS = ("srt", "vtt")


def downloads(transcript: Transcript, recording: str) -> str:
    """Return the row of downloads. `recording` is the recording's name, without a suffix."""
    stem = f"{recording}-{_made_by(transcript)}"
    links = [_button(transcript, each, f"{stem}.{each}") for each in SUBTITLE_FORMATS]
    links.append(_link("txt", f"{stem}.txt", f"{transcript.text}\n".encode(), "text/plain"))
    links.append(_link("json", f"{stem}.json", transcript.reply, "application/json"))
    return f'<p class="ssvd-files">Download {" ".join(links)}</p>'


def _made_by(transcript: Transcript) -> str:
    return AUTO if transcript.mixed else transcript.domain or "base"


def _button(transcript: Transcript, subtitle_format: str, name: str) -> str:
    adapter = transcript.adapter
    domain = "" if adapter is None else f' data-domain="{escape(adapter)}"'
    return (
        f'<button type="button" data-format="{subtitle_format}"{domain} data-name="{escape(name)}" '
        f'title="Transcribe again, as {subtitle_format}">{subtitle_format}</button>'
    )


def _link(label: str, name: str, content: bytes, media_type: str) -> str:
    data = b64encode(content).decode()
    return f'<a download="{escape(name)}" href="data:{media_type};charset=utf-8;base64,{data}">{label}</a>'
