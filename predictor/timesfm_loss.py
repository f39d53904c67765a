"""The loss that TimesFM is trained with, on synthetic traffic and, with LoRA, on a site's own.

Everything is in normalised space (RevIN of the patch that the forecast follows). Errors are summed up by series and by
group of steps before they are compared, as the evaluation does it (RMSE of a cell over steps 1 to h), so that a noisy
series does not drown a smooth one, nor step 60 step 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from predictor.forecast import QUANTILES

STEP_GROUPS = ((0, 1, 1.0), (1, 10, 1.0), (10, 30, 1.0), (30, 60, 1.0), (60, 128, 0.4))  # first, last, weight
HUBER_DELTA = 20.0  # deviations of the series; beyond it an error counts linearly
LARGEST_TARGET = 40.0  # deviations; beyond it a value is cut: bursts over a nearly constant load
PINBALL_WEIGHT = 2.0
_LEVELS = torch.tensor(QUANTILES)


@dataclass(frozen=True, eq=False)
class Targets:
    """Normalised values of the steps after each of P patches: ``observed`` [B, P, 128], and ``latent``, what they are
    without their noise, where that is known (else the same tensor); ``known`` [B, P, 128] False where missing."""

    observed: Tensor
    latent: Tensor
    known: Tensor


def forecast_loss(outputs: Tensor, targets: Targets) -> Tensor:
    """Loss of point-head outputs [B, P, 128, 10]: the mean channel on the latent load, the quantiles on the observed.

    A noisy observation and its latent value have the same expectation, so the mean learns the same from either, but
    from the latent value with far less variance; the noise's own variance is added so that a series weighs the same.
    """
    error = huber_loss(outputs[..., 0], targets.latent, reduction="none", delta=HUBER_DELTA) * 2
    noise = (targets.observed - targets.latent).square()
    pinball = _pinball(outputs[..., 1:], targets.observed)
    total = outputs.new_zeros(())
    for first, last, weight in STEP_GROUPS:
        part = slice(first, last)
        known = targets.known[..., part].to(outputs.dtype)
        mean_square = _by_series(error[..., part], known) + _by_series(noise[..., part], known) + 1e-4
        # The fourth root: between RMSE, where noisy series count most, and its logarithm, where all count the same.
        scale = mean_square.detach() ** -0.25
        total = total + weight * (mean_square**0.25 * 2).mean()
        total = total + weight * PINBALL_WEIGHT * (_by_series(pinball[..., part], known) * scale).mean()
    return total


def quantile_loss(outputs: Tensor, targets: Targets) -> Tensor:
    """Pinball loss of quantile-head outputs [B, P, H, 10], scaled by series."""
    known = targets.known.to(outputs.dtype)
    pinball = _by_series(_pinball(outputs[..., : known.shape[-1], 1:], targets.observed), known)
    return PINBALL_WEIGHT * (pinball / (pinball.detach() + 1e-2).sqrt()).mean()


def _pinball(quantiles: Tensor, truth: Tensor) -> Tensor:
    """[B, P, H]: mean pinball loss of [B, P, H, 9] over the levels."""
    error = truth[..., None] - quantiles
    return torch.maximum(_LEVELS * error, (_LEVELS - 1) * error).mean(-1)


def _by_series(values: Tensor, known: Tensor) -> Tensor:
    """[B]: mean over patches and steps where known."""
    return (values * known).sum((-1, -2)) / known.sum((-1, -2)).clamp(min=1.0)
