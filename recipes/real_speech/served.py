"""The trained adapters in one running server: mixed batches of Dutch, Czech and the base, by HTTP.

The server is started as a user starts it. Its words are scored like those of the study, clip by clip.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from adapters_store.store import AdapterStore
from recipes.serving import running_server
from ssvd_asr.errors import SsvdError
from ssvd_asr.scoring import score

AT_ONCE = 12  # requests; so batches hold clips of all domains
CLIPS = 40  # of each test set
TIMEOUT_S = 600.0

Clip = dict[str, Any]


def served(base: str, data: Path, adapters: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Return a result for each test set and each of the domains that it was asked in.

    Args:
        adapters: the file of each domain, by the name of its corpus.
    """
    asked: list[tuple[str, str | None]] = [("asterisk", None)]
    for name in adapters:
        asked += [(name, None), (name, name)]
    clips = {name: _clips(data / name / "test.jsonl") for name, _ in asked}
    with tempfile.TemporaryDirectory() as folder:
        store = AdapterStore(Path(folder))
        for name, path in adapters.items():
            store.publish(name, path)
        with running_server("--base", base, SSVD_STORE=folder) as address:
            # One clip of each set and domain after the other, so that neighbours differ.
            turns = zip_longest(*([(name, domain, clip) for clip in clips[name]] for name, domain in asked))
            requests = [request for request in chain.from_iterable(turns) if request is not None]
            began = time.monotonic()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                replies = list(pool.map(lambda each: _ask(address, *each), requests))
            wall_s = time.monotonic() - began
    audio_s = sum(clip["duration"] for _, _, clip in requests)
    return [
        {
            "key": f"served/{name}/{domain or 'base'}",
            **_figures([
                (clip, reply)
                for (of, by, clip), reply in zip(requests, replies, strict=True)
                if (of, by) == (name, domain)
            ]),
            "real_time_factor": wall_s / audio_s,
        }
        for name, domain in asked
    ]  # fmt: skip


def _clips(manifest: Path) -> list[Clip]:
    lines = manifest.read_text(encoding="utf-8").splitlines()[:CLIPS]
    return [json.loads(line) for line in lines]


def _figures(pairs: Sequence[tuple[Clip, dict[str, Any]]]) -> dict[str, Any]:
    """Return the WER, and the digest that made every reply."""
    found = score([clip["text"] for clip, _ in pairs], [reply["text"] for _, reply in pairs])
    made_by = {reply["ssvd"]["adapter_sha256"] for _, reply in pairs}
    if len(made_by) != 1:
        raise SsvdError(f"replies of one domain were made by {len(made_by)} adapters")
    return {"wer": found.wer, "cer": found.cer, "utterances": len(pairs), "adapter_sha256": made_by.pop()}


def _ask(address: str, _: str, domain: str | None, clip: Clip) -> dict[str, Any]:
    import httpx

    with open(clip["audio"], "rb") as audio:
        reply = httpx.post(
            f"{address}/v1/audio/transcriptions",
            files={"file": audio},
            data={"language": clip["language"], **({} if domain is None else {"domain": domain})},
            timeout=TIMEOUT_S,
        )
    if reply.status_code != 200:
        raise SsvdError(f"{clip['id']}: {reply.text}")
    return dict(reply.json())
