"""SSVD on a model that is not OWSM.

    python examples/adapt_any_model.py FIRST_CLIP SECOND_CLIP

The model predicts the next frame of a spectrogram. It learns on the first clip and is then frozen.
An adapter of its two linears learns on the second clip.
"""

import sys

import torch
from torch import Tensor, nn

from ssvd_asr import Adapter, adapt, read_audio
from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.basis.layers import match_layers

BINS, HIDDEN, STEPS = 129, 64, 200


def frames(path: str) -> Tensor:
    """Log magnitudes (frames, BINS)."""
    wave, window = torch.from_numpy(read_audio(path)), torch.hann_window(2 * (BINS - 1))
    spectrum = torch.stft(wave, len(window), window=window, return_complex=True)
    return spectrum.abs().add(1e-3).log().mT


def loss_on(clip: Tensor, model: nn.Module) -> Tensor:
    """Mean squared error of each next frame."""
    return nn.functional.mse_loss(model(clip[:-1]), clip[1:])


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit("usage: python examples/adapt_any_model.py FIRST_CLIP SECOND_CLIP")
    torch.manual_seed(0)
    first, second = (frames(path) for path in sys.argv[1:3])
    model = nn.Sequential(nn.Linear(BINS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, BINS))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss_on(first, model).backward()
        optimiser.step()
    base = model(second)

    patterns = ["0", "2"]  # how the names of the linears to adapt end
    factors = {name: canonical_svd(layer.weight) for name, layer in match_layers(model, patterns).items()}
    adapted = adapt(model, factors, patterns)  # in place, and the model is frozen
    adapter = Adapter.new(factors, k=24)
    with adapted.using(adapter.cores()):  # K = 0 and dS = 0: not trained yet
        print(f"untrained adapter, same output as the base: {torch.equal(model(second), base)}")
        print(f"loss on the second clip before: {loss_on(second, model):.3f}")
    optimiser = torch.optim.Adam(adapter.parameters(), lr=3e-3)
    for _ in range(STEPS):
        optimiser.zero_grad()
        with adapted.using(adapter.cores()):
            loss_on(second, model).backward()
        optimiser.step()
    with adapted.using(adapter.cores()):
        print(f"after {STEPS} steps of {adapter.parameter_count()} numbers: {loss_on(second, model):.3f}")


if __name__ == "__main__":
    main()
