"""A multi-layer perceptron per cell, its weights shared by all cells."""

from dataclasses import dataclass

from numpy.typing import NDArray
from torch import Tensor, nn

from predictor.neural import OUTPUTS, NeuralForecaster, Window


@dataclass(frozen=True, eq=False, kw_only=True)
class Mlp(NeuralForecaster):
    """Two hidden layers of ``width`` units."""

    name: str = "mlp"
    width: int = 256
    learning_rate: float = 3e-4
    lookback: int = 144
    dropout: float = 0.3

    def network(self, window: Window, grid: NDArray | None) -> nn.Module:
        return MlpNetwork(window, self.width, self.dropout)


class MlpNetwork(nn.Module):
    """inputs [N, rows, lookback + steps] -> outputs [N, OUTPUTS, steps], beside the same slots of the longest lag."""

    def __init__(self, window: Window, width: int, dropout: float):
        super().__init__()
        self.steps = window.steps
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear((1 + len(window.lags)) * (window.lookback + window.steps), width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, OUTPUTS * window.steps),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs).unflatten(1, (OUTPUTS, self.steps))
