"""Convolutional LSTM (Shi et al., NeurIPS 2015: equation 3 without peepholes; encoding, forecasting: section 3.2)."""

from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from predictor.neural import OUTPUTS, NeuralForecaster, SpatialNetwork, Window, as_patches, check_patch, from_patches


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvLstm(NeuralForecaster):
    """One layer of ``width`` channels with kernels of 3 x 3, which reads and forecasts ``patch`` slots at a time."""

    name: str = "convlstm"
    spatial = True
    width: int = 16
    patch: int = 12
    learning_rate: float = 3e-3
    dropout: float = 0.3

    def network(self, window: Window, grid: NDArray | None) -> nn.Module:
        return SpatialNetwork(ConvLstmBody(window, self.width, self.dropout, self.patch), grid)


class ConvLstmBody(nn.Module):
    """field [B, channels, time, rows, columns] -> [B, OUTPUTS, steps, rows, columns].

    The forget gate's bias starts at 1 (Jozefowicz et al., ICML 2015), so that the past isn't forgotten from the start.
    """

    def __init__(self, window: Window, width: int, dropout: float, patch: int):
        super().__init__()
        check_patch(window, patch)
        self.window, self.width, self.patch = window, width, patch
        self.gates = nn.Conv2d((2 + len(window.lags)) * patch + width, 4 * width, 3, padding=1)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(width, OUTPUTS * patch, 1))

    def forward(self, field: Tensor) -> Tensor:
        patches = as_patches(field, self.patch)
        hidden = cell = patches.new_zeros(len(field), self.width, *field.shape[3:])
        outputs = []
        for frame in patches.unbind(dim=2):
            gates = self.gates(torch.cat([frame, hidden], dim=1))
            write, forget, show, new = gates.chunk(4, dim=1)
            cell = (forget + 1).sigmoid() * cell + write.sigmoid() * new.tanh()
            hidden = show.sigmoid() * cell.tanh()
            outputs.append(hidden)
        ahead = outputs[-self.window.steps // self.patch :]
        return from_patches(torch.stack([self.head(hidden) for hidden in ahead], dim=2), self.patch)
