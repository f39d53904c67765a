"""Chronos-Bolt with random weights in the package's own format: its published ones can't be assumed to be there."""

import json

import numpy as np
import pytest
import torch
from chronos import ChronosBoltPipeline
from chronos.chronos_bolt import ChronosBoltModelForForecasting
from small_timesfm import DAY, daily
from transformers import T5Config

from predictor import QUANTILES, forecaster
from predictor.timesfm_model import CheckpointError

CONTEXT, AHEAD = 256, 64


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return made(tmp_path_factory.mktemp("chronos"), list(QUANTILES))


def made(directory, quantiles: list[float]) -> str:
    settings = {
        "context_length": CONTEXT,
        "prediction_length": AHEAD,
        "input_patch_size": 16,
        "input_patch_stride": 16,
        "quantiles": quantiles,
        "use_reg_token": True,
    }
    config = T5Config(
        d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, chronos_config=settings, decoder_start_token_id=0
    )
    config.chronos_pipeline_class = "ChronosBoltPipeline"
    config.architectures = ["ChronosBoltModelForForecasting"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        ChronosBoltModelForForecasting(config).eval().save_pretrained(directory)
    return str(directory)


def test_it_gives_what_the_package_gives_whatever_the_unit(checkpoint):
    loads = daily(3, 3 * DAY, 1)
    own = ChronosBoltPipeline.from_pretrained(checkpoint)
    table, median = own.predict_quantiles(torch.tensor(loads, dtype=torch.float32), AHEAD, list(QUANTILES))
    wanted = np.maximum(np.sort(table.numpy(), axis=2).swapaxes(1, 2), 0.0)
    for unit in (1.0, 2.0**40):
        result = forecaster("chronos", checkpoint=checkpoint).forecast(loads * unit, AHEAD)
        np.testing.assert_allclose(result.quantiles / unit, wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(result.mean / unit, result.quantiles[:, 4] / unit)
        assert result.notes == ("", "", "")


def test_long_horizons_gaps_and_short_histories(checkpoint):
    model = forecaster("chronos", checkpoint=checkpoint)
    loads = daily(4, 2 * DAY, 2)
    loads[1, 20:30] = np.nan
    loads[2, :-1] = np.nan
    loads[3] = np.nan
    result = model.forecast(loads, AHEAD + 10)
    assert result.mean.shape == (4, AHEAD + 10)
    assert np.isfinite(result.mean[:3]).all() and np.isnan(result.mean[3]).all()
    assert (np.diff(result.quantiles[:3], axis=1) >= 0).all() and (result.quantiles[:3] >= 0).all()
    long = "74 slots ahead, 64 trained for: fed on its own quantiles"
    assert result.notes[0] == long
    assert result.notes[1] == f"10 of 288 slots missing, filled in; {long}"
    assert result.notes[2] == f"{long}; one slot of history: no spread known"
    assert model.parameters > 1000


def test_cells_do_not_see_each_other(checkpoint):
    model = forecaster("chronos", checkpoint=checkpoint)
    loads = daily(70, DAY, 3)
    together = model.forecast(loads, 5).mean
    np.testing.assert_allclose(model.forecast(loads[66:67], 5).mean, together[66:67], rtol=1e-4)


def test_what_is_no_checkpoint_is_refused(tmp_path, checkpoint):
    loads = daily(1, DAY, 4)
    with pytest.raises(ValueError, match="chronos: needs its weights"):
        forecaster("chronos")
    with pytest.raises(CheckpointError, match=r"chronos: .*name the folder of amazon/chronos-bolt-small"):
        forecaster("chronos", checkpoint=str(tmp_path)).forecast(loads, 1)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(CheckpointError, match="not a Chronos-Bolt checkpoint"):
        forecaster("chronos", checkpoint=str(tmp_path)).forecast(loads, 1)
    coarse = made(tmp_path / "coarse", [0.1, 0.5, 0.9])
    with pytest.raises(CheckpointError, match=r"gives no quantiles \[0.2, 0.3"):
        forecaster("chronos", checkpoint=coarse).forecast(loads, 1)
