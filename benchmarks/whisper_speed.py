"""Speed of Whisper here, in transformers and in faster-whisper, on the same clips and weights, greedily.

    python -m venv var/faster-whisper && var/faster-whisper/bin/pip install faster-whisper
    python -m benchmarks.whisper_speed --base FOLDER --faster-whisper var/faster-whisper --clock cpu

Clips of librivox, asterisk and fillets-nl are decoded alone and in batches of 8, and clips of one set joined
to recordings of about --recording-s seconds are decoded whole, each side in its own way. All sides use one
thread of one process, and take turns in every round. `ours_faster` is the median over the rounds of this
side's seconds over ours, in float32. A run that was cut off goes on with the same command.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.real_clips import Clip, add_base_and_sets, clips_of
from benchmarks.report import RESULTS, Timing, parser, side_by_side, version_of, write
from benchmarks.whisper_sides import FasterWhisper, Ours, Side, Transformers, convert, use_faster_whisper
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.base.window import FloatArray
from ssvd_asr.device import forbid_tf32
from ssvd_asr.scoring import score

CLIPS = {"librivox": 4, "asterisk": 6, "fillets-nl": 6}  # of each set, decoded as clips
RECORDED = ("asterisk", "fillets-nl")  # sets whose clips make a recording
PAUSE_S = 0.5  # between the clips of a recording
NAME = "whisper-speed"
BATCHED = " batched"  # ends the name of a side that only decodes recordings in another way


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write the table."""
    arguments = _parse(argv)
    torch.set_num_threads(1)
    forbid_tf32()
    with TemporaryDirectory() as folder:
        sides = _sides(arguments, Path(folder))
        about = {
            "base": arguments.base.absolute().name, "p": arguments.p, "repeats": arguments.repeats,
            "clock": arguments.clock, "transformers": version_of("transformers"),
            "faster_whisper": version_of("faster-whisper"), "ctranslate2": version_of("ctranslate2"),
        }  # fmt: skip
        write(
            NAME, _rows(arguments, sides, _known(arguments, about)), out=arguments.out, quick=arguments.quick,
            **about,
        )  # fmt: skip


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    add_base_and_sets(made)
    made.add_argument("--faster-whisper", type=Path, help="environment that has it; else it is left out")
    made.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    made.add_argument("--domains", type=int, default=8, help="random domains of the batches of several")
    made.add_argument("--p", type=float, default=0.4, help="share of the directions that the domains use")
    made.add_argument("--recording-s", type=float, default=60.0)
    made.add_argument("--repeats", type=int, default=3)
    return made.parse_args(argv)


def _sides(arguments: argparse.Namespace, folder: Path) -> Mapping[str, Side]:
    made: dict[str, Side] = {
        "ours": Ours(arguments.base),
        "ours bfloat16": Ours(arguments.base, dtype="bfloat16"),
        f"ours, {arguments.domains} domains": Ours(arguments.base, domains=arguments.domains, p=arguments.p),
        "transformers": Transformers(arguments.base),
    }
    if arguments.faster_whisper is not None:
        use_faster_whisper(arguments.faster_whisper)
        converted = convert(arguments.base, folder / "converted")
        for kind in ("float32", "int8"):
            made[f"faster-whisper {kind}"] = FasterWhisper(converted, kind)
            made[f"faster-whisper {kind}{BATCHED}"] = FasterWhisper(converted, kind, batched=True)
    return made


def _known(arguments: argparse.Namespace, about: Mapping[str, object]) -> list[dict[str, object]]:
    """Return the rows of a run of the same command that was cut off."""
    path = (arguments.out or RESULTS) / f"{NAME}-cpu.json"
    if arguments.quick or not path.is_file():
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    same = all(record.get(name) == value for name, value in about.items())
    return list(record["rows"]) if same and not record["complete"] else []


def _rows(
    arguments: argparse.Namespace, sides: Mapping[str, Side], known: Sequence[dict[str, object]]
) -> Iterator[dict[str, object]]:
    """Yield a row for each piece of work and side; those of a work that is known are not measured again."""
    works: dict[str, Callable[[], Iterator[dict[str, object]]]] = {
        f"clips, batch {batch}": partial(_clips, arguments, sides, batch) for batch in arguments.batches
    }
    for name in () if arguments.quick else RECORDED:
        works[f"recording, {name}"] = partial(_recording, arguments, sides, name)
    expected = {work: sum(row["work"] == work for row in known) for work in works}
    for work, measure in works.items():
        if expected[work]:
            yield from (row for row in known if row["work"] == work)
        else:
            yield from [{"work": work, **row} for row in measure()]  # whole, or not at all


def _clips(
    arguments: argparse.Namespace, sides: Mapping[str, Side], batch: int
) -> Iterator[dict[str, object]]:
    clips = [
        clip
        for name, most in CLIPS.items()
        if (arguments.data / name).is_dir()
        for clip in clips_of(arguments.data, [name], 1 if arguments.quick else most)
    ]
    waves = [clip.wave() for clip in clips]
    runs = {
        name: partial(_in_batches, side, waves, clips, batch)
        for name, side in sides.items()
        if not name.endswith(BATCHED) and (batch > 1 or not name.startswith("ours,"))
    }
    texts = [clip.utterance.text for clip in clips]
    for name in () if arguments.quick else runs:  # what is made at a first call is not timed
        _in_batches(sides[name], waves[:batch], clips[:batch], batch)
    yield from _timed(arguments, runs, texts, sum(map(len, waves)) / SAMPLE_RATE, len(clips))


def _in_batches(side: Side, waves: Sequence[FloatArray], clips: Sequence[Clip], batch: int) -> list[str]:
    texts: list[str] = []
    for first in range(0, len(waves), batch):
        chosen = slice(first, first + batch)
        texts += side.batch(waves[chosen], [clip.code for clip in clips[chosen]])
    return texts


def _recording(
    arguments: argparse.Namespace, sides: Mapping[str, Side], name: str
) -> Iterator[dict[str, object]]:
    pause = np.zeros(int(PAUSE_S * SAMPLE_RATE), dtype=np.float32)
    parts: list[FloatArray] = []
    said: list[str] = []
    clips = clips_of(arguments.data, [name])
    while clips and sum(map(len, parts)) < arguments.recording_s * SAMPLE_RATE:
        clip = clips.pop(0)
        parts += [clip.wave(), pause]
        said.append(clip.utterance.text)
    wave = np.concatenate(parts)
    code = clip.code
    runs = {
        each: partial(_alone, side, wave, code)
        for each, side in sides.items()
        if not each.startswith("ours,")
    }
    yield from _timed(arguments, runs, [" ".join(said)], len(wave) / SAMPLE_RATE, len(said))


def _alone(side: Side, wave: FloatArray, code: str) -> list[str]:
    return [side.recording(wave, code)]


def _timed(
    arguments: argparse.Namespace,
    runs: Mapping[str, Callable[[], list[str]]],
    said: Sequence[str],
    audio_s: float,
    clips: int,
) -> Iterator[dict[str, object]]:
    found: dict[str, list[str]] = {}

    def kept(name: str) -> None:
        found[name] = runs[name]()

    timed = side_by_side(
        {name: partial(kept, name) for name in runs}, 1 if arguments.quick else arguments.repeats,
        warm_up=0, clock=arguments.clock,
    )  # fmt: skip
    ours: Timing = timed["ours"]
    for name, timing in timed.items():
        yield {
            "side": name, "clips": clips, "audio_s": audio_s, "seconds": timing.median_s,
            "real_time_factor": timing.median_s / audio_s, "ours_faster": ours.times_faster_than(timing),
            "noise": timing.spread, "wer": score(said, found[name]).wer,
        }  # fmt: skip


if __name__ == "__main__":
    main()
