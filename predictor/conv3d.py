"""3D convolutions over time, rows and columns (after Zhang and Patras, MobiHoc 2018, section 4: 3D-ConvNets with dense
layers at the end)."""

from dataclasses import dataclass

from numpy.typing import NDArray
from torch import Tensor, nn

from predictor.neural import OUTPUTS, NeuralForecaster, SpatialNetwork, Window, as_patches, check_patch


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv3d(NeuralForecaster):
    """Three convolutions of 3 x 3 x 3 with ``width`` channels, then a dense layer for each cell, shared by all."""

    name: str = "conv3d"
    spatial = True
    width: int = 16
    learning_rate: float = 3e-4
    dropout: float = 0.3
    patch: int = 6

    def network(self, window: Window, grid: NDArray | None) -> nn.Module:
        return SpatialNetwork(Conv3dBody(window, self.width, self.dropout, self.patch), grid)


class Conv3dBody(nn.Module):
    """field [B, channels, time, rows, columns] -> [B, OUTPUTS, steps, rows, columns]."""

    def __init__(self, window: Window, width: int, dropout: float, patch: int):
        super().__init__()
        check_patch(window, patch)
        self.window, self.patch = window, patch
        channels, times = (2 + len(window.lags)) * patch, (window.lookback + window.steps) // patch
        self.convolutions = nn.Sequential(
            nn.Conv3d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.dense = nn.Conv2d(width * times, OUTPUTS * window.steps, 1)  # 1 x 1: per cell

    def forward(self, field: Tensor) -> Tensor:
        found = self.convolutions(as_patches(field, self.patch))
        return self.dense(found.flatten(1, 2)).unflatten(1, (OUTPUTS, self.window.steps))
