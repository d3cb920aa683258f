"""Golden transcripts of packaged clips by the packaged base and its domains, for a regression test.

    python -m recipes.espeak.goldens          # after replacing the base, an adapter or the samples

tests/golden/README.md describes the file's fields.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from adapters_store.packaged import PACKAGED, builtins
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.decoder import OwsmDecoder
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.options import GREEDY
from ssvd_asr.parser import CommandParser
from ssvd_asr.transcription import Transcript, transcribe

COMMAND = "python -m recipes.espeak.goldens"
GOLDENS = Path(__file__).parents[2] / "tests" / "golden" / "transcripts.json"
CLIPS = 12  # of each domain
MIN_MARGIN = 1e-3  # nats: a token chosen by less may differ on another machine

Cores = Mapping[str, torch.Tensor]


class Listener:
    """The packaged base in float32, with its domains."""

    def __init__(self, device: str = "cpu") -> None:
        """Load the base and its built-in domains."""
        self.base: BaseModel = load_base(device=device, dtype="float32")
        factors = factorize(self.base, progress=False)
        self._adapted = adapt(self.base.network, factors)
        self.versions = builtins(PACKAGED)
        self._cores: dict[str | None, Cores | None] = {None: None}
        for domain, version in self.versions.items():
            loaded = load_adapter(version.path, self.base, factors)
            with torch.no_grad():
                self._cores[domain] = loaded.adapter.to(self.base.device).cores(self.base.dtype)

    def hear(self, audio: Sequence[str], domain: str | None) -> list[Transcript]:
        """Transcribe clips named relative to the folder of built-ins. Domain None is the base."""
        waves = [read_audio(PACKAGED / name) for name in audio]
        return transcribe(self.base, waves, adapted=self._adapted, cores=self._cores[domain], options=GREEDY)

    @torch.no_grad()
    def distance(self, audio: str, domain: str | None, a: Sequence[int], b: Sequence[int]) -> float:
        """Return the log-probability of `a` minus that of `b` (token ids) at the first token that differs."""
        tokens = self.base.tokens
        a, b = [*a, tokens.eos], [*b, tokens.eos]
        place = next(i for i, (one, other) in enumerate(zip(a, b, strict=False)) if one != other)
        with self._adapted.using(self._cores[domain]):
            encoded = self.base.encode([read_audio(PACKAGED / audio)])
            with OwsmDecoder(self.base.network.decoder, encoded) as decoder:
                prefix = [*tokens.prompt_ids(Prompt("<eng>")), *a[:place]]
                scores = decoder.read([prefix])[0]
        return float(scores[a[place]] - scores[b[place]])


def goldens(listener: Listener) -> dict[str, Any]:
    """Return the file's content: each domain's first CLIPS test clips with every margin at least MIN_MARGIN.

    Raises SystemExit if a domain has fewer such clips.
    """
    found: dict[str, Any] = {"command": COMMAND, "base_digest": listener.base.digest, "domains": {}}
    for domain, version in listener.versions.items():
        lines = (PACKAGED / domain / "samples" / "test.jsonl").read_text(encoding="utf-8").splitlines()
        audio = [f"{domain}/samples/{json.loads(line)['audio']}" for line in lines]
        by_base, by_domain = listener.hear(audio, None), listener.hear(audio, domain)
        clear = [
            {"audio": name, "base": _entry(base), "domain": _entry(adapted)}
            for name, base, adapted in zip(audio, by_base, by_domain, strict=True)
            if min(base.hypothesis.margin, adapted.hypothesis.margin) >= MIN_MARGIN
        ]
        if len(clear) < CLIPS:
            raise SystemExit(
                f"{domain}: {len(clear)} clips decided by {MIN_MARGIN} or more; {CLIPS} are needed"
            )
        found["domains"][domain] = {"adapter_sha256": version.sha256, "clips": clear[:CLIPS]}
    return found


def _entry(transcript: Transcript) -> dict[str, Any]:
    hypothesis = transcript.hypothesis
    return {
        "text": transcript.text,
        "token_ids": list(hypothesis.token_ids),
        "margin": round(hypothesis.margin, 4),
    }


def main(argv: list[str] | None = None) -> int:
    """Write the golden file."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=GOLDENS)
    args = parser.parse_args(argv)
    text = json.dumps(goldens(Listener()), indent=1)
    args.out.write_text(_short_lists(text) + "\n", encoding="utf-8")
    return 0


def _short_lists(text: str) -> str:
    """Return the JSON text with each list of numbers on one line."""
    return re.sub(r"\[[\d\s,]*\]", lambda found: " ".join(found.group().split()), text)


if __name__ == "__main__":
    raise SystemExit(main())
