"""Token-by-token comparison of this project's decoding with ESPnet's Speech2Text on a whole test set.

Greedy and beam search are compared. With --domain, Speech2Text gets the base with the domain's adapter merged
into its weights, and ours the base with the adapter beside it.

Ours decodes batches, ESPnet's __call__ one utterance after the other, both in float32 on the same weights.
If tokens differ, the hypothesis's `margin` is the distance between the scores of the chosen token and of the
next one. Below 1e-4, rounding may have decided (`tie`). Above it, the two searches differ (`differ`).
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from adapters_store.store import AdapterStore
from benchmarks.decode import MODES, Mode
from benchmarks.report import parser, write
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.merge import merge_adapter
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import DEFAULT_LIMITS
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.window import FloatArray
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.decoding.options import GREEDY, DecodingOptions
from ssvd_asr.device import forbid_tf32, resolve_device
from ssvd_asr.manifests.audio import read_utterance
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance
from ssvd_asr.transcription import transcribe

BATCH = 16
TIE = 1e-4
QUICK = 8  # utterances


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write the table."""
    arguments = _parse(argv)
    device = resolve_device(arguments.device)
    forbid_tf32()
    domain = arguments.domain
    data = arguments.data or Path("data/espeak") / f"{domain or 'adult'}-test" / "manifest.jsonl"
    waves = list(_waves(data))[: QUICK if arguments.quick else None]
    base = load_base(arguments.base, device=str(device), dtype="float32")
    theirs, options = (base, {}) if domain is None else _with_adapter(base, domain)
    with TemporaryDirectory() as folder:
        config, checkpoint = theirs.export(Path(folder))
        rows = [
            _compare(
                base, MODES[name], waves, _speech2text(config, checkpoint, MODES[name], device.type), options
            )
            for name in arguments.modes
        ]
    write(
        f"agreement-{base.name}" + (f"-{domain}" if domain else ""), rows, device=device,
        out=arguments.out, quick=arguments.quick, base=base.name, base_digest=base.digest, domain=domain,
        data=data.parent.name, tie=TIE,
    )  # fmt: skip


def _with_adapter(base: BaseModel, domain: str) -> tuple[BaseModel, dict[str, Any]]:
    """Return the merged base and `transcribe`'s arguments for the same domain. Adapts `base` in place."""
    factors = factorize(base)
    loaded = load_adapter(AdapterStore().resolve(domain).read_bytes(), base, factors)
    merged = merge_adapter(base, loaded, factors)
    cores = loaded.adapter.to(base.device).cores(base.dtype)
    return merged, {"adapted": adapt(base.network, factors), "cores": cores}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--base", default="owsm-nano")
    made.add_argument("--domain", help="of the store: with its adapter, merged for Speech2Text")
    made.add_argument("--data", type=Path, help="manifest; default: the domain's test set, or adult's")
    made.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    return made.parse_args(argv)


def _waves(manifest: Path) -> Iterator[FloatArray]:
    for entry in read_entries(manifest):
        if not isinstance(entry, Utterance):
            raise SystemExit(f"{manifest}: {entry}: every utterance must be usable")
        yield read_utterance(entry, DEFAULT_LIMITS)


def _speech2text(config: Path, checkpoint: Path, mode: Mode, device: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from espnet2.bin.s2t_inference import Speech2Text

        return Speech2Text(
            config, checkpoint, device=device, beam_size=mode.beam_size, ctc_weight=mode.ctc_weight
        )


def _compare(
    base: BaseModel, mode: Mode, waves: Sequence[FloatArray], judge: Any, options: dict[str, Any]
) -> dict[str, object]:
    """Return a row that counts the utterances with the same tokens on both sides."""
    ours: list[Hypothesis] = []
    for start in range(0, len(waves), BATCH):
        batch = waves[start : start + BATCH]
        search = GREEDY if mode.beam_size == 1 else DecodingOptions("beam", mode.beam_size, mode.ctc_weight)
        found = transcribe(base, batch, options=search, **options)
        ours += [each.hypothesis for each in found]
    skipped = len(base.tokens.prompt_ids(Prompt())) - 1  # its tokens begin after <sos>
    same, ties, differ, deviation, closest = 0, 0, 0, 0.0, math.inf
    for hypothesis, wave in zip(ours, tqdm(waves, desc=mode.name), strict=True):
        _, _, ids, _, theirs = judge(wave)[0]
        said = tuple(index for index in ids[skipped:] if index != base.tokens.eos)
        closest = min(closest, hypothesis.margin)
        if hypothesis.token_ids == said:
            same += 1
            deviation = max(deviation, abs(hypothesis.score - float(theirs.score)))
        elif hypothesis.margin < TIE:
            ties += 1
        else:
            differ += 1
    return {
        "mode": mode.name, "beam_size": mode.beam_size, "ctc_weight": mode.ctc_weight,
        "utterances": len(waves), "same": same, "ties": ties, "differ": differ,
        "largest_score_deviation": deviation, "smallest_margin": closest,
    }  # fmt: skip


if __name__ == "__main__":
    main()
