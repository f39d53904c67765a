"""What the neural rivals share: windows of the history, one training loop, and forecasts from the trained network.

A window has a recent part of ``lookback`` slots and, beside it, the same slots one day and one week earlier, these also
for the slots to be forecast: closeness, period and trend of Zhang et al. (ST-ResNet, AAAI 2017, section 3). Windows are
normalised: less their last recent slot (as NLinear: Zeng et al., AAAI 2023), over their standard deviation, so that
forecasts scale with the load. The choices here were made on the Milan block, 1 to 17 November 2013.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from predictor.forecast import QUANTILES, Floats, Forecast, Series, by_cell, checked
from predictor.naive import fill, persist, short

OUTPUTS = 1 + len(QUANTILES)  # per step: the mean, then the quantiles
VALIDATION_SHARE = 0.15  # of the history, at its end
CHECK_STEPS = 25  # training steps from one validation to the next
PATIENCE = 10  # validations without progress that end the training
VALIDATION_WINDOWS = 2048  # at most, but for one origin of all cells
FORECAST_WINDOWS = 4096  # windows that go through the network at once
LARGEST_TARGET = 10.0  # standard deviations: a burst after a flat window must not drown all others

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Window:
    """Slots of a window: ``lookback`` recent ones, ``steps`` to forecast, and both at each of ``lags``, ascending."""

    lookback: int
    steps: int
    lags: tuple[int, ...]

    @property
    def least(self) -> int:
        """Slots needed before the origin (the first slot to forecast); longer lags may be absent."""
        return self.lookback + self.lags[0]

    @property
    def reach(self) -> int:
        """Slots before the origin that are looked at."""
        return self.lookback + self.lags[-1]

    def offsets(self) -> Tensor:
        """[1 + lags, lookback + steps]: slots counted from the origin; the first row is the window itself.

        Where a lag is shorter than the forecast its multiples are taken, so that only the past is seen.
        """
        past, future = np.arange(-self.lookback, 0), np.arange(self.steps)
        lagged = [np.append(past - lag, future - lag * (1 + future // lag)) for lag in self.lags]
        return torch.tensor(np.stack([np.append(past, future), *lagged]))


@dataclass(frozen=True, eq=False)
class Fitted:
    """What training leaves: window, weights, for spatial models the cells' rows and columns [C, 2], and remarks."""

    window: Window
    state: dict[str, NDArray]
    grid: NDArray[np.int64] | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class NeuralForecaster:
    """A forecaster around a network; subclasses say which. Immutable: ``fit`` returns a trained copy.

    ``steps`` slots are forecast at once; longer horizons go on from the means of the slots before, so that the
    quantiles don't widen any further. ``lag_days`` ascending. ``batch``: windows of single cells per training step.
    """

    name: str = "neural"
    day_slots: int = 144
    steps: int = 60
    lookback: int = 72
    lag_days: tuple[int, ...] = (1, 7)
    width: int = 64
    dropout: float = 0.1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    batch: int = 256
    training_steps: int = 1000
    fitted: Fitted | None = None

    spatial = False

    def network(self, window: Window, grid: NDArray[np.int64] | None) -> nn.Module:
        """A network from inputs [N, 1 + lags, lookback + steps] to outputs [N, OUTPUTS, steps].

        Spatial ones get the windows of all cells of one origin one after the other, N = origins * cells.
        """
        raise NotImplementedError

    @property
    def parameters(self) -> int:
        """Number of trained parameters; 0 before ``fit``."""
        return sum(array.size for array in self.fitted.state.values()) if self.fitted else 0

    def fit(
        self,
        history: ArrayLike,
        *,
        grid: NDArray[np.int64] | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Train on ``history`` [C, T]; its last 15% decide when to stop and which weights to keep.

        ``grid`` [C, 2]: rows and columns of the cells, for spatial models. Lags that too few windows would have are
        left out, and the forecasts say so. Raises ValueError for too short a history or a missing grid.
        """
        array = checked(history, 1)
        grid = self._checked_grid(grid, len(array))
        window, validation_start = self._plan(array.shape[1])
        for part in (array[:, :validation_start], array[:, validation_start:]):
            if np.isnan(part).all():
                raise ValueError(
                    f"{self.name}: no value to train on before slot {validation_start} or none to validate on after it"
                )
        source = Source.of(filled(array, self.day_slots), array, window)
        training = torch.arange(window.least, validation_start - window.steps + 1)
        validation = torch.arange(validation_start, array.shape[1] - window.steps + 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.network(window, grid)
            train(network, source, training, validation, self, progress or (lambda text, share: None))
        state = {key: value.numpy().copy() for key, value in network.state_dict().items()}
        left_out = ", ".join(str(days) for days in self.lag_days[len(window.lags) :])
        notes = (f"trained on {array.shape[1]} slots, without those {left_out} days before",) if left_out else ()
        return replace(self, fitted=Fitted(window, state, grid, notes))

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        """See Forecaster. A cell with less than a day of history gets persistence, said in the notes."""
        array = checked(history, horizon)
        if self.fitted is None:
            raise ValueError(f"{self.name}: must be fitted first: call fit, or name a fitted model")
        if self.spatial and len(array) != len(self.fitted.grid):
            raise ValueError(
                f"{self.name}: history of {len(array)} cells; it was fitted on a block of {len(self.fitted.grid)} cells"
                " and forecasts these, in the same order"
            )
        outputs = iter(self._outputs(array, int(horizon))[~np.isnan(array).all(axis=1)])
        return by_cell(array, horizon, lambda series, horizon: self._one(series, horizon, next(outputs)))

    def _one(self, series: Floats, horizon: int, output: Floats) -> Series:
        """One cell's forecast from the network's ``output`` [OUTPUTS, H]."""
        slots, window, notes = series.size, self.fitted.window, self.fitted.notes
        if slots < self.day_slots:
            fallback = persist(series, horizon)
            note = short(slots, self.day_slots, "persistence")
            return Series(fallback.mean, fallback.quantiles, (note, *fallback.notes))
        if slots < window.least:
            notes = (*notes, short(slots, window.least, "its first day repeated before it,"))
        elif slots < window.reach:
            notes = (*notes, short(slots, window.reach, "forecast without the longest lag"))
        return Series(output[0], np.sort(output[1:], axis=0), notes)

    def _outputs(self, array: Floats, horizon: int) -> Floats:
        """[C, OUTPUTS, H] of the trained network."""
        window = self.fitted.window
        with torch.random.fork_rng(devices=[]):  # a new network draws weights, which the trained ones then replace
            network = self.network(window, self.fitted.grid)
        network.load_state_dict({key: torch.tensor(value) for key, value in self.fitted.state.items()})
        network.eval()
        lengthened = np.pad(array, ((0, 0), (max(0, window.reach - array.shape[1]), 0)), constant_values=np.nan)
        begun = np.logical_or.accumulate(~np.isnan(lengthened), axis=1)  # no gap counts as before the first slot
        known, series, parts = np.where(begun, 0.0, np.nan), filled(lengthened, self.day_slots), []
        for _ in range(0, horizon, window.steps):
            parts.append(self._step(network, series[:, -window.reach :], known[:, -window.reach :]))
            ahead = np.maximum(parts[-1][:, 0], 0.0)
            series, known = np.hstack([series, ahead]), np.hstack([known, ahead])
        return np.concatenate(parts, axis=2)[:, :, :horizon]

    @torch.inference_mode()
    def _step(self, network: nn.Module, series: Floats, history: Floats) -> Floats:
        """[C, OUTPUTS, steps]: the outputs for the ``steps`` slots after ``series``, ``history`` without its gaps."""
        window = self.fitted.window
        source = Source.of(*(np.pad(part, ((0, 0), (0, window.steps))) for part in (series, history)), window)
        if not len(series):
            return np.empty((0, OUTPUTS, window.steps))
        cells, outputs = torch.arange(len(series)), []
        for part in [cells] if self.spatial else cells.split(FORECAST_WINDOWS):
            batch = source.batch(part, torch.full(part.shape, window.reach))
            outputs.append(network(batch.inputs) * batch.scale[:, None, None] + batch.centre[:, None, None])
        return torch.cat(outputs).numpy()

    def _checked_grid(self, grid: NDArray[np.int64] | None, cells: int) -> NDArray[np.int64] | None:
        if not self.spatial:
            return None
        if grid is None:
            raise ValueError(f"{self.name}: needs grid, rows and columns [C, 2] of the cells (predictor.grid)")
        grid = np.asarray(grid)
        if grid.shape != (cells, 2) or not np.issubdtype(grid.dtype, np.integer) or (grid < 0).any():
            raise ValueError(f"grid: must be {cells} rows and columns, whole numbers of 0 or more, [C, 2]")
        if len(np.unique(grid, axis=0)) < cells:
            raise ValueError("grid: two cells are in the same place")
        return grid

    def _plan(self, slots: int) -> tuple[Window, int]:
        """The window, with as many lags as leave two days of windows to train on, and the first slot of validation."""
        validation = max(round(VALIDATION_SHARE * slots), 3 * self.steps // 2)
        lags = tuple(self.day_slots * days for days in self.lag_days)
        for count in range(len(lags), 0, -1):
            window = Window(self.lookback, self.steps, lags[:count])
            origins = slots - validation - self.steps - window.reach + 1
            if origins >= (2 * self.day_slots if count > 1 else self.steps):
                return window, slots - validation
        shortest = window.least + 2 * self.steps + 3 * self.steps // 2 - 1
        raise ValueError(f"{self.name}: history of {slots} slots; training needs {shortest} or more")


@dataclass(frozen=True, eq=False)
class Batch:
    """Normalised windows: inputs [N, 1 + lags, lookback + steps] with zeros for the future, true values [N, steps].

    weight [N, steps]: 0 where the true value is missing. centre, scale [N] undo the normalisation.
    """

    inputs: Tensor
    true: Tensor
    weight: Tensor
    centre: Tensor
    scale: Tensor


@dataclass(frozen=True, eq=False)
class Source:
    """Where windows come from: series [C, T] without gaps, which values are known [C, T], the first known slot [C]."""

    series: Tensor
    known: Tensor
    start: Tensor
    window: Window

    @classmethod
    def of(cls, series: Floats, history: Floats, window: Window) -> Self:
        known = torch.tensor(~np.isnan(history))
        return cls(torch.tensor(series), known, known.int().argmax(dim=1), window)

    def batch(self, cells: Tensor, origins: Tensor) -> Batch:
        """The windows of ``cells`` [N] at ``origins`` [N]. Lags that reach to before the first slot are absent: 0."""
        window, past = self.window, self.window.lookback
        slots = origins[:, None, None] + window.offsets()
        where = cells[:, None, None], slots.clamp(min=0)
        values = self.series[where]
        usual = torch.cat([values[:, 0, :past], values[:, 1]], dim=1)  # without the longer lags: they may be absent
        centre, scale = values[:, 0, past - 1], usual.std(dim=1, correction=0)
        divisor = torch.where(scale > 0, scale, 1.0)  # a window without any change has scale 0 and forecasts its centre
        values = (values - centre[:, None, None]) / divisor[:, None, None]
        true = values[:, 0, past:].clamp(max=LARGEST_TARGET)
        weight = self.known[where][:, 0, past:] & (scale > 0)[:, None]
        inputs = values.clone()
        inputs[:, 0, past:] = 0.0
        inputs[:, 2:][slots[:, 2:, 0] < self.start[cells][:, None]] = 0.0
        return Batch(inputs.float(), true.float(), weight.float(), centre, scale)


def filled(history: Floats, season: int) -> Floats:
    """The history without gaps (predictor.naive.fill); 0 where a cell has no value at all."""
    known, series = ~np.isnan(history).all(axis=1), np.zeros(history.shape)
    series[known] = fill(history[known], season)
    return series


def train(
    network: nn.Module, source: Source, training: Tensor, validation: Tensor, model: NeuralForecaster, report: Progress
) -> None:
    """Train in place on the origins ``training`` and keep the weights that did best on the origins ``validation``."""
    cells = torch.arange(len(source.series)) if model.spatial else source.known.any(dim=1).nonzero()[:, 0]
    held_back = _pairs(cells, validation[:: max(1, -(-validation.numel() * cells.numel() // VALIDATION_WINDOWS))])
    optimiser = torch.optim.AdamW(network.parameters(), lr=model.learning_rate, weight_decay=model.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, model.training_steps)
    best, best_state, since = float("inf"), {}, 0
    for step in range(1, model.training_steps + 1):
        network.train()
        batch = source.batch(*_draw(cells, training, model))
        optimiser.zero_grad()
        loss(network(batch.inputs), batch).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % CHECK_STEPS == 0 or step == model.training_steps:
            found, since = _validate(network, source, held_back), since + 1
            if found < best:
                best, best_state, since = found, copy.deepcopy(network.state_dict()), 0
            report(
                f"{model.name}: step {step}, validation loss {found:.4f}, best {best:.4f}", step / model.training_steps
            )
            if since >= PATIENCE:
                break
    if not best_state:
        raise ValueError(f"{model.name}: training diverged at learning rate {model.learning_rate}; take a smaller one")
    network.load_state_dict(best_state)
    report(f"{model.name}: trained, validation loss {best:.4f}", 1.0)


def loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Huber loss of the mean plus pinball loss, averaged over quantiles, known steps and windows."""
    error = batch.true[:, None] - outputs
    huber = nn.functional.huber_loss(outputs[:, 0], batch.true, reduction="none")
    levels = torch.tensor(QUANTILES)[:, None]
    pinball = torch.maximum(levels * error[:, 1:], (levels - 1) * error[:, 1:]).mean(dim=1)
    return ((huber + pinball) * batch.weight).sum() / batch.weight.sum().clamp(min=1.0)


def _draw(cells: Tensor, origins: Tensor, model: NeuralForecaster) -> tuple[Tensor, Tensor]:
    """Cells and origins of a random batch; for spatial models all cells of some origins."""
    if model.spatial:
        count = max(1, model.batch // cells.numel())
        return _pairs(cells, origins[torch.randint(origins.numel(), (count,))])
    chosen = torch.randint(cells.numel(), (model.batch,)), torch.randint(origins.numel(), (model.batch,))
    return cells[chosen[0]], origins[chosen[1]]


def _pairs(cells: Tensor, origins: Tensor) -> tuple[Tensor, Tensor]:
    """All cells of the first origin, then of the next ones."""
    return cells.repeat(origins.numel()), origins.repeat_interleave(cells.numel())


@torch.no_grad()
def _validate(network: nn.Module, source: Source, pairs: tuple[Tensor, Tensor]) -> float:
    network.eval()
    batch = source.batch(*pairs)
    return loss(network(batch.inputs), batch).item()


def check_patch(window: Window, patch: int) -> None:
    """Raises ValueError unless ``patch`` slots divide the window's two parts."""
    if window.lookback % patch or window.steps % patch:
        raise ValueError(f"patch: {patch} slots must divide lookback {window.lookback} and steps {window.steps}")


def as_patches(inputs: Tensor, patch: int) -> Tensor:
    """[N, channels, time, ...] -> [N, channels * patch, time / patch, ...]: ``patch`` slots become one step."""
    return inputs.unflatten(2, (-1, patch)).movedim(3, 2).flatten(1, 2)


def from_patches(outputs: Tensor, patch: int) -> Tensor:
    """The way back: [N, channels * patch, time / patch, ...] -> [N, channels, time, ...]."""
    return outputs.unflatten(1, (-1, patch)).movedim(2, 3).flatten(2, 3)


class SpatialNetwork(nn.Module):
    """Puts the cells' windows into their places of the block, asks ``body``, and takes the cells out again.

    ``body``: [B, 1 + lags + 1, time, rows, columns] -> [B, OUTPUTS, steps, rows, columns]. The last channel is 1 where
    there is a cell; empty squares are 0 in all channels.
    """

    def __init__(self, body: nn.Module, grid: NDArray[np.int64]):
        super().__init__()
        self.body = body
        self.rows, self.columns = (int(size) for size in grid.max(axis=0) + 1)
        self.places = torch.tensor(grid[:, 0] * self.columns + grid[:, 1])

    def forward(self, inputs: Tensor) -> Tensor:
        channels, time = inputs.shape[1:]
        cells = inputs.unflatten(0, (-1, len(self.places))).movedim(1, 3)  # [B, channels, time, cells]
        field = inputs.new_zeros(len(cells), channels + 1, time, self.rows * self.columns)
        field[:, :channels, :, self.places] = cells
        field[:, channels, :, self.places] = 1.0
        outputs = self.body(field.unflatten(3, (self.rows, self.columns))).flatten(3)
        return outputs[:, :, :, self.places].movedim(3, 1).flatten(0, 1)
