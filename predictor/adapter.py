"""LoRA adapters (Hu et al., ICLR 2022) of TimesFM: on disk in PEFT's two files, and merged into the weights for use."""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from predictor.registry import BUNDLED
from predictor.timesfm_model import CheckpointError, TimesFMModule, digest, load_checkpoint

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
TARGETS = r"stacked_xf\.\d+\.attn\.(query|value)"
PREFIX = "base_model.model."  # before the names of matrices in PEFT's files


@dataclass(frozen=True, eq=False)
class Adapter:
    """LoRA matrices by PEFT's names, the base's digest, and what training said of them (settings, errors)."""

    tensors: dict[str, NDArray[np.float32]]
    base: str
    about: dict

    @property
    def parameters(self) -> int:
        return sum(tensor.size for tensor in self.tensors.values())


def save_adapter(adapter: Adapter, directory: Path) -> None:
    """Write adapter_model.safetensors and adapter_config.json, with PEFT's keys beside ours under ``links``."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file(adapter.tensors, directory / WEIGHTS)
    settings = adapter.about["settings"]
    config = {
        "peft_type": "LORA",
        "r": settings["rank"],
        "lora_alpha": settings["alpha"],
        "lora_dropout": settings["dropout"],
        "bias": "none",
        "target_modules": TARGETS,
        "links": {"base_sha256": adapter.base, **adapter.about},
    }
    (directory / CONFIG).write_text(json.dumps(config, indent=1) + "\n")


def read_adapter(directory: Path) -> Adapter:
    """Raises CheckpointError."""
    for name in (WEIGHTS, CONFIG):
        if not (directory / name).is_file():
            raise CheckpointError(f"{directory}: {name} is missing; `links train lora` writes it")
    try:
        tensors = load_file(directory / WEIGHTS)
        about = json.loads((directory / CONFIG).read_text())["links"]
        base = about.pop("base_sha256")
        scale = about["settings"]["alpha"] / about["settings"]["rank"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise CheckpointError(f"{directory}: not an adapter of `links train lora`: {error!r}") from None
    if not all(np.isfinite(values).all() for values in (scale, *tensors.values())):
        raise CheckpointError(f"{directory}: holds values that are not finite; train it again")
    return Adapter(tensors, base, about)


def merge(module: TimesFMModule, adapter: Adapter) -> None:
    """Add the adapter to the weights: W + alpha / r * B A. Raises CheckpointError if it was made for another base."""
    if (found := digest(module)) != adapter.base:
        raise CheckpointError(
            f"the adapter was trained on another checkpoint (SHA-256 {str(adapter.base)[:12]}…, this one is "
            f"{found[:12]}…); name the checkpoint that it belongs to, or train one for this"
        )
    weights = dict(module.named_parameters())
    settings = adapter.about["settings"]
    stems = [name.removesuffix(".weight") for name in weights if re.fullmatch(rf"{TARGETS}\.weight", name)]
    shapes = {f"{PREFIX}{stem}.lora_A.weight": (settings["rank"], module.md) for stem in stems}
    shapes |= {f"{PREFIX}{stem}.lora_B.weight": (module.md, settings["rank"]) for stem in stems}
    if {name: tensor.shape for name, tensor in adapter.tensors.items()} != shapes:
        raise CheckpointError("the adapter's matrices are not those its settings and its base say; train it again")
    for stem in stems:
        down, up = (adapter.tensors[f"{PREFIX}{stem}.lora_{part}.weight"] for part in "AB")
        with torch.no_grad():
            weights[f"{stem}.weight"] += torch.from_numpy(up @ down) * (settings["alpha"] / settings["rank"])


@lru_cache(maxsize=4)
def adapted(checkpoint: str, adapter: str | Adapter) -> TimesFMModule:
    """The checkpoint with an adapter in it, loaded once in a process. Raises CheckpointError."""
    module = load_checkpoint(checkpoint or BUNDLED)
    merge(module, adapter if isinstance(adapter, Adapter) else read_adapter(Path(adapter)))
    return module
