import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from small_timesfm import TINY, TRAINING, tiny_module

from predictor.pretrain import Batches, Muon, Pretraining, about, batch_loss, optimisers, orthogonal, pretrain, rate_at
from predictor.timesfm_forecaster import TimesFM
from predictor.timesfm_model import CheckpointError, load_checkpoint, save_checkpoint

SMALLEST = replace(TRAINING, steps=2, series=2, context=4, positions=2, quantile_positions=1, warmup=1)


def tensors(module) -> dict[str, torch.Tensor]:
    return module.state_dict()


def test_two_steps_run_and_leave_a_log_and_a_checkpoint(tmp_path):
    said = []
    module = pretrain(SMALLEST, tmp_path, compiled=False, progress=lambda text, share: said.append((text, share)))
    (line,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert line["step"] == 2
    assert np.isfinite([line["loss"], line["held_back_loss"]]).all()
    assert [share for _, share in said] == [1.0]
    fresh = tiny_module(SMALLEST.seed)
    assert all(not torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in tensors(module).items())
    save_checkpoint(module, tmp_path / "checkpoint", about(SMALLEST))
    config = json.loads((tmp_path / "checkpoint" / "config.json").read_text())
    assert config["architecture"] == asdict(TINY)
    assert config["data"].startswith("synthetic only")
    assert (config["training"]["steps"], config["training"]["seed"]) == (2, SMALLEST.seed)
    assert load_checkpoint(tmp_path / "checkpoint").architecture == TINY
    result = TimesFM(checkpoint=str(tmp_path / "checkpoint")).forecast(np.ones((1, 64)) + np.arange(64) % 7, 8)
    assert np.isfinite(result.mean).all()


class Interruption(Exception):
    pass


def test_a_run_that_goes_on_equals_one_that_was_never_interrupted(tmp_path):
    settings = replace(SMALLEST, steps=252)  # the state is kept every 250 steps
    whole = pretrain(settings, tmp_path / "whole", compiled=False)

    def stop(text, share):
        raise Interruption

    with pytest.raises(Interruption):
        pretrain(settings, tmp_path / "parts", compiled=False, progress=stop)
    assert torch.load(tmp_path / "parts" / "state.pt", weights_only=True)["step"] == 250
    parts = pretrain(settings, tmp_path / "parts", compiled=False)
    assert all(torch.equal(tensors(whole)[name], tensor) for name, tensor in tensors(parts).items())
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert steps == [250, 252]


def test_a_state_of_other_settings_or_a_damaged_one_is_refused(tmp_path):
    pretrain(SMALLEST, tmp_path, compiled=False)
    with pytest.raises(CheckpointError, match=r"state\.pt: left by a run with other settings, .*seed=1.*name another"):
        pretrain(replace(SMALLEST, seed=2), tmp_path, compiled=False)
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"state\.pt: damaged .*delete it to train from the beginning"):
        pretrain(SMALLEST, tmp_path, compiled=False)


def test_training_lowers_the_loss():
    """Of the average that is kept, on batches that were not trained on."""
    from small_timesfm import trained_module

    others = Batches(replace(TRAINING, seed=99))
    check = [tuple(map(torch.as_tensor, others[i])) for i in range(4)]

    def loss(module) -> float:
        with torch.no_grad():
            return float(np.mean([batch_loss(module, *batch, 2).item() for batch in check]))

    assert loss(trained_module()) < 0.9 * loss(tiny_module(TRAINING.seed))


def test_seed_and_number_fix_a_batch():
    batches, again = Batches(SMALLEST), Batches(SMALLEST)
    assert len(batches) == 2
    for one, other in zip(batches[1], again[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert (batches[1][0] != batches[0][0]).any()
    assert (batches[1][0] != Batches(replace(SMALLEST, seed=2))[1][0]).any()
    observed, latent, padding, positions = Batches(replace(TRAINING, series=50))[0]
    assert observed.shape == latent.shape == (50, 16 * 32 + 128)
    assert observed.dtype == latent.dtype == np.float32
    assert len(set(padding)) > 10 and min(padding) >= 0 and max(padding) < 32
    assert len(set(positions)) == 6 and list(positions) == sorted(positions) and max(positions) < 16


@pytest.mark.parametrize("change", ["before the positions", "after what they forecast", "in what they forecast"])
def test_a_batch_loss_looks_where_it_should(change):
    """A position's loss depends on what precedes it and on the 128 slots after it, and on nothing beyond."""
    module = tiny_module(1)
    observed = torch.from_numpy(np.random.default_rng(0).gamma(2, 1, (2, 8 * 32 + 128)).astype(np.float32))
    positions, padding = torch.tensor([3]), torch.tensor([0, 9])
    changed = observed.clone()
    changed[
        :, {"before the positions": 100, "after what they forecast": 128 + 128, "in what they forecast": 255}[change]
    ] += 3
    plain, other = (batch_loss(module, x, x, padding, positions, 1).item() for x in (observed, changed))
    assert (plain == pytest.approx(other, rel=1e-6)) == (change == "after what they forecast")


def test_what_stands_in_the_padding_does_not_matter():
    module = tiny_module(1)
    observed = torch.from_numpy(np.random.default_rng(0).gamma(2, 1, (2, 8 * 32 + 128)).astype(np.float32))
    changed = observed.clone()
    changed[0, :20] = 50.0
    positions, padding = torch.tensor([3, 5]), torch.tensor([20, 0])
    plain, other = (batch_loss(module, x, x, padding, positions, 1).item() for x in (observed, changed))
    assert plain == pytest.approx(other, rel=1e-6)


def test_the_rate_goes_up_stays_and_goes_down_to_nothing():
    settings = Pretraining(steps=1000, warmup=100, decay_share=0.4)
    rates = [rate_at(step, settings) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[99:600] == [1.0] * 501
    assert rates[800] == pytest.approx(0.5)
    assert rates[999] == pytest.approx(1 / 400)


def test_every_parameter_is_trained_by_one_optimiser():
    module = tiny_module(1)
    found = [
        id(p) for optimiser in optimisers(module, SMALLEST) for group in optimiser.param_groups for p in group["params"]
    ]
    assert sorted(found) == sorted(id(p) for p in module.parameters())


def test_orthogonal_keeps_singular_vectors_and_brings_singular_values_near_one():
    matrices = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 12, 20)).astype(np.float32))
    for original, result in zip(matrices, orthogonal(matrices), strict=True):
        u, _, v = torch.linalg.svd(original, full_matrices=False)
        inner = u.T @ result @ v.T
        values = inner.diagonal()
        assert (values > 0.6).all() and (values < 1.3).all()
        torch.testing.assert_close(inner, torch.diag(values), atol=1e-3, rtol=0)


def test_muon_is_momentum_made_orthogonal():
    """Two steps against the formula, for two matrices of one shape and one of another."""
    torch.manual_seed(0)
    matrices = [torch.nn.Parameter(torch.randn(shape)) for shape in ((4, 6), (4, 6), (5, 5))]
    optimiser = Muon(matrices, lr=0.1, momentum=0.9, weight_decay=0.01)
    expected, momenta = [m.detach().clone() for m in matrices], [torch.zeros_like(m) for m in matrices]
    for _ in range(2):
        for i, matrix in enumerate(matrices):
            matrix.grad = torch.randn(matrix.shape)
            momenta[i] = 0.9 * momenta[i] + 0.1 * matrix.grad
            ahead = 0.1 * matrix.grad + 0.9 * momenta[i]
            update = orthogonal(ahead[None])[0]
            expected[i] = expected[i] * (1 - 0.1 * 0.01) - 0.2 * max(matrix.shape) ** 0.5 * 0.1 * update
        optimiser.step()
        for matrix, right in zip(matrices, expected, strict=True):
            torch.testing.assert_close(matrix.detach(), right)
