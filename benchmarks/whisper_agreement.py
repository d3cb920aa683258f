"""Token-by-token comparison of this project's Whisper with transformers' `generate` on real speech.

Greedy on whole test sets, beam 5 on about --beam-clips clips spread over them. Both sides decode in float32
with the same weights, each clip alone on transformers' side and in batches on ours, each from its own
features.

Every decoding is kept in --kept as soon as it is there, so that a run that was cut off goes on, and one side
alone can be decoded anew after its code has changed (--again ours). For each clip whose tokens differ, the
file of results holds both texts and `gap`: by how much our network prefers our tokens, in natural
log-probability. For greedy it is the distance of the two tokens at the first difference, for the beam that of
the scores by length. Below 1e-4, rounding may have decided (`tie`).
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.real_clips import Clip, add_base_and_sets, clips_of
from benchmarks.report import parser, version_of, write
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding.options import GREEDY, DecodingOptions
from ssvd_asr.device import forbid_tf32, resolve_device
from ssvd_asr.transcription import transcribe

SETS = (
    "librivox", "asterisk", "fillets-nl", "fillets-cs",
    "tuxpaint-be", "tuxpaint-bg", "tuxpaint-ca", "tuxpaint-da", "tuxpaint-el", "tuxpaint-en", "tuxpaint-es",
    "tuxpaint-fr", "tuxpaint-nl", "tuxpaint-pt_BR", "tuxpaint-ro", "tuxpaint-ru",
)  # fmt: skip
BEAMS: Mapping[str, int] = {"greedy": 1, "beam5": 5}
SIDES = ("transformers", "ours")
BATCH = 8
TIE = 1e-4
QUICK = 2  # clips of each set

Kept = dict[tuple[str, str, str], list[int]]  # side, mode and clip: the tokens


def main(argv: Sequence[str] | None = None) -> None:
    """Decode what is not kept yet, compare, and write the table."""
    arguments = _parse(argv)
    device = resolve_device(arguments.device)
    forbid_tf32()
    base = load_base(arguments.base, device=str(device), dtype="float32")
    jobs = list(_jobs(arguments))
    kept = _read(arguments.kept, arguments.again)
    with arguments.kept.open("a", encoding="utf-8") as file:
        for side in arguments.sides:
            for key, tokens in _decoded(side, base, arguments.base, jobs, kept):
                kept[key] = tokens
                file.write(json.dumps([*key, tokens]) + "\n")
                file.flush()
    if set(arguments.sides) == set(SIDES):
        rows = (_compare(base, mode, name, clips, kept) for mode, name, clips in jobs)
        write(
            f"whisper-agreement-{base.name}", rows, device=device, out=arguments.out, quick=arguments.quick,
            base=base.name, base_digest=base.digest, transformers=version_of("transformers"), tie=TIE,
        )  # fmt: skip


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    add_base_and_sets(made)
    made.add_argument("--sets", nargs="+", default=list(SETS))
    made.add_argument("--modes", nargs="+", choices=BEAMS, default=list(BEAMS))
    made.add_argument("--beam-clips", type=int, default=200, help="clips of all sets together for the beam")
    made.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="compares if both")
    made.add_argument("--kept", type=Path, default=Path("var/whisper-agreement.jsonl"), help="all decodings")
    made.add_argument("--again", nargs="*", choices=SIDES, default=[], help="sides to decode anew")
    arguments = made.parse_args(argv)
    arguments.kept.parent.mkdir(parents=True, exist_ok=True)
    return arguments


def _jobs(arguments: argparse.Namespace) -> Iterator[tuple[str, str, list[Clip]]]:
    """Yield mode, set and clips."""
    for mode in arguments.modes:
        for name in arguments.sets:
            clips = clips_of(arguments.data, [name])
            if mode != "greedy":
                share = arguments.beam_clips / len(clips_of(arguments.data, arguments.sets))
                clips = clips_of(arguments.data, [name], max(1, round(share * len(clips))))
            yield mode, name, clips[:QUICK] if arguments.quick else clips


def _read(path: Path, again: Sequence[str]) -> Kept:
    """Return the decodings of a file, and drop those of sides that are decoded anew."""
    if not path.is_file():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line[0] not in again]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return {(side, mode, clip): tokens for side, mode, clip, tokens in lines}


def _decoded(
    side: str, base: BaseModel, folder: Path, jobs: Sequence[tuple[str, str, list[Clip]]], kept: Kept
) -> Iterator[tuple[tuple[str, str, str], list[int]]]:
    """Yield what is not kept yet of one side."""
    judge = None
    with tqdm(total=sum(len(clips) for _, _, clips in jobs), desc=side) as bar:
        for mode, _, clips in jobs:
            left = [clip for clip in clips if (side, mode, clip.utterance.id) not in kept]
            bar.update(len(clips) - len(left))
            for first in range(0, len(left), BATCH):
                chosen = left[first : first + BATCH]
                if side == "ours":
                    found = _ours(base, mode, chosen)
                else:
                    judge = judge or Transformers(folder, base)
                    found = [judge.tokens(mode, clip) for clip in chosen]
                for clip, tokens in zip(chosen, found, strict=True):
                    yield (side, mode, clip.utterance.id), tokens
                bar.update(len(chosen))


def _ours(base: BaseModel, mode: str, clips: Sequence[Clip]) -> list[list[int]]:
    options = GREEDY if mode == "greedy" else DecodingOptions("beam", beam_size=BEAMS[mode])
    found = transcribe(
        base,
        [clip.wave() for clip in clips],
        prompts=[Prompt(clip.language) for clip in clips],
        options=options,
    )
    return [list(each.hypothesis.token_ids) for each in found]


class Transformers:
    """transformers' own features, network and `generate`."""

    def __init__(self, folder: Path, base: BaseModel) -> None:
        from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

        self._extractor = WhisperFeatureExtractor.from_pretrained(folder)
        network = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        self._network: Any = network.eval().to(base.device)
        self._eos = base.tokens.eos
        self._device = base.device

    def tokens(self, mode: str, clip: Clip) -> list[int]:
        """Return a clip's tokens without the closing one."""
        heard = self._extractor(clip.wave(), sampling_rate=16_000, return_tensors="pt").input_features
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ids = self._network.generate(
                heard.to(self._device), language=clip.code, task="transcribe", do_sample=False,
                num_beams=BEAMS[mode],
            )  # fmt: skip
        return [index for index in ids[0].tolist() if index != self._eos]


def _compare(base: BaseModel, mode: str, name: str, clips: Sequence[Clip], kept: Kept) -> dict[str, object]:
    """Return a row that counts the clips with the same tokens on both sides, and tells the differences."""
    differences = []
    for clip in clips:
        theirs, ours = (kept[side, mode, clip.utterance.id] for side in SIDES)
        if theirs != ours:
            gap = _gap(base, mode, clip, ours, theirs)
            differences.append({
                "clip": clip.utterance.id, "gap": gap, "tie": gap is not None and abs(gap) < TIE,
                "ours": base.tokens.decode(ours), "transformers": base.tokens.decode(theirs),
            })  # fmt: skip
    ties = sum(1 for each in differences if each["tie"])
    return {
        "mode": mode, "set": name, "clips": len(clips), "same": len(clips) - len(differences),
        "ties": ties, "differ": len(differences) - ties, "differences": differences,
    }  # fmt: skip


@torch.no_grad()
def _gap(base: BaseModel, mode: str, clip: Clip, ours: Sequence[int], theirs: Sequence[int]) -> float | None:
    """Return by how much our network prefers our tokens. None for more tokens than it has positions."""
    prompt = base.tokens.prompt_ids(Prompt(clip.language))
    sides = [list(ours), list(theirs)]
    differing = (place for place, pair in enumerate(zip(*sides, strict=False)) if pair[0] != pair[1])
    first = next(differing, min(map(len, sides)))  # or where the one ends
    if mode == "greedy":
        sides = [side[: first + 1] for side in sides]
    if max(map(len, sides)) > base.most_tokens(prompt, 0):
        return None
    encoded = base.encode([clip.wave()] * 2)
    listened = base.listen(encoded, [prompt] * 2, sides)
    assert listened is not None
    scores = [each.log_probs for each in listened]  # of the tokens and the closing one
    if mode == "greedy":
        return float(scores[0][first] - scores[1][first])
    by_length = [float(each.sum()) / len(each) for each in scores]
    return by_length[0] - by_length[1]


if __name__ == "__main__":
    main()
