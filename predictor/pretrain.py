"""Training of the bundled TimesFM checkpoint from scratch, on synthetic traffic only."""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from predictor.synthetic import synthetic_traffic
from predictor.timesfm_loss import LARGEST_TARGET, Targets, forecast_loss, quantile_loss
from predictor.timesfm_model import SMALL, Architecture, CheckpointError, TimesFMModule, normalise


@dataclass(frozen=True)
class Pretraining:
    """Settings of a run. A batch is ``series`` series of ``context`` patches; ``positions`` of them, mostly late ones,
    are forecast from. ``seed`` and the step fix a batch, whatever was run before it."""

    steps: int = 12_000
    series: int = 32
    context: int = 64
    positions: int = 24
    quantile_positions: int = 6
    seed: int = 1
    rate: float = 5e-3
    warmup: int = 200
    decay_share: float = 0.4
    average: float = 0.998
    architecture: Architecture = SMALL


class Batches(Dataset):
    """Batch number i of a run: series [B, L] observed and latent, positions, and the masked slots at the start."""

    def __init__(self, settings: Pretraining):
        self.settings = settings

    def __len__(self) -> int:
        return self.settings.steps

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        s = self.settings
        rng = np.random.default_rng([s.seed, step])
        patch, ahead = s.architecture.input_patch, s.architecture.output_patch
        traffic = synthetic_traffic(rng, s.series, s.context * patch + ahead)
        # Histories are rarely whole patches long: the first one begins with up to 31 slots of padding.
        padding = rng.integers(0, patch, s.series)
        late = np.linspace(1.0, 4.0, s.context)
        positions = np.sort(rng.choice(s.context, s.positions, replace=False, p=late / late.sum()))
        return traffic.observed.astype(np.float32), traffic.latent.astype(np.float32), padding, positions


def batch_loss(module: TimesFMModule, observed: Tensor, latent: Tensor, padding: Tensor, positions: Tensor, few: int):
    """Loss of one batch; ``few`` of the positions also train the quantile head."""
    patch, ahead = module.p, module.o
    context = observed.shape[1] - ahead
    masks = (torch.arange(context)[None, :] < padding[:, None]).unflatten(1, (-1, patch))
    patches = observed[:, :context].unflatten(1, (-1, patch))
    normed, mean, deviation = normalise(patches, masks)
    embeddings = module.trunk(normed, masks)[:, positions]
    mean, deviation = mean[:, positions, None], deviation[:, positions, None].clamp(min=1e-6)

    def ahead_of(series: Tensor) -> Tensor:
        windows = series[:, patch:].unfold(1, ahead, patch)[:, positions]
        return ((windows - mean) / deviation).clamp(-LARGEST_TARGET, LARGEST_TARGET)

    truth = ahead_of(observed)
    targets = Targets(truth, ahead_of(latent), torch.ones_like(truth, dtype=torch.bool))
    loss = forecast_loss(module.point_head(embeddings), targets)
    last = slice(-few, None)
    some = Targets(targets.observed[:, last], targets.latent[:, last], targets.known[:, last])
    return loss + 0.5 * quantile_loss(module.quantile_head(embeddings[:, last]), some)


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024): momentum, made orthogonal by Newton-Schulz steps, in float32.

    torch.optim.Muon works in bfloat16, which is ten times slower than the rest of the step on processors without it;
    here all matrices of one shape go through together.
    """

    def __init__(
        self, matrices: list[torch.nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ):
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for matrix in group["params"]:
                momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                momentum.lerp_(matrix.grad, 1 - group["momentum"])
            for shape in {p.shape for p in group["params"]}:
                same = [p for p in group["params"] if p.shape == shape]
                ahead = torch.stack([p.grad.lerp(self.state[p]["momentum"], group["momentum"]) for p in same])
                for matrix, update in zip(same, orthogonal(ahead), strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    # Steps of the size that Adam's have, so that one learning rate suits both.
                    matrix.add_(update, alpha=-0.2 * max(shape) ** 0.5 * group["lr"])


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """[K, m, n] with singular values near 1 and the same singular vectors (quintic Newton-Schulz iteration)."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


def optimisers(module: TimesFMModule, settings: Pretraining) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for everything else (embedding, heads, norms)."""
    matrices = [p for name, p in module.named_parameters() if p.ndim == 2 and name.startswith("stacked_xf")]
    chosen = {id(p) for p in matrices}
    others = [p for p in module.parameters() if id(p) not in chosen]
    return [
        Muon(matrices, lr=settings.rate, weight_decay=0.01),
        torch.optim.AdamW(others, lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def rate_at(step: int, settings: Pretraining) -> float:
    """Share of the full learning rate: up, constant, then down to 0 in the last ``decay_share`` of the steps."""
    up = min(1.0, (step + 1) / settings.warmup)
    down = min(1.0, (settings.steps - step) / (settings.decay_share * settings.steps))
    return min(up, down)


def pretrain(settings: Pretraining, directory: Path, compiled: bool = True, progress=None) -> TimesFMModule:
    """Train from scratch, or go on where ``directory`` left off (state.pt), and return the averaged model.

    Writes state.pt and log.jsonl every 250 steps. A run may go on with another number of steps: that moves the decay of
    its learning rate. ``compiled`` needs a C++ compiler. progress(text, share done). Raises CheckpointError for a
    state.pt that is damaged or of other settings.
    """
    directory.mkdir(parents=True, exist_ok=True)
    run = _Run(settings, directory)
    first = run.resume()
    loss_of = torch.compile(batch_loss, dynamic=False) if compiled else batch_loss
    check = [tuple(map(torch.as_tensor, Batches(replace(settings, seed=settings.seed + 1000))[i])) for i in range(8)]
    batches = DataLoader(
        Batches(settings), batch_size=None, sampler=range(first, settings.steps), num_workers=1, prefetch_factor=4
    )
    losses: list[float] = []
    started = time.monotonic()
    for step, batch in enumerate(batches, first):
        losses.append(run.step(step, loss_of(run.module, *batch, settings.quantile_positions)))
        done = step + 1
        if done % 250 == 0 or done == settings.steps:
            with torch.no_grad():
                checked = [loss_of(run.average.module, *b, settings.quantile_positions).item() for b in check]
            line = {
                "step": done,
                "loss": round(float(np.mean(losses)), 4),
                "held_back_loss": round(float(np.mean(checked)), 4),
                "rate": settings.rate * rate_at(step, settings),
                "seconds": round(time.monotonic() - started, 1),
            }
            losses.clear()
            run.keep(done, line)
            if progress:
                progress(f"loss {line['loss']}, held back {line['held_back_loss']}", done / settings.steps)
    return run.average.module


class _Run:
    """A model in training, its moving average and its optimisers."""

    def __init__(self, settings: Pretraining, directory: Path):
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.log, self.file = directory / "log.jsonl", directory / "state.pt"
        self.module = TimesFMModule(settings.architecture)
        average = torch.optim.swa_utils.get_ema_multi_avg_fn(settings.average)
        self.average = torch.optim.swa_utils.AveragedModel(self.module, multi_avg_fn=average)
        self.optimisers = optimisers(self.module, settings)
        self.key = repr(replace(settings, steps=0))  # what a state on disk must agree with

    def step(self, step: int, loss: Tensor) -> float:
        """Descend by one step; returns the loss."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.settings.rate * rate_at(step, self.settings)
            optimiser.step()
            optimiser.zero_grad()
        self.average.update_parameters(self.module)
        return loss.item()

    def keep(self, step: int, line: dict) -> None:
        with open(self.log, "a") as file:
            file.write(json.dumps(line) + "\n")
        state = {
            "key": self.key,
            "step": step,
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        new = self.file.with_suffix(".new")
        torch.save(state, new)
        new.replace(self.file)

    def resume(self) -> int:
        """Take up the state on disk; returns the steps done, 0 where there is none. Raises CheckpointError."""
        if not self.file.exists():
            self.log.unlink(missing_ok=True)
            return 0
        try:
            state = torch.load(self.file, weights_only=True)
            key = state["key"]
        except Exception as error:
            raise CheckpointError(
                f"{self.file}: damaged ({type(error).__name__}); delete it to train from the beginning"
            ) from None
        if key != self.key:
            raise CheckpointError(
                f"{self.file}: left by a run with other settings, {key}; delete it or name another directory"
            )
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        return state["step"]


def about(settings: Pretraining) -> dict:
    """What config.json says of a checkpoint's training."""
    return {
        "data": "synthetic only: predictor/synthetic.py",
        "training": {key: value for key, value in asdict(settings).items() if key != "architecture"},
    }
