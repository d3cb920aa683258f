"""Final step of a run: write the file, read it back, score it, and put the figures into its metadata.

Before the file is written, the trained change takes its scale. Figures come from the re-read file, after
rounding to its precision, not from the tensors in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvd_asr.errors import AdapterError
from ssvd_asr.tensor_files import save_tensors
from training.evaluate import Evaluation, evaluate
from training.methods.choices import SCALED
from training.methods.scale import Scalable, ScalableAdapter, ScalableWeights, Scale, choose_scale
from training.voices import voice_summary

if TYPE_CHECKING:
    from ssvd_asr.adapted_model import AdaptedModel
    from ssvd_asr.adapter.adapter import Adapter
    from ssvd_asr.base.model import BaseModel
    from ssvd_asr.basis.factors import LayerFactors
    from training.run_settings import RunSettings

ADAPTER_FILE = "adapter.safetensors"
WEIGHTS_FILE = "weights.safetensors"
CLOCKED = ("elapsed_s",)  # fields of the summary that differ from run to run


def finish_ssvd(
    settings: RunSettings,
    base: BaseModel,
    adapted: AdaptedModel,
    adapter: Adapter,
    factors: Mapping[str, LayerFactors],
    summary: dict[str, Any],
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Write `adapter.safetensors` with its canary and, if asked, its WER before and after.

    Returns the run's result. Raises AdapterError if training changed nothing, StoreError if the store refuses
    to publish.
    """
    from ssvd_asr.adapter.canary import check_publishable, seal_adapter
    from ssvd_asr.adapter.read import load_adapter

    path = settings.out / ADAPTER_FILE
    change = ScalableAdapter(base, adapted, adapter)
    scale = scale_of(settings, change, report)
    change.at(scale.value)
    _check_fits_half(adapter, summary)
    summary = {**summary, **scale.as_json()}
    read = seal_adapter(path, adapter, adapted, base, factors).adapter.to(base.device)
    if settings.scored:
        before = score_model(settings, base)
        after = score_model(settings, base, adapted=adapted, cores=read.cores(base.dtype))
        summary = {**summary, **figures(settings, before, after)}
        announce(report, before, after)
    # The file holds no clock times, so a resumed run gives the same bytes as an uninterrupted one.
    training = {name: value for name, value in summary.items() if name not in CLOCKED}
    voices = voice_summary(base, settings.data)
    sealed = seal_adapter(path, read, adapted, base, factors, training=training, voices=voices)
    report(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    result = {
        **summary,
        "base": base.name,
        "base_digest": base.digest,
        "adapter": str(path),
        "sha256": sealed.sha256,
        "bytes": path.stat().st_size,
    }
    if settings.publish:
        from adapters_store.store import AdapterStore

        version = AdapterStore(settings.store).publish(
            settings.domain,
            path,
            check=lambda copy: check_publishable(load_adapter(copy, base, factors), adapted, base),
        )
        report(f"published as {version.reference}")
        result["published"] = version.reference
    return result


def _check_fits_half(adapter: Adapter, summary: Mapping[str, Any]) -> None:
    """Raise AdapterError, naming the learning rate, if a trained number is too large for the file."""
    import torch

    largest = max(float(numbers.abs().max()) for numbers in adapter.state.values() if numbers.numel())
    if not largest <= torch.finfo(torch.float16).max:  # NaN too
        raise AdapterError(
            f"training diverged: a trained number is {largest:.3g}, which is not finite in float16, although "
            f"the loss was; lower --lr, now {summary['recipe']['lr']:g}"
        )


def finish_merged(
    settings: RunSettings, base: BaseModel, report: Callable[[str], None], summary: dict[str, Any]
) -> dict[str, Any]:
    """Write the network to `weights.safetensors`, score it in a fresh base, and return the run's result."""
    import torch

    from ssvd_asr.base.load import load_base
    from ssvd_asr.base.weights import BASE_DIGEST_KEY

    path = settings.out / WEIGHTS_FILE
    fresh = load_base(settings.base, settings.device, "float32", settings.config, settings.checkpoint)
    before = score_model(settings, fresh) if settings.scored else None
    change = ScalableWeights(fresh, base.network.state_dict())
    scale = scale_of(settings, change, report)
    summary = {**summary, **scale.as_json()}
    save_tensors(
        {
            name: value.cpu().clone(memory_format=torch.contiguous_format)
            for name, value in change.state(scale.value).items()
        },
        path,
        metadata={BASE_DIGEST_KEY: base.digest},
    )
    report(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    digest = put_weights(fresh, path)
    if before is not None:
        after = score_model(settings, fresh)
        summary = {**summary, **figures(settings, before, after)}
        announce(report, before, after)
    return {
        **summary,
        "base": base.name,
        "base_digest": base.digest,
        "weights": str(path),
        "sha256": digest,
        "bytes": path.stat().st_size,
    }


def put_weights(base: BaseModel, path: Path) -> str:
    """Load a file of whole weights (fully fine-tuned or merged) into ``base``'s network.

    Returns the file's SHA-256. For evaluation only, since the base's digest no longer matches its weights;
    `ssvd_asr.adapter.merge.with_weights` makes a proper base.

    Raises:
        BaseModelError: the file is unreadable, not of this base's shape, or trained from another base.
    """
    from ssvd_asr.base.weights import fill, read_trained

    state, sha256 = read_trained(path, base.digest)
    fill(base.network, state, f"weights {path}")
    return sha256


def scale_of(settings: RunSettings, change: Scalable, report: Callable[[str], None]) -> Scale:
    """Return the scale of a run: the given one, or the one that its validation data choose."""
    if settings.method not in SCALED:
        return Scale(1.0)
    if settings.scale is not None:
        return Scale(settings.scale)
    return choose_scale(
        lambda factor: _score(settings, settings.valid, change.base, **change.at(factor)).score.wer, report
    )


def score_model(settings: RunSettings, base: BaseModel, **adapter: Any) -> Evaluation:
    """Score on the test data, or on the validation data if there are no test data."""
    return _score(settings, settings.test or settings.valid, base, **adapter)


def _score(settings: RunSettings, source: Path, base: BaseModel, **adapter: Any) -> Evaluation:
    return evaluate(
        base,
        source,
        language=settings.language,
        min_usable=settings.min_usable,
        progress=settings.progress,
        **adapter,
    )


def figures(settings: RunSettings, before: Evaluation, after: Evaluation) -> dict[str, Any]:
    """Return the summary's fields on error rates. Rates are ratios."""
    return {
        "evaluated_on": "test" if settings.test else "valid",
        "evaluated_utterances": after.score.utterances,
        "evaluated_audio_s": round(after.audio_s, 3),
        "wer_before": before.score.wer,
        "wer_after": after.score.wer,
        "wer_raw_before": before.score.wer_raw,
        "wer_raw_after": after.score.wer_raw,
        "cer_before": before.score.cer,
        "cer_after": after.score.cer,
    }


def announce(report: Callable[[str], None], before: Evaluation, after: Evaluation) -> None:
    """Report the error rates in one line."""
    report(
        f"WER {before.score.wer:.1%} before, {after.score.wer:.1%} after "
        f"(raw {before.score.wer_raw:.1%}, {after.score.wer_raw:.1%}), "
        f"{after.score.utterances} utterances"
    )
