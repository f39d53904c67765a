"""Long short-term memory per cell (Hochreiter and Schmidhuber, 1997), its weights shared by all cells."""

from dataclasses import dataclass

from numpy.typing import NDArray
from torch import Tensor, nn

from predictor.neural import OUTPUTS, NeuralForecaster, Window, as_patches, check_patch, from_patches


@dataclass(frozen=True, eq=False, kw_only=True)
class Lstm(NeuralForecaster):
    """One layer of ``width`` units, which reads and forecasts ``patch`` slots at a time."""

    name: str = "lstm"
    width: int = 64
    patch: int = 12
    learning_rate: float = 3e-4

    def network(self, window: Window, grid: NDArray | None) -> nn.Module:
        return LstmNetwork(window, self.width, self.dropout, self.patch)


class LstmNetwork(nn.Module):
    """Runs over the lookback, then on over the slots to forecast, where it still sees the lags."""

    def __init__(self, window: Window, width: int, dropout: float, patch: int):
        super().__init__()
        check_patch(window, patch)
        self.window, self.patch = window, patch
        self.lstm = nn.LSTM((1 + len(window.lags)) * patch, width, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, OUTPUTS * patch))

    def forward(self, inputs: Tensor) -> Tensor:
        states, _ = self.lstm(as_patches(inputs, self.patch).transpose(1, 2))
        ahead = states[:, -self.window.steps // self.patch :]
        return from_patches(self.head(ahead).transpose(1, 2), self.patch)
