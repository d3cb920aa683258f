"""Errors and time of each search, on the test sets of owsm-nano's domains.

    python -m benchmarks.search --data data/espeak                  # docs/results/search-owsm-nano-cpu.json
    python -m benchmarks.search --data data/espeak --split valid    # from which DOUBT_NATS was chosen

The base decodes `adult`, the packaged adapters `child` and `scottish`. `encode_s` is the encoder's time and
`decode_s` that of everything after it. `checked` decodes greedily, and a row again by a beam with CTC if
CTC's best path is more probable than the words by more than the given nats. `again` is the share of rows
found by a beam. `ctc rescored` scores the best sequences of CTC's prefix search by one pass of the decoder.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor

from adapters_store.packaged import PACKAGED, builtins
from benchmarks.report import parser, write
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.best_path import blank_of
from ssvd_asr.decoding.decode import decode
from ssvd_asr.decoding.options import GREEDY, DecodingOptions
from ssvd_asr.device import resolve_device
from ssvd_asr.scoring import score

BATCH = 16
THRESHOLDS = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 15.0)  # nats, tried on the validation sets
# Of `ctc rescored`. In frames whose blank has a probability above SILENT, no token is tried.
PREFIXES, TOKENS_A_FRAME, SILENT = 8, 8, 0.99
CTC_SHARE = 0.3  # weight of CTC's score; the decoder's has the rest

Row = dict[str, object]
Decode = Callable[[Tensor], list[str]]


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write the table."""
    arguments = _parse(argv)
    device = resolve_device(arguments.device)
    base = load_base(device=str(device), dtype="float32")
    name = "search" if arguments.split == "test" else f"search-{arguments.split}"
    write(
        f"{name}-{base.name}", _measure(base, arguments), device=device, out=arguments.out,
        quick=arguments.quick, split=arguments.split, clock=arguments.clock, batch=BATCH,
    )  # fmt: skip


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--data", type=Path, default=Path("data/espeak"), help="folder of the corpora")
    made.add_argument("--split", choices=("test", "valid"), default="test")
    made.add_argument("--utterances", type=int, help="of each domain; default all, quick 6")
    arguments = made.parse_args(argv)
    arguments.utterances = arguments.utterances or (6 if arguments.quick else None)
    return arguments


def _measure(base: BaseModel, arguments: argparse.Namespace) -> Iterator[Row]:
    factors = factorize(base, progress=False)
    adapted = adapt(base.network, factors)
    for domain in ("adult", "child", "scottish"):
        folder = arguments.data / f"{domain}-{arguments.split}"
        lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines][: arguments.utterances]
        entries.sort(key=lambda entry: len(entry["text"]))
        cores = None
        if domain != "adult":
            loaded = load_adapter(builtins(PACKAGED)[domain].path, base, factors)
            with torch.no_grad():
                cores = loaded.adapter.to(base.device).cores(base.dtype)

        def opened(_: Sequence[int], cores: object = cores) -> AbstractContextManager[object]:
            return adapted.using(cores)  # type: ignore[arg-type]

        spent: dict[str, float] = defaultdict(float)
        again: dict[str, int] = defaultdict(int)
        said: dict[str, list[str]] = defaultdict(list)
        for first in range(0, len(entries), BATCH):
            waves = [read_audio(folder / entry["audio"]) for entry in entries[first : first + BATCH]]
            began = time.perf_counter()
            with opened(()):
                encoded = base.encode(waves)
            spent["encode"] += time.perf_counter() - began
            prompts = [Prompt()] * len(waves)
            for name, options in _ways(arguments.split).items():
                began = time.perf_counter()
                found = decode(base, encoded, prompts, options, opened)
                spent[name] += time.perf_counter() - began
                said[name] += [each.hypothesis.text for each in found]
                again[name] += sum(each.search == "beam" for each in found)
            began = time.perf_counter()
            with opened(()), torch.no_grad():
                said["ctc rescored"] += rescored(base, encoded)
            spent["ctc rescored"] += time.perf_counter() - began
        references = [entry["text"] for entry in entries]
        for name, texts in said.items():
            found_score = score(references, texts)
            yield {
                "domain": domain, "search": name, "utterances": len(entries), "wer": 100 * found_score.wer,
                "decode_s": spent[name], "encode_s": spent["encode"],
                "times_greedy": (spent[name] + spent["encode"]) / (spent["greedy"] + spent["encode"]),
                "again": again[name] / len(entries),
            }  # fmt: skip


def _ways(split: str) -> dict[str, DecodingOptions]:
    """Return the options of each search by name."""
    checked = THRESHOLDS if split == "valid" else (DecodingOptions.doubt_nats,)
    beams = [(size, weight) for size in (2, 3, 5) for weight in (0.3, 0.5)]
    return {
        "greedy": GREEDY,
        **{f"checked, {nats:g} nats": DecodingOptions(doubt_nats=nats) for nats in checked},
        "beam 5, no CTC": DecodingOptions("beam", 5, 0.0),
        **{f"beam {size}, CTC {weight}": DecodingOptions("beam", size, weight) for size, weight in beams},
        "ctc best path": DecodingOptions("ctc"),
    }


def rescored(base: BaseModel, encoded: Tensor) -> list[str]:
    """Return each row's (B, T, d) best of CTC's sequences, scored by CTC and one pass of the decoder."""
    head = base.ctc_head
    assert head is not None
    table = torch.log_softmax(head(encoded).float(), dim=-1)  # (B, T, V)
    texts = []
    for row, scores in enumerate(table):
        found = prefixes(scores, blank_of(base.tokens))
        attention = _attention(base, encoded[row : row + 1], [tokens for tokens, _ in found])
        totals = [
            CTC_SHARE * ctc_score + (1 - CTC_SHARE) * by_decoder
            for (_, ctc_score), by_decoder in zip(found, attention, strict=True)
        ]
        texts.append(base.tokens.decode(found[max(range(len(found)), key=totals.__getitem__)][0]))
    return texts


def prefixes(scores: Tensor, blank: int) -> list[tuple[tuple[int, ...], float]]:
    """Return the best sequences of CTC's prefix beam search over scores (T, V), with log-probabilities.

    Source: Hannun et al., "First-pass large vocabulary continuous speech recognition using bi-directional
    recurrent DNNs" (2014), algorithm 1, without a language model.
    """
    best, ids = scores.topk(TOKENS_A_FRAME, dim=-1)
    blanks = scores[:, blank].tolist()
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}  # ending in a blank, or not
    for silent, frame, tokens in zip(blanks, best.tolist(), ids.tolist(), strict=True):
        if silent > math.log(SILENT):
            beam = {prefix: (_add(*both) + silent, -math.inf) for prefix, both in beam.items()}
            continue
        after: dict[tuple[int, ...], tuple[float, float]] = {}

        def grow(prefix: tuple[int, ...], place: int, gain: float, after: dict = after) -> None:  # type: ignore[type-arg]
            known = list(after.get(prefix, (-math.inf, -math.inf)))
            known[place] = _add(known[place], gain)
            after[prefix] = (known[0], known[1])

        for prefix, (ended, open_) in beam.items():
            grow(prefix, 0, _add(ended, open_) + silent)
            for token, gain in zip(tokens, frame, strict=True):
                if token == blank:
                    continue
                if prefix and token == prefix[-1]:
                    grow(prefix, 1, open_ + gain)
                    grow((*prefix, token), 1, ended + gain)
                else:
                    grow((*prefix, token), 1, _add(ended, open_) + gain)
        kept = sorted(after, key=lambda prefix: -_add(*after[prefix]))[:PREFIXES]
        beam = {prefix: after[prefix] for prefix in kept}
    return [(prefix, _add(*both)) for prefix, both in beam.items()]


def _add(one: float, other: float) -> float:
    """Return log(exp(one) + exp(other))."""
    high, low = (one, other) if one > other else (other, one)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _attention(base: BaseModel, encoded: Tensor, said: Sequence[tuple[int, ...]]) -> list[float]:
    """Return the decoder's log-probability of each sequence, by one pass over encoder output (1, T, d)."""
    prompt, eos = base.tokens.prompt_ids(Prompt()), base.tokens.eos
    longest = max(map(len, said))
    rows = [[*prompt, *tokens, *[eos] * (longest - len(tokens))] for tokens in said]
    lengths = torch.tensor([len(prompt) + len(tokens) for tokens in said], device=encoded.device)
    heard = encoded.expand(len(said), -1, -1)
    frames = torch.full((len(said),), encoded.size(1), device=encoded.device)
    logits, _ = base.network.decoder(heard, frames, torch.tensor(rows, device=encoded.device), lengths)
    scores = torch.log_softmax(logits.float(), dim=-1)
    totals = []
    for row, tokens in enumerate(said):
        places = torch.arange(len(prompt) - 1, len(prompt) + len(tokens), device=encoded.device)
        totals.append(float(scores[row, places, torch.tensor([*tokens, eos], device=encoded.device)].sum()))
    return totals


if __name__ == "__main__":
    main()
