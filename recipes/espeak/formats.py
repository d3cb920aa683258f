"""Word errors of each response format, asked of the HTTP API itself.

    python -m recipes.espeak.formats --data data/espeak --utterances 40

It prints JSON: WER by domain and format. It imports only what older versions of the server have too, so that
`true_out` can run this file with an older checkout and compare.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from server.app import create_app
from server.settings import ServerSettings
from ssvd_asr.parser import CommandParser
from ssvd_asr.scoring import score

FORMATS = ("json", "text", "verbose_json", "srt", "vtt")
DOMAINS = ("adult", "child", "scottish")
BASE = "owsm-nano"
CUE = re.compile(r"^(WEBVTT|\d+|.*-->.*)$")  # lines of subtitles that are not text


def words_of(kind: str, reply: str) -> str:
    """Return the text of a reply."""
    if kind in ("json", "verbose_json"):
        return str(json.loads(reply)["text"])
    if kind == "text":
        return reply
    return " ".join(line for line in reply.splitlines() if not CUE.match(line))


def measure(client: TestClient, corpus: Path, domain: str, first: int) -> dict[str, float | None]:
    """Return the WER by format, None for a format that this server refuses."""
    lines = (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[:first]
    entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
    model = BASE if domain == "adult" else f"{BASE}:{domain}"
    found: dict[str, float | None] = {}
    for kind in FORMATS:
        said: list[str] = []
        for entry in entries:
            audio = (corpus / entry["audio"]).read_bytes()
            reply = client.post(
                "/v1/audio/transcriptions",
                files={"file": (Path(entry["audio"]).name, audio)},
                data={"model": model, "response_format": kind},
            )
            if reply.status_code in (400, 422):
                break
            reply.raise_for_status()
            said.append(words_of(kind, reply.text))
        whole = len(said) == len(entries)
        found[kind] = score([entry["text"] for entry in entries], said).wer if whole else None
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/espeak"))
    parser.add_argument("--utterances", type=int, default=40, help="the first of each test set")
    arguments = parser.parse_args(argv)
    with TestClient(create_app(ServerSettings(ui=False, auth="off"))) as client:
        found = {
            domain: measure(client, arguments.data / f"{domain}-test", domain, arguments.utterances)
            for domain in DOMAINS
        }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
