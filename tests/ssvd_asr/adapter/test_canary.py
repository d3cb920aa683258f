"""The canary: an adapter that does not do here what it did there, or does nothing, is found out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.canary import check_canary, check_publishable, make_canary, seal_adapter
from ssvd_asr.adapter.read import LoadedAdapter, load_adapter
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.probe import Probe
from ssvd_asr.basis.factors import LayerFactors, canonical_svd
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.errors import AdapterError, WrongBaseError
from tests.ssvd_asr.toy import PATTERNS, TOY_PROBE, Toy, ToyBase, toy_factors, train_at_random

FACTORS = toy_factors(Toy())


def adapted_toy(dtype: torch.dtype = torch.float32) -> AdaptedModel:
    return adapt(Toy().to(dtype), FACTORS, PATTERNS)


def trained(seed: int = 0, scale: float = 0.1) -> Adapter:
    return train_at_random(Adapter.new(FACTORS, p=0.5), scale, seed)


def sealed(
    folder: Path, adapter: Adapter | None = None, dtype: str = "float16"
) -> tuple[LoadedAdapter, AdaptedModel, ToyBase]:
    adapted = adapted_toy()
    base = ToyBase(Toy())
    path = folder / "a.safetensors"
    loaded = seal_adapter(path, adapter or trained(), adapted, base, FACTORS, dtype=dtype)
    return loaded, adapted, base


def test_a_sealed_adapter_can_be_published_as_read_back_from_disk(tmp_path: Path) -> None:
    loaded, adapted, base = sealed(tmp_path)
    again = load_adapter(tmp_path / "a.safetensors", base, FACTORS)
    assert again.sha256 == loaded.sha256
    assert again.metadata == loaded.metadata
    assert check_publishable(again, adapted, base)["logits"] > 0.1


def test_the_canary_is_made_of_the_rounded_numbers(tmp_path: Path) -> None:
    loaded, adapted, _ = sealed(tmp_path)
    assert loaded.metadata.canary == make_canary(adapted, loaded.adapter, TOY_PROBE)
    assert loaded.metadata.canary != make_canary(adapted, trained(), TOY_PROBE)


@pytest.mark.parametrize(
    ("scale", "dtype", "reason"),
    [(0.0, "float16", "zero"), (1e-9, "float16", "zero"), (1e-9, "float32", "move by")],
)
def test_an_adapter_that_changes_nothing_is_refused_and_leaves_no_file(
    scale: float, dtype: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(AdapterError, match=f"changes nothing.*{reason}"):
        sealed(tmp_path, trained(scale=scale), dtype)
    assert list(tmp_path.iterdir()) == []


def test_other_numbers_under_the_same_canary_are_refused(tmp_path: Path) -> None:
    loaded, adapted, base = sealed(tmp_path)
    swapped = replace(loaded, adapter=trained(seed=1))
    with pytest.raises(AdapterError, match=r"logits of the adapter deviates .* 1\.0e-03 in float32"):
        check_publishable(swapped, adapted, base)


def test_another_map_over_the_same_numbers_is_refused(tmp_path: Path) -> None:
    loaded, adapted, base = sealed(tmp_path)
    strict = Adapter("cayley", loaded.adapter.sigmas)
    strict.load_state(loaded.adapter.state)
    with pytest.raises(AdapterError, match="of the adapter deviates"):
        check_publishable(replace(loaded, adapter=strict), adapted, base)


def test_a_base_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    loaded, _, base = sealed(tmp_path)
    other = Toy()
    with torch.no_grad():
        other.head.weight.mul_(1.1)  # a layer that no fingerprint covers
    with pytest.raises(AdapterError, match="of the base deviates"):
        check_publishable(loaded, adapt(other, FACTORS, PATTERNS), base)


def test_a_model_that_answers_nan_is_refused(tmp_path: Path) -> None:
    loaded, _, base = sealed(tmp_path)
    other = Toy()
    with torch.no_grad():
        other.head.bias.fill_(torch.nan)
    broken = adapt(other, FACTORS, PATTERNS)
    with pytest.raises(AdapterError, match="deviates by nan"):
        check_publishable(loaded, broken, base)
    with pytest.raises(AdapterError, match="of the base is not finite"):
        make_canary(broken, trained(), TOY_PROBE)


def test_another_base_a_missing_layer_and_no_canary_are_refused(tmp_path: Path) -> None:
    loaded, adapted, base = sealed(tmp_path)
    with pytest.raises(WrongBaseError, match="sha256:other"):
        check_publishable(loaded, adapted, ToyBase(Toy(), digest="sha256:other"))
    with pytest.raises(AdapterError, match="no adapted layer 'wide'"):
        check_publishable(loaded, adapt(Toy(), FACTORS, ("tall", "square")), base)
    bare = replace(loaded, metadata=loaded.metadata.model_copy(update={"canary": None}))
    with pytest.raises(AdapterError, match="no canary"):
        check_publishable(bare, adapted, base)


def test_another_probe_is_refused_by_name(tmp_path: Path) -> None:
    loaded, adapted, base = sealed(tmp_path)
    with pytest.raises(AdapterError, match="'toy-1', this one is 'toy-2'"):
        check_publishable(loaded, adapted, replace(base, probe=Probe("toy-2", TOY_PROBE.run)))


def test_bfloat16_is_allowed_its_rounding_and_no_more(tmp_path: Path) -> None:
    loaded, _, base = sealed(tmp_path)
    half = adapted_toy(torch.bfloat16)
    check_publishable(loaded, half, base)
    with pytest.raises(AdapterError, match="in bfloat16"):
        check_publishable(replace(loaded, adapter=trained(seed=1)), half, base)


def test_a_canary_made_in_bfloat16_is_read_with_its_tolerance_everywhere() -> None:
    canary = make_canary(adapted_toy(torch.bfloat16), trained(), TOY_PROBE)
    assert canary.tolerance["float32"] == canary.tolerance["bfloat16"] == 0.1
    check_canary(canary, adapted_toy(), trained(), TOY_PROBE)


def test_it_runs_without_dropout_and_leaves_every_mode_as_it_was() -> None:
    model = Toy()
    model.dropout = dropout = torch.nn.Dropout(0.5)
    probe = Probe("dropping", lambda network: {"y": dropout(network(torch.ones(1, 2, 12)))})
    adapted = adapt(model, FACTORS, PATTERNS)
    model.train()
    model.head.eval()
    modes = [module.training for module in model.modules()]
    canary = make_canary(adapted, trained(), probe)
    assert canary == make_canary(adapted, trained(), probe)
    assert modes == [module.training for module in model.modules()]
    assert all(layer.core is None for layer in adapted.layers.values())


def tiny_factors(base: BaseModel) -> dict[str, LayerFactors]:
    return {name: canonical_svd(linear.weight) for name, linear in match_layers(base.network).items()}


def test_on_a_whole_espnet_model_encoder_and_decoder_are_watched(
    tiny_base: BaseModel, tmp_path: Path
) -> None:
    factors = tiny_factors(tiny_base)
    adapter = train_at_random(Adapter.new(factors, p=0.4), 0.05)
    adapted = adapt(tiny_base.network, factors)
    path = tmp_path / "a.safetensors"
    seal_adapter(path, adapter, adapted, tiny_base, factors)
    loaded = load_adapter(path, tiny_base, factors)
    change = check_publishable(loaded, adapted, tiny_base)
    assert change.keys() == {"encoder", "logits"}
    assert all(value > 1e-3 for value in change.values())
    canary = loaded.metadata.canary
    assert canary is not None
    assert len(canary.model_dump_json()) < 2000  # bytes in the file

    cores = loaded.adapter.cores()
    for side in ("encoder.", "decoder."):
        half = {name: core for name, core in cores.items() if name.startswith(side)}
        with pytest.raises(AdapterError, match="of the adapter deviates"):  # reaching half of it is found out
            check_canary(canary, adapted, _Fixed(half), tiny_base.probe)  # type: ignore[arg-type]


class _Fixed:
    """Stands for an adapter that reaches only some layers."""

    def __init__(self, cores: dict[str, torch.Tensor]) -> None:
        self._cores = cores

    def cores(self) -> dict[str, torch.Tensor]:
        return self._cores


def test_an_untrained_adapter_is_a_noop_on_a_whole_espnet_model(tiny_base: BaseModel) -> None:
    from ssvd_asr.base.owsm.probe import ESPNET_PROBE

    factors = tiny_factors(tiny_base)
    with torch.inference_mode():
        plain = ESPNET_PROBE.run(tiny_base.network)
        adapted = adapt(tiny_base.network, factors)
        with adapted.using(Adapter.new(factors, p=1.0).cores()):
            turned = ESPNET_PROBE.run(tiny_base.network)
    assert all(torch.equal(turned[name], output) for name, output in plain.items())
