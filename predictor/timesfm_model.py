"""TimesFM 2.5 (Das et al., ICML 2024) through the ``timesfm`` package's own torch classes, in any size.

A checkpoint is a folder with ``model.safetensors`` and ``config.json``. The public 200M checkpoint's config.json says
nothing of its layers, since the package has them in its code; ours says them under ``architecture``.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timesfm.configs import ResidualBlockConfig, StackedTransformersConfig
from timesfm.timesfm_2p5.timesfm_2p5_base import TimesFM_2p5_200M_Definition
from timesfm.timesfm_2p5.timesfm_2p5_torch import TimesFM_2p5_200M_torch_module
from timesfm.torch.normalization import RMSNorm
from timesfm.torch.util import revin
from torch import Tensor

CHANNELS = 10  # the mean and nine quantiles
LARGEST_SIZE = 2**16  # of anything in an architecture; beyond it config.json is damaged


@dataclass(frozen=True)
class Architecture:
    """Sizes of a TimesFM 2.5; the defaults are the public 200M checkpoint's."""

    layers: int = 20
    width: int = 1280
    heads: int = 16
    input_patch: int = 32
    output_patch: int = 128
    quantile_horizon: int = 1024


SMALL = Architecture(layers=6, width=160, heads=5, quantile_horizon=128)
WEIGHTS, CONFIG = "model.safetensors", "config.json"


class CheckpointError(ValueError):
    """A checkpoint or an adapter that can't be used; the message names it and says what would be right."""


def definition(architecture: Architecture) -> TimesFM_2p5_200M_Definition:
    """The package's own definition with these sizes."""
    public = TimesFM_2p5_200M_Definition()
    width = architecture.width

    def block(of: ResidualBlockConfig, inputs: int, outputs: int) -> ResidualBlockConfig:
        return dataclasses.replace(of, input_dims=inputs, hidden_dims=width, output_dims=outputs)

    transformer = dataclasses.replace(
        public.stacked_transformers.transformer,
        model_dims=width,
        hidden_dims=width,
        num_heads=architecture.heads,
        fuse_qkv=False,  # apart, so that LoRA can reach query and value; load_checkpoint splits fused weights
    )
    return dataclasses.replace(
        public,
        input_patch_len=architecture.input_patch,
        output_patch_len=architecture.output_patch,
        output_quantile_len=architecture.quantile_horizon,
        tokenizer=block(public.tokenizer, 2 * architecture.input_patch, width),
        stacked_transformers=StackedTransformersConfig(num_layers=architecture.layers, transformer=transformer),
        output_projection_point=block(public.output_projection_point, width, architecture.output_patch * CHANNELS),
        output_projection_quantiles=block(
            public.output_projection_quantiles, width, architecture.quantile_horizon * CHANNELS
        ),
    )


class TimesFMModule(TimesFM_2p5_200M_torch_module):
    """The package's module in the sizes of ``architecture``, its layers ready to be trained from scratch."""

    def __init__(self, architecture: Architecture):
        self.config = definition(architecture)
        super().__init__()
        self.architecture = architecture
        for layer in self.modules():
            if isinstance(layer, RMSNorm):
                # The package only ever loads weights: zeros here would leave every block dead, without a gradient.
                torch.nn.init.ones_(layer.scale)

    def trunk(self, normed: Tensor, masks: Tensor) -> Tensor:
        """Embeddings [B, N, width] of normalised patches [B, N, p] and masks [B, N, p] (True: nothing there)."""
        embeddings = self.tokenizer(torch.cat([normed, masks.to(normed.dtype)], dim=-1))
        for layer in self.stacked_xf:
            embeddings, _ = layer(embeddings, masks[..., -1])
        return embeddings

    def point_head(self, embeddings: Tensor) -> Tensor:
        """[..., output patch, 10]: normalised mean and quantiles of the slots after a patch."""
        return self.output_projection_point(embeddings).unflatten(-1, (self.o, self.q))

    def quantile_head(self, embeddings: Tensor) -> Tensor:
        """[..., quantile horizon, 10], normalised: the head for quantiles further ahead."""
        return self.output_projection_quantiles(embeddings).unflatten(-1, (self.os, self.q))


def normalise(patches: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """RevIN as the package does it, but for all patches at once: each patch [B, N, p] less the mean and over the
    deviation [B, N] of everything up to its end; masked values are 0."""
    there = (~masks).to(torch.float64)
    values = patches.to(torch.float64) * there
    count = there.sum(-1).cumsum(1).clamp(min=1.0)
    mean = values.sum(-1).cumsum(1) / count
    # Around the mean of all there is, so that squares of large, nearly constant values lose no digits.
    centre = mean[:, -1:]
    centred = (values - centre[..., None]) * there
    variance = centred.square().sum(-1).cumsum(1) / count - (mean - centre).square()
    mean, deviation = mean.to(patches.dtype), variance.clamp(min=0.0).sqrt().to(patches.dtype)
    return revin(patches, mean, deviation) * there.to(patches.dtype), mean, deviation


@torch.inference_mode()
def predict(module: TimesFMModule, values: Tensor, padding: Tensor, horizon: int) -> Tensor:
    """[B, H, 10], in the unit of ``values`` [B, N * input patch]; the first ``padding`` [B] slots of a row are none.

    Channel 0 is the mean, 1 to 9 are the quantiles, not yet sorted. Beyond one output patch the medians are taken as
    history for the next, as the package does. Quantiles come from the quantile head as far as it reaches, laid around
    the point head's median (the package's "continuous quantile head").
    """
    parts = []
    for done in range(0, horizon, module.o):
        masks = (torch.arange(values.shape[1])[None, :] < padding[:, None]).unflatten(1, (-1, module.p))
        normed, mean, deviation = normalise(values.unflatten(1, (-1, module.p)), masks)
        last = module.trunk(normed, masks)[:, -1]
        mean, deviation = mean[:, -1, None, None], deviation[:, -1, None, None]
        point = module.point_head(last) * deviation + mean
        if not done:
            spread = module.quantile_head(last)[:, :horizon] * deviation
        parts.append(point)
        values = torch.cat([values, point[..., 5]], dim=1)
    outputs = torch.cat(parts, dim=1)[:, :horizon]
    near = slice(0, spread.shape[1])
    outputs[:, near, 1:] = spread[..., 1:] - spread[..., 5:6] + outputs[:, near, 5:6]
    return outputs


# --- Checkpoints ------------------------------------------------------------------------------------------------------


def save_checkpoint(module: TimesFMModule, directory: Path, about: dict) -> None:
    """Write model.safetensors and config.json, with ``about`` (data, seed, ...) beside the architecture."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, directory / WEIGHTS)
    config = {"model": "timesfm-2.5", "architecture": dataclasses.asdict(module.architecture), **about}
    (directory / CONFIG).write_text(json.dumps(config, indent=1) + "\n")


def load_checkpoint(source: str | Path) -> TimesFMModule:
    """The model in a local folder or, for an ``owner/name`` that is no folder, on the Hugging Face hub (with network).

    Raises CheckpointError.
    """
    directory = Path(source)
    if not directory.is_dir():
        directory = _from_hub(str(source))
    weights = directory / WEIGHTS
    try:
        tensors = load_file(weights)
    except FileNotFoundError:
        raise CheckpointError(f"{directory}: no {WEIGHTS} in it; a TimesFM 2.5 checkpoint for torch has one") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{weights}: damaged or no safetensors file ({error}); fetch it again") from None
    architecture = _architecture(directory / CONFIG)
    tensors = _split_fused(tensors)
    if architecture.layers > len(tensors):
        raise CheckpointError(f"{weights}: {len(tensors)} tensors are too few for {architecture.layers} layers")
    with torch.device("meta"):  # sizes alone, so that nonsense in config.json takes no memory
        module = TimesFMModule(architecture)
    expected = module.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        found, wanted = tensors.get(name), expected.get(name)
        if found is None or wanted is None or found.shape != wanted.shape:
            shapes = [None if tensor is None else list(tensor.shape) for tensor in (found, wanted)]
            raise CheckpointError(
                f"{weights}: tensor {name} is {shapes[0] or 'missing'}, but {shapes[1] or 'none'} is expected of "
                f"{architecture}; is it a TimesFM 2.5 checkpoint, with its own {CONFIG}?"
            )
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise CheckpointError(f"{weights}: holds values that are not finite; fetch it again")
    module.load_state_dict({name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}, assign=True)
    return module.eval()


def _architecture(config: Path) -> Architecture:
    """Of config.json; the public sizes where it is absent or silent."""
    try:
        document = json.loads(config.read_text()) if config.exists() else {}
        sizes = document.get("architecture", {})
        architecture = Architecture(**sizes)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{config}: not a TimesFM checkpoint's configuration: {error}") from None
    for field in dataclasses.fields(Architecture):
        size = getattr(architecture, field.name)
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LARGEST_SIZE:
            raise CheckpointError(
                f"{config}: architecture.{field.name} is {size!r}; a whole number, 1 to {LARGEST_SIZE}"
            )
    if (architecture.input_patch, architecture.output_patch) != (32, 128):
        raise CheckpointError(
            f"{config}: patches of {architecture.input_patch} slots in and {architecture.output_patch} out; "
            "TimesFM 2.5 has 32 and 128"
        )
    if architecture.quantile_horizon < architecture.output_patch:
        raise CheckpointError(f"{config}: quantile_horizon {architecture.quantile_horizon} is shorter than a patch out")
    if architecture.width % (2 * architecture.heads):
        raise CheckpointError(f"{config}: width {architecture.width} must be an even multiple of {architecture.heads}")
    return architecture


def _split_fused(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The public checkpoint keeps query, key and value in one matrix."""
    split = {}
    for name, tensor in tensors.items():
        if name.endswith("attn.qkv_proj.weight") and tensor.ndim == 2 and len(tensor) % 3 == 0 < len(tensor):
            stem = name.removesuffix("qkv_proj.weight")
            for part, matrix in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                split[f"{stem}{part}.weight"] = matrix
        else:
            split[name] = tensor
    return split


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(f"{name}: no such folder; name a folder with {WEIGHTS}, or owner/name on the hub")
    try:
        return Path(snapshot_download(name, allow_patterns=[WEIGHTS, CONFIG]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{name}: neither a folder here nor to be had from the hub ({type(error).__name__}); without a network, "
            "copy the checkpoint to this machine and name its folder"
        ) from None


def digest(module: TimesFMModule) -> str:
    """SHA-256 of the weights, by which an adapter knows its base."""
    total = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.contiguous().numpy().tobytes())
    return total.hexdigest()
