import dataclasses
import json

import huggingface_hub.constants
import numpy as np
import pytest
import timesfm
import torch
from safetensors.torch import load_file, save_file
from small_timesfm import TINY, daily, tiny_checkpoint, tiny_module
from timesfm.timesfm_2p5 import timesfm_2p5_torch
from timesfm.timesfm_2p5.timesfm_2p5_base import TimesFM_2p5_200M_Definition
from timesfm.torch.normalization import RMSNorm
from timesfm.torch.util import revin, update_running_stats

from predictor.pretrain import batch_loss
from predictor.timesfm_model import (
    Architecture,
    CheckpointError,
    TimesFMModule,
    definition,
    digest,
    load_checkpoint,
    normalise,
    predict,
    save_checkpoint,
)

CLOSE = {"rtol": 2e-4, "atol": 2e-4}  # the package adds up in float32; loads are about 1


@pytest.fixture
def package(monkeypatch):
    """The package's own forecaster around a module of ours."""

    def make(module, context: int, horizon: int, batch: int):
        monkeypatch.setattr(timesfm_2p5_torch, "TimesFM_2p5_200M_torch_module", lambda: module)
        model = timesfm.TimesFM_2p5_200M_torch(torch_compile=False)
        model.compile(
            timesfm.ForecastConfig(
                max_context=context,
                max_horizon=horizon,
                per_core_batch_size=batch,
                use_continuous_quantile_head=True,
                force_flip_invariance=False,
                infer_is_positive=True,
            )
        )
        return model

    return make


def padded(rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of any lengths as values [B, N * 32] and padding [B]."""
    length = -(-max(map(len, rows)) // 32) * 32
    values = np.stack([np.pad(row, (length - len(row), 0)) for row in rows]).astype(np.float32)
    return torch.from_numpy(values), torch.tensor([length - len(row) for row in rows])


# --- The same as the package ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [(256, 256, 256), (256, 224, 200, 97, 33)], ids=["full", "ragged"])
@pytest.mark.parametrize(("horizon", "reach"), [(1, 128), (60, 128), (128, 128), (200, 256)])
def test_predict_is_the_packages_forecast(package, lengths, horizon, reach):
    module = tiny_module(3, quantile_horizon=reach)
    rows = [series[:length] for series, length in zip(daily(len(lengths), 256, 4), lengths, strict=True)]
    medians, theirs = package(module, 256, horizon, len(rows)).forecast(horizon, list(rows))
    ours = predict(module, *padded(rows), horizon).numpy()
    assert ours.shape == theirs.shape == (len(rows), horizon, 10)
    np.testing.assert_allclose(np.maximum(ours, 0), theirs, **CLOSE)
    np.testing.assert_allclose(np.maximum(ours[..., 5], 0), medians, **CLOSE)


@pytest.mark.parametrize("horizon", [129, 300])
def test_beyond_the_quantile_head_predict_is_the_packages_decode(horizon):
    module = tiny_module(5)
    rows = [series[:length] for series, length in zip(daily(3, 256, 6), (256, 160, 45), strict=True)]
    values, padding = padded(rows)
    masks = torch.arange(256)[None, :] < padding[:, None]
    near, spread, far = module.decode(horizon, values, masks)
    theirs = torch.cat([near[:, -1], far.flatten(1, 2)], dim=1)[:, :horizon]
    ours = predict(module, values, padding, horizon)
    torch.testing.assert_close(ours[:, 128:], theirs[:, 128:], **CLOSE)
    torch.testing.assert_close(ours[..., [0, 5]], theirs[..., [0, 5]], **CLOSE)
    around = spread[..., 1:] - spread[..., 5:6] + theirs[:, :128, 5:6]
    torch.testing.assert_close(ours[:, :128, 1:], around, **CLOSE)


def test_predict_does_not_depend_on_padding():
    """Whole patches of nothing in front change nothing, whatever stands in them."""
    module = tiny_module(1)
    values, padding = padded(daily(2, 100, 2))
    longer = torch.cat([torch.full((2, 96), 7.0), values], dim=1)
    there = predict(module, values, padding, 40)
    torch.testing.assert_close(predict(module, longer, padding + 96, 40), there, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masked", ["nothing", "the beginning", "anything"])
def test_normalise_is_the_packages_running_statistics(masked):
    rng = np.random.default_rng(1)
    patches = torch.from_numpy(rng.gamma(2.0, 1.0, (4, 6, 32)).astype(np.float32))
    masks = {
        "nothing": np.zeros((4, 192), bool),
        "the beginning": np.arange(192)[None] < np.array([[0], [5], [32], [70]]),
        "anything": rng.random((4, 192)) < 0.4,
    }[masked]
    masks = torch.from_numpy(masks).unflatten(1, (6, 32))
    normed, mean, deviation = normalise(patches, masks)
    state = (torch.zeros(4), torch.zeros(4), torch.zeros(4))
    for i in range(6):
        state, (_, mu, sigma) = update_running_stats(*state, patches[:, i], masks[:, i])
        torch.testing.assert_close(mean[:, i], mu, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(deviation[:, i], sigma, rtol=1e-5, atol=1e-5)
        theirs = torch.where(masks[:, i], 0.0, revin(patches[:, i], mu, sigma))
        torch.testing.assert_close(normed[:, i], theirs, rtol=1e-4, atol=1e-4)


def test_normalise_loses_no_digits_of_large_and_nearly_constant_values():
    values = (1.6e7 + np.random.default_rng(2).integers(-1, 2, (2, 64))).astype(np.float32)  # exact in float32
    _, mean, deviation = normalise(torch.from_numpy(values).unflatten(1, (2, 32)), torch.zeros(2, 2, 32, dtype=bool))
    for i, so_far in enumerate((values[:, :32], values)):
        np.testing.assert_allclose(mean[:, i], so_far.mean(1, dtype=np.float64), rtol=1e-7)
        np.testing.assert_allclose(deviation[:, i], so_far.std(1, dtype=np.float64), rtol=1e-5)


def test_the_default_sizes_are_the_public_checkpoints():
    ours = definition(Architecture())
    transformer = dataclasses.replace(ours.stacked_transformers.transformer, fuse_qkv=True)
    fused = dataclasses.replace(ours.stacked_transformers, transformer=transformer)
    assert dataclasses.replace(ours, stacked_transformers=fused) == TimesFM_2p5_200M_Definition()


# --- A module to train ------------------------------------------------------------------------------------------------


def gradients(module) -> dict[str, float]:
    """Largest gradient of each tensor, of the training loss on some loads."""
    loads = torch.from_numpy(daily(4, 8 * 32 + 128, 1).astype(np.float32))
    batch_loss(module, loads, loads, torch.zeros(4, dtype=torch.int64), torch.tensor([5, 7]), 1).backward()
    return {name: float(p.grad.abs().max()) for name, p in module.named_parameters()}


def test_every_tensor_of_a_new_module_learns():
    dead = {name for name, largest in gradients(tiny_module(2)).items() if not largest > 0}
    assert not dead


def test_with_the_packages_own_scales_every_block_is_dead():
    """What TimesFMModule sets the scales to one for; should it fail, that has become needless."""
    module = tiny_module(2)
    for layer in module.modules():
        if isinstance(layer, RMSNorm):
            torch.nn.init.zeros_(layer.scale)
    largest = gradients(module)
    assert all(largest[name] == 0 for name in largest if ".attn." in name or ".ff" in name)
    assert largest["tokenizer.hidden_layer.weight"] > 0


# --- Checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    return tiny_checkpoint(tmp_path / "checkpoint")


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path):
    module = tiny_module(8)
    save_checkpoint(module, tmp_path / "new" / "folder", {"data": "none", "seed": 8})
    again = load_checkpoint(tmp_path / "new" / "folder")
    assert again.architecture == TINY
    assert digest(again) == digest(module)
    assert not again.training
    config = json.loads((tmp_path / "new" / "folder" / "config.json").read_text())
    assert (config["data"], config["seed"], config["architecture"]["width"]) == ("none", 8, 32)


def test_digests_tell_weights_apart():
    module = tiny_module(8)
    before = digest(module)
    with torch.no_grad():
        module.stacked_xf[1].ff1.weight[0, 0] += 1e-6
    assert digest(module) != before != digest(tiny_module(9))


def test_fused_weights_are_split_as_the_package_splits_them(checkpoint):
    class Fused(timesfm_2p5_torch.TimesFM_2p5_200M_torch_module):
        transformer = dataclasses.replace(definition(TINY).stacked_transformers.transformer, fuse_qkv=True)
        config = dataclasses.replace(
            definition(TINY),
            stacked_transformers=dataclasses.replace(definition(TINY).stacked_transformers, transformer=transformer),
        )

    apart = load_checkpoint(checkpoint)
    tensors = load_file(checkpoint / "model.safetensors")
    for layer in range(TINY.layers):
        stem = f"stacked_xf.{layer}.attn."
        parts = [tensors.pop(f"{stem}{part}.weight") for part in ("query", "key", "value")]
        tensors[f"{stem}qkv_proj.weight"] = torch.cat(parts)
    save_file(tensors, checkpoint / "model.safetensors")
    package = Fused()
    package.load_checkpoint(checkpoint / "model.safetensors")
    ours = load_checkpoint(checkpoint)
    assert digest(ours) == digest(apart)
    values = torch.from_numpy(daily(2, 128, 3).astype(np.float32))
    theirs, _, _ = package.decode(60, values, torch.zeros(2, 128, dtype=torch.bool))
    torch.testing.assert_close(predict(ours, values, torch.zeros(2), 60)[..., 0], theirs[:, -1, :60, 0], **CLOSE)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[:1000],
        lambda whole: whole[:4],
        lambda whole: b"",
        lambda whole: b"no tensors, but a text that is long enough",
        lambda whole: b"\xff" * 8 + whole[8:],
        lambda whole: whole + b"x",
        lambda whole: whole[:8] + b"#" + whole[9:],
    ],
    ids=["one byte less", "truncated", "header cut", "empty", "text", "length", "one byte more", "header"],
)
def test_damaged_weights_are_named(checkpoint, damage):
    file = checkpoint / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged or no safetensors file.*fetch it again"):
        load_checkpoint(checkpoint)


def test_a_checkpoint_without_weights_is_named(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"checkpoint: no model\.safetensors in it"):
        load_checkpoint(checkpoint)
    (checkpoint / "model.safetensors").mkdir()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(checkpoint, bad):
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["stacked_xf.1.ff0.weight"][3, 4] = bad
    save_file(tensors, checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(checkpoint)


def rewrite(checkpoint, **sizes) -> None:
    """Say other sizes in config.json than the weights have."""
    document = json.loads((checkpoint / "config.json").read_text())
    document["architecture"] |= sizes
    (checkpoint / "config.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"width": 64}, r"tensor \S+ is \[.*\], but \[.*\] is expected"),
        ({"layers": 3}, r"tensor stacked_xf\.2\.\S+ is missing"),
        ({"layers": 1}, r"tensor stacked_xf\.1\.\S+ is \[.*\], but none is expected"),
        ({"quantile_horizon": 256}, r"tensor output_projection_quantiles\.\S+ is \[1280, 32\], but \[2560, 32\]"),
        ({"heads": 4}, r"tensor stacked_xf\.0\.attn\.\S+ is \[16\], but \[8\]"),
    ],
)
def test_tensors_of_other_sizes_are_named(checkpoint, sizes, message):
    rewrite(checkpoint, **sizes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(checkpoint)


def test_a_tensor_too_many_or_of_odd_size_is_named(checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    save_file(tensors | {"head.weight": torch.zeros(2, 3)}, checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"tensor head\.weight is \[2, 3\], but none is expected"):
        load_checkpoint(checkpoint)
    for shape in ((4,), (), (0, 32)):
        fused = {"stacked_xf.0.attn.qkv_proj.weight": torch.zeros(shape)}
        save_file(tensors | fused, checkpoint / "model.safetensors")
        with pytest.raises(CheckpointError, match=r"tensor stacked_xf\.0\.attn\.\S+"):
            load_checkpoint(checkpoint)


def test_without_config_the_public_sizes_are_expected(checkpoint):
    (checkpoint / "config.json").unlink()
    with pytest.raises(CheckpointError, match="width=1280"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"input_patch": 16}, "patches of 16 slots in and 128 out; TimesFM 2.5 has 32 and 128"),
        ({"output_patch": 64}, "patches of 32 slots in and 64 out"),
        ({"layers": 0}, r"architecture\.layers is 0; a whole number"),
        ({"layers": "two"}, r"architecture\.layers is 'two'"),
        ({"width": 32.0}, r"architecture\.width is 32\.0"),
        ({"heads": True}, r"architecture\.heads is True"),
        ({"quantile_horizon": 64}, r"quantile_horizon 64 is shorter than a patch out"),
        ({"quantile_horizon": 64}, r"quantile_horizon 64 is shorter than a patch out"),
        ({"heads": -2}, r"architecture\.heads is -2"),
        ({"width": 33}, "width 33 must be an even multiple of 2"),
        ({"depth": 2}, "not a TimesFM checkpoint's configuration.*depth"),
        ({"layers": 10**9}, "layers"),
        ({"width": 10**30}, "width"),
        ({"quantile_horizon": 10**12}, "quantile"),
    ],
)
def test_other_patches_and_nonsense_sizes_are_named(checkpoint, sizes, message):
    rewrite(checkpoint, **sizes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '{"architecture": []}', '{"architecture": null}', '{"architecture": 7}']
)
def test_a_configuration_that_is_none_is_named(checkpoint, text):
    (checkpoint / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json: not a TimesFM checkpoint's configuration"):
        load_checkpoint(checkpoint)
    (checkpoint / "config.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("source", ["missing", "./missing", "/no/such/folder", "~/missing", "a/b/c", "../missing"])
def test_a_folder_that_does_not_exist_is_named(source):
    with pytest.raises(CheckpointError, match=f"{source}: no such folder; name a folder with model.safetensors"):
        load_checkpoint(source)


def test_without_a_network_a_name_on_the_hub_says_what_to_do(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="nobody/nothing: neither a folder here nor .* copy the checkpoint"):
        load_checkpoint("nobody/nothing")
    with pytest.raises(CheckpointError, match="neither a folder here"):
        load_checkpoint("not valid/as a name!")


def test_what_the_hub_has_is_loaded(checkpoint, monkeypatch):
    asked = []

    def download(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(checkpoint)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert isinstance(load_checkpoint("owner/name"), TimesFMModule)
    assert asked == [("owner/name", ["model.safetensors", "config.json"])]
