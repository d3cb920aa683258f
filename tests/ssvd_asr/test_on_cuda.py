"""No tensor is left on the CPU where the base is on a GPU: words, mixtures, scores, merging, losses.

Where there is a GPU, the tests with DEVICES show more than these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from adapters_store.packaged import PACKAGED, builtins
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.merge import merge_adapter
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.basis.cache import factorize
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.decoding.options import CHECKED, DEFAULT, GREEDY, DecodingOptions
from ssvd_asr.errors import AdapterError
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.transcription import Transcript, transcribe
from tests.pretend_cuda import CUDA, Pretended, pretend_cuda
from tests.ssvd_asr.toy import train_at_random
from training.evaluate import evaluate
from training.loop.run import Session
from training.run_settings import RunSettings

pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: nothing need be pretended"),
    pytest.mark.filterwarnings("ignore"),  # transformers' own
]

CHILD = builtins(PACKAGED)["child"].path
CLIPS = sorted(CHILD.parent.glob("samples/child-test-*.opus"))[:3]
SEARCHES = [
    GREEDY,
    DecodingOptions("beam", beam_size=2),
    DecodingOptions("beam", beam_size=2, ctc_weight=0.3),
    CHECKED,
]


@dataclass(frozen=True)
class Subject:
    base: BaseModel
    factors: dict[str, LayerFactors]
    adapted: AdaptedModel
    stack: CoreStack

    @classmethod
    def of(cls, spec: str | Path, folder: Path, device: str) -> Subject:
        base = load_base(spec, device=device, dtype="float32")
        factors = factorize(base, folder, progress=False)
        adapted = adapt(base.network, factors)
        stack = CoreStack(adapted.layers, 3, max(factor.rank for factor in factors.values()))
        for slot in (1, 2):
            adapter = train_at_random(Adapter.new(factors, p=0.5), 0.02, slot)
            stack.write(slot, {name: core.detach() for name, core in adapter.cores().items()})
        return cls(base, factors, adapted, stack)

    def say(self, options: DecodingOptions = DEFAULT, **chosen: object) -> list[Transcript]:
        waves = [read_audio(path) for path in CLIPS]
        return transcribe(self.base, waves, adapted=self.adapted, options=options, word_times=True, **chosen)  # type: ignore[arg-type]


def timed(said: Transcript) -> list[tuple[str, float, float]]:
    return [(word.word, word.start_s, word.end_s) for word in said.words]


def manifest_of(folder: Path, texts: Sequence[str]) -> Path:
    lines = [{"audio": str(path), "text": text} for path, text in zip(CLIPS, texts, strict=True)]
    path = folder / "clips.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@pytest.fixture
def device() -> Iterator[torch.device]:
    with pretend_cuda() as found:
        yield found


@pytest.fixture(params=["owsm", "whisper"])
def spec(request: pytest.FixtureRequest) -> str | Path:
    return "owsm-nano" if request.param == "owsm" else Path(request.getfixturevalue("whisper_folder"))


def test_the_pretended_device_refuses_what_a_gpu_refuses(device: torch.device) -> None:
    there, here = torch.ones(3, 4, device=device), torch.ones(4, 2)
    assert isinstance(there, Pretended)
    assert there.is_cuda
    with pytest.raises(RuntimeError, match="cuda:0 and on the CPU"):
        there @ here
    product = there @ here.to(device)
    assert product.device == CUDA
    assert product.tolist() == [[4.0, 4.0]] * 3
    assert type(product.cpu()) is torch.Tensor
    there[1] = 2 * torch.tensor(1.0)
    assert there.view(12)[[0, 4]].tolist() == [1.0, 2.0]


def test_words_and_times_of_a_mixed_batch_are_those_of_the_cpu(spec: str | Path, tmp_path: Path) -> None:
    here = Subject.of(spec, tmp_path, "cpu")
    options = [each for each in SEARCHES if spec == "owsm-nano" or not each.ctc_weight]
    expected = [here.say(each, stack=here.stack, rows=[1, 0, 2]) for each in options]
    with pretend_cuda():
        there = Subject.of(spec, tmp_path, "cuda")
        assert {each.device for each in there.base.network.parameters()} == {CUDA}
        for each, wanted in zip(options, expected, strict=True):
            found = there.say(each, stack=there.stack, rows=[1, 0, 2])
            assert [row.text for row in found] == [row.text for row in wanted]
            assert [timed(row) for row in found] == [timed(row) for row in wanted]


@pytest.mark.usefixtures("device")
def test_an_adapter_is_used_scored_and_merged_as_it_was_read(tmp_path: Path) -> None:
    there = Subject.of("owsm-nano", tmp_path, "cuda")
    child = load_adapter(CHILD, there.base, there.factors)
    cores = child.adapter.cores()  # on the CPU, as in the README
    said = [row.text for row in there.say(cores=cores)]
    found = evaluate(
        there.base, manifest_of(tmp_path, said), adapted=there.adapted, cores=cores, progress=False
    )
    assert found.score.wer == 0
    there.adapted.restore()
    merged = merge_adapter(there.base, child, there.factors)
    waves = [read_audio(path) for path in CLIPS]
    assert [row.text for row in transcribe(merged, waves)] == said


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.usefixtures("device")
def test_losses_are_computed_there(
    spec: str | Path, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "backward", lambda _: None)  # so that nothing is learned
    manifest = manifest_of(tmp_path, ["a chair"] * len(CLIPS))
    settings = RunSettings(
        domain="toy", data=manifest, valid=manifest, out=tmp_path / "run", base=str(spec), language="<eng>",
        device="cuda", dtype=dtype, scored=False, scale=1.0, progress=False,
    )  # fmt: skip
    changes = {"epochs": 1, "min_batches_per_epoch": 1, "max_batches_per_epoch": 1}
    fitted = Session(settings, changes, print).fit()
    with pytest.raises(AdapterError, match="changes nothing"):
        fitted.finish(fitted.summary)
    events = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"train", "epoch"} <= {event["event"] for event in events}
