"""LoRA fine-tuning of TimesFM on a site's own traffic (Hu et al., ICLR 2022; section IV of the paper), with PEFT.

The history's last part is held back: it decides after every epoch whether to go on, how many epochs are best and how
much of the adapter is used (a factor between 0, the base itself, and 1), so that an adapter that only learnt its days
by heart does no harm. Then an adapter is trained for as many epochs on the whole history, since the days held back are
those nearest to what comes. Few cells are all that a site has, so windows are augmented; synthetic traffic can go among
them.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from predictor.adapter import PREFIX, TARGETS, Adapter, adapted
from predictor.forecast import Floats, checked
from predictor.naive import fill
from predictor.registry import BUNDLED
from predictor.synthetic import synthetic_traffic
from predictor.timesfm_loss import LARGEST_TARGET, Targets, forecast_loss, quantile_loss
from predictor.timesfm_model import CheckpointError, TimesFMModule, digest, load_checkpoint, normalise, predict

Progress = Callable[[str, float], None]
STATE = "training_state.pt"
HORIZONS = (1, 10, 30, 60)


@dataclass(frozen=True)
class LoraSettings:
    """The paper's (r, alpha, dropout, batch, epochs), and ours. An epoch has a window per cell and patch of history.

    ``validation_share`` of the history's slots, at least two days, is held back. ``patience``: epochs without a better
    validation error before training ends. ``rehearsal``: share of synthetic windows. ``least_days``: of history before
    a patch that is learnt from (less where the history is shorter). ``shrink``: factors tried; ``tolerance``: by which
    share a horizon's error may exceed the base's. ``refit``: train once more on the whole history. ``peek``: train on
    the days held back from the start, which bounds what an adapter could gain there; for evaluation only.
    """

    rank: int = 16
    alpha: int = 16
    dropout: float = 0.1
    batch: int = 128
    epochs: int = 10
    rate: float = 1e-3
    context: int = 64
    positions: int = 16
    largest_epoch: int = 12_800
    validation_share: float = 0.18
    validation_stride: int = 12
    patience: int = 3
    rehearsal: float = 0.0
    least_days: int = 7
    shrink: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    tolerance: float = 0.0
    refit: bool = True
    peek: bool = False


# --- Training ---------------------------------------------------------------------------------------------------------


def train_lora(
    checkpoint: str,
    history: ArrayLike,
    *,
    day_slots: int = 144,
    settings: LoraSettings = LoraSettings(),
    seed: int = 0,
    directory: Path | None = None,
    progress: Progress | None = None,
) -> Adapter:
    """An adapter for ``checkpoint`` ("": the bundled one) from history [C, T], load or activity, NaN = missing.

    With ``directory`` each epoch's state is kept there, and a run that was interrupted goes on from it. Raises
    ValueError for a history of under four days and CheckpointError.
    """
    array = checked(history, 1)
    site = Site.of(array, day_slots, settings)
    module = load_checkpoint(checkpoint or BUNDLED)
    base = digest(module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _inject(module, settings)
        run = _Run(module, site, settings, seed, base, directory, progress or (lambda text, share: None))
        return run.train()


@dataclass(frozen=True, eq=False)
class Site:
    """A site's series [C, T] over their means, gaps filled; ``known`` [C, T]; slots before ``training_end`` train."""

    series: NDArray[np.float32]
    known: NDArray[np.bool_]
    training_end: int
    day_slots: int

    @staticmethod
    def of(array: Floats, day_slots: int, settings: LoraSettings) -> "Site":
        """Raises ValueError for a history that is too short."""
        training_end = array.shape[1] - max(2 * day_slots, int(array.shape[1] * settings.validation_share))
        known = np.isfinite(array)
        usable = (known[:, :training_end].sum(1) >= day_slots) & (np.nan_to_num(array).sum(1) > 0)
        if training_end < 2 * day_slots or not usable.any():
            raise ValueError(
                f"history: {array.shape[1]} slots of {len(array)} cells are too few to fine-tune on; at least four "
                f"days ({4 * day_slots} slots) of which a cell knows half are needed"
            )
        if not known[usable][:, training_end:].any():
            raise ValueError(
                f"history: no value in its last {array.shape[1] - training_end} slots, which are held back to judge by"
            )
        rows = []
        for row in array[usable]:
            first = np.argmax(np.isfinite(row))
            rows.append(np.concatenate([np.zeros(first), fill(row[first:], day_slots) / np.nanmean(row)]))
        return Site(np.array(rows, np.float32), known[usable], training_end, day_slots)


@dataclass(eq=False)
class _Run:
    """One training run; its state after an epoch is what is kept on disk."""

    module: TimesFMModule
    site: Site
    settings: LoraSettings
    seed: int
    base: str
    directory: Path | None
    progress: Progress

    def train(self) -> Adapter:
        """Find epochs and factor on the part held back; then the same once more on the whole history."""
        initial = self._lora_state()
        saved = self._resume() or {"stage": "search", "epoch": 0, "errors": [self._error()], "best": initial}
        errors, best = self._search(saved)
        factor, error = self._shrink(best)
        epochs = int(np.argmin(errors))
        if factor and self.settings.refit:
            best = self._refit(saved, initial, errors, best, epochs)
        self.progress("done", 1.0)
        tensors = {f"{PREFIX}{name}": tensor.numpy().copy() for name, tensor in best.items()}
        for name in tensors:
            if ".lora_B." in name:
                tensors[name] = tensors[name] * np.float32(factor)
        about = {
            "settings": asdict(self.settings),
            "seed": self.seed,
            "cells": len(self.site.series),
            "slots": self.site.series.shape[1],
            "validation_errors": [round(error, 6) for error in errors],
            "chosen_epoch": epochs,
            "factor": factor,
            "validation_error": round(error, 6),
        }
        return Adapter(tensors, self.base, about)

    def _search(self, saved: dict) -> tuple[list[float], dict[str, Tensor]]:
        """Validation errors of the base and after each epoch, and the adapter with the least."""
        errors, best = list(saved["errors"]), saved["best"]
        if saved["stage"] == "refit":
            return errors, best
        optimiser = self._started(saved)
        site = self._whole() if self.settings.peek else self.site
        while len(errors) <= self.settings.epochs and len(errors) - 1 - int(np.argmin(errors)) < self.settings.patience:
            self._epoch(len(errors) - 1, optimiser, site, 0)
            error = self._error()
            if not math.isfinite(error):
                break  # fallen apart: what was best before is kept
            if error < min(errors):
                best = self._lora_state()
            errors.append(error)
            self._save("search", len(errors) - 1, optimiser, errors, best)
            done = (len(errors) - 1) / self.settings.epochs / 2
            self.progress(f"epoch {len(errors) - 1}: validation error {error:.4f}, base {errors[0]:.4f}", done)
        return errors, best

    def _refit(
        self, saved: dict, initial: dict[str, Tensor], errors: list[float], best: dict[str, Tensor], epochs: int
    ) -> dict[str, Tensor]:
        """An adapter trained like the best one, for as many epochs, but on the whole history."""
        first = saved["epoch"] if saved["stage"] == "refit" else 0
        optimiser = self._started(saved if first else {"lora": initial})
        for epoch in range(first, epochs):
            self._epoch(epoch, optimiser, self._whole(), 1)
            self._save("refit", epoch + 1, optimiser, errors, best)
        return self._lora_state()

    def _whole(self) -> Site:
        """The site with nothing held back."""
        return replace(self.site, training_end=self.site.series.shape[1])

    def _started(self, state: dict) -> torch.optim.Optimizer:
        """The optimiser, with adapter and optimiser as ``state`` has them."""
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=self.settings.rate, weight_decay=0.01)
        if "lora" in state:
            self._load(state["lora"])
        if "optimiser" in state:
            optimiser.load_state_dict(state["optimiser"])
        return optimiser

    def _epoch(self, epoch: int, optimiser: torch.optim.Optimizer, site: Site, stage: int) -> None:
        """One epoch of the search (stage 0) or of training on the whole history (1)."""
        settings = self.settings
        patches = site.training_end // self.module.p
        batches = -(-min(len(site.series) * patches, settings.largest_epoch) // settings.batch)
        self.module.train()
        # Dropout draws from torch's own generator: a run that goes on must draw what an uninterrupted one does.
        torch.manual_seed(int(np.random.default_rng([self.seed, epoch]).integers(2**63)))
        for i in range(batches):
            share = (epoch + i / batches) / settings.epochs
            for group in optimiser.param_groups:
                group["lr"] = settings.rate * min(1.0, 10 * share + 0.05) * (0.5 + 0.5 * math.cos(math.pi * share))
            rng = np.random.default_rng([self.seed, epoch, i])
            loss = window_loss(self.module, *windows(rng, site, settings, self.module), self._least())
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], 1.0)
            optimiser.step()
            optimiser.zero_grad()
            done = (epoch + (i + 1) / batches) / settings.epochs
            self.progress(f"epoch {epoch + 1}{' on the whole history' if stage else ''}", (stage + done) / 2)

    def _least(self) -> int:
        """Slots of history before a patch that is learnt from: what later forecasts will have, if there is enough."""
        return min(self.settings.least_days * self.site.day_slots, self.site.training_end // 2)

    def _error(self) -> float:
        return float(self._errors().mean())

    def _errors(self) -> Floats:
        """[horizons]: per-cell NRMSE on the part held back, as the evaluation measures it."""
        self.module.eval()
        return validation_errors(self.module, self.site, self.settings)

    def _shrink(self, best: dict[str, Tensor]) -> tuple[float, float]:
        """The factor on the adapter with the least mean error on the part held back, and that error, of those factors
        that make no horizon worse than the base has it (by ``tolerance``): what one gains, another must not pay for."""
        results = {}
        for factor in (0.0, *(factor for factor in self.settings.shrink if factor)):
            self._load({name: t * factor if ".lora_B." in name else t for name, t in best.items()})
            results[factor] = self._errors()
        limit = results[0.0] * (1 + self.settings.tolerance)
        allowed = {factor: errors.mean() for factor, errors in results.items() if (errors <= limit).all()}
        factor = min(allowed, key=allowed.get)
        return factor, float(allowed[factor])

    def _lora_state(self) -> dict[str, Tensor]:
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(self.module)
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def _load(self, state: dict[str, Tensor]) -> None:
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.module, state)

    def _key(self) -> str:
        """What a state on disk must agree with to be gone on from."""
        total = hashlib.sha256(self.site.series.tobytes())
        total.update(f"{self.base} {self.settings} {self.seed} {self.site.training_end}".encode())
        return total.hexdigest()

    def _save(
        self, stage: str, epoch: int, optimiser: torch.optim.Optimizer, errors: list[float], best: dict[str, Tensor]
    ) -> None:
        if self.directory:
            self.directory.mkdir(parents=True, exist_ok=True)
            new = self.directory / f"{STATE}.new"
            state = {"stage": stage, "epoch": epoch, "errors": errors, "best": best, "key": self._key()}
            torch.save(state | {"lora": self._lora_state(), "optimiser": optimiser.state_dict()}, new)
            new.replace(self.directory / STATE)

    def _resume(self) -> dict | None:
        file = self.directory and self.directory / STATE
        if not file or not file.exists():
            return None
        try:
            state = torch.load(file, weights_only=True)
        except Exception as error:
            raise CheckpointError(
                f"{file}: damaged ({type(error).__name__}); delete it to train from the beginning"
            ) from None
        if state.get("key") != self._key():
            raise CheckpointError(
                f"{file}: left by a run on other data, settings, seed or base; delete it or name another directory"
            )
        return state


def _inject(module: TimesFMModule, settings: LoraSettings) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        bias="none",
        target_modules=TARGETS,
    )
    inject_adapter_in_model(config, module)


def windows(
    rng: np.random.Generator, site: Site, settings: LoraSettings, module: TimesFMModule
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One batch: observed and latent [B, L], what is known [B, L], padding [B] and positions."""
    length = settings.context * module.p + module.o
    synthetic = int(round(settings.batch * settings.rehearsal))
    traffic = synthetic_traffic(rng, max(synthetic, 1), length)
    observed = np.zeros((settings.batch, length), np.float32)
    known = np.ones((settings.batch, length), bool)
    latent = observed.copy()
    padding = rng.integers(0, module.p, settings.batch)
    observed[:synthetic], latent[:synthetic] = traffic.observed[:synthetic], traffic.latent[:synthetic]
    # A window reaches one output patch beyond what may be trained on, so that its last patches have a place; what lies
    # there is not known.
    for row in range(synthetic, settings.batch):
        end = site.training_end + module.o - int(rng.integers(0, max(module.o, site.training_end // 2)))
        first = max(0, end - length)
        stop = min(end, site.training_end)
        series, there = augmented(rng, site, first, stop)
        place = slice(length - (end - first), length - (end - stop))
        observed[row, place], known[row] = series, False
        known[row, place] = there
        padding[row] = length - (end - first) + np.argmax(there)  # nothing is known before
    latent[synthetic:] = observed[synthetic:]
    late = np.linspace(1.0, 3.0, settings.context)
    positions = np.sort(rng.choice(settings.context, settings.positions, replace=False, p=late / late.sum()))
    return tuple(map(torch.from_numpy, (observed, latent, known, padding, positions)))


def augmented(rng: np.random.Generator, site: Site, first: int, stop: int) -> tuple[NDArray, NDArray]:
    """A series of the site, or a mixture of some (which is another plausible cell of the city), in another contrast."""
    count = int(rng.choice([1, 2, 3, 5], p=[0.5, 0.25, 0.15, 0.1]))
    cells = rng.integers(0, len(site.series), count)
    weights = rng.dirichlet(np.ones(count)).astype(np.float32)
    series = weights @ site.series[cells, first:stop]
    if rng.random() < 0.5:
        series = series ** np.float32(rng.uniform(0.75, 1.3))
    return series, site.known[cells, first:stop].all(0)


def window_loss(
    module: TimesFMModule,
    observed: Tensor,
    latent: Tensor,
    known: Tensor,
    padding: Tensor,
    positions: Tensor,
    least: int,
) -> Tensor:
    """Loss of a batch of windows, forecast from the patches at ``positions`` that ``least`` slots precede."""
    patch, ahead = module.p, module.o
    context = observed.shape[1] - ahead
    masks = (torch.arange(context)[None, :] < padding[:, None]).unflatten(1, (-1, patch))
    normed, mean, deviation = normalise(observed[:, :context].unflatten(1, (-1, patch)), masks)
    embeddings = module.trunk(normed, masks)[:, positions]
    mean, deviation = mean[:, positions, None], deviation[:, positions, None]

    def after(series: Tensor) -> Tensor:
        return series[:, patch:].unfold(1, ahead, patch)[:, positions]

    def normed_after(series: Tensor) -> Tensor:
        return ((after(series) - mean) / deviation.clamp(min=1e-6)).clamp(-LARGEST_TARGET, LARGEST_TARGET)

    ready = (positions[None, :] + 1) * patch - padding[:, None] >= least
    targets = Targets(normed_after(observed), normed_after(latent), after(known) & ready[..., None])
    loss = forecast_loss(module.point_head(embeddings), targets)
    return loss + 0.5 * quantile_loss(module.quantile_head(embeddings)[:, :, :ahead], targets)


def validation_errors(module: TimesFMModule, site: Site, settings: LoraSettings) -> Floats:
    """[HORIZONS]: mean over cells of the NRMSE of forecasts into the slots held back."""
    longest = max(HORIZONS)
    origins = np.arange(site.training_end, site.series.shape[1] - longest + 1, settings.validation_stride)
    if not origins.size:
        origins = np.array([site.training_end])
    length = settings.context * module.p
    squares, counts = np.zeros((len(HORIZONS), len(site.series))), np.zeros((len(HORIZONS), len(site.series)))
    for origin in origins:
        first = max(0, origin - length)
        values = np.zeros((len(site.series), length), np.float32)
        values[:, length - (origin - first) :] = site.series[:, first:origin]
        padding = torch.from_numpy(length - (origin - first) + np.argmax(site.known[:, first:origin], axis=1))
        means = torch.cat(
            [
                predict(module, torch.from_numpy(values[i : i + 64]), padding[i : i + 64], longest)[..., 0]
                for i in range(0, len(values), 64)
            ]
        ).numpy()
        truth = site.series[:, origin : origin + longest]
        there = site.known[:, origin : origin + longest]
        error = np.where(there, (means[:, : truth.shape[1]] - truth) ** 2, 0.0)
        for k, horizon in enumerate(HORIZONS):
            squares[k] += error[:, :horizon].sum(1)
            counts[k] += there[:, :horizon].sum(1)
    nrmse = np.sqrt(squares / np.maximum(counts, 1))  # series have mean 1
    return nrmse[:, counts[0] > 0].mean(1).astype(np.float64)


def held_back_error(
    checkpoint: str,
    adapter: str | Adapter,
    history: ArrayLike,
    day_slots: int = 144,
    settings: LoraSettings = LoraSettings(),
) -> float:
    """The validation error of train_lora for any adapter ("": none) on the part of ``history`` that it holds back: the
    mean over HORIZONS."""
    site = Site.of(checked(history, 1), day_slots, settings)
    module = adapted(checkpoint, adapter) if adapter else load_checkpoint(checkpoint or BUNDLED)
    return float(validation_errors(module, site, settings).mean())
