"""Configuration: defaults, strictness, environment, and the reference that is generated from it."""

import dataclasses
import typing
from pathlib import Path

import pytest

from controller.config import Config, ConfigError, DecisionConfig, ForecastConfig, choices_of, load_config, reference
from predictor import NAMES, OPTIONAL, QUANTILES, TRAINED
from predictor.risk import RULES, WINDOWS

ROOT = Path(__file__).parents[2]


def write(tmp_path, text):
    path = tmp_path / "links.toml"
    path.write_text(text)
    return path


def test_no_file_gives_the_defaults():
    assert load_config(None, {}) == Config()


def test_file_and_environment_over_it(tmp_path):
    path = write(tmp_path, '[decision]\ntau = 0.5\nwindow_slots = 2\n[scenario]\nfile = "x.json"\n')
    config = load_config(path, {"LINKS_DECISION_TAU": "0.6"})
    assert (config.decision.tau, config.decision.window_slots, config.scenario.file) == (0.6, 2, "x.json")


def test_config_file_from_the_environment(tmp_path):
    path = write(tmp_path, "[decision]\ntau = 0.5\n")
    assert load_config(None, {"LINKS_CONFIG": str(path)}).decision.tau == 0.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[decison]\ntau = 1.0\n", "unknown section [decison]"),
        ("[decision]\ntao = 1.0\n", "unknown key 'tao'"),
        ('[decision]\ntau = "high"\n', "a float is expected, not 'high'"),
        ("[decision]\ntau = -0.1\n", "decision.tau: -0.1 is below 0.0"),
        ("[decision]\ntau = nan\n", "nan is below 0.0"),
        ("[decision]\nwindow_slots = 2.5\n", "a int is expected, not 2.5"),
        ("[decision]\nwindow_slots = true\n", "a int is expected, not True"),
        ('[retrieval]\ntransport = "pigeon"\n', "'pigeon' is not one of udp, tcp"),
        ('[service]\nlisten = "50551"\n', "must be host:port"),
        ('[service]\ntls_key = "key.pem"\n', "tls_certificate and tls_key go together"),
        ("decision = 1\n", "must be a section"),
        ('[decision]\nload = "0.95"\n', "'0.95' is not one of mean, 0.1"),
        ("[decision]\nload = 0.8\n", "a str is expected, not 0.8"),
        ('[decision]\nwindow = "min"\n', "'min' is not one of max, mean"),
        ("[decision]\nhysteresis = 1.5\n", "decision.hysteresis: 1.5 is above 1.0"),
        ('[forecast]\nmodel = "oracle"\n', "'oracle' is not one of"),
        ("[decision\n", "not TOML"),
    ],
)
def test_errors_name_the_place_and_the_fix(tmp_path, text, says):
    with pytest.raises(ConfigError, match=".*") as caught:
        load_config(write(tmp_path, text), {})
    assert says in str(caught.value)


def test_a_bad_environment_variable_is_named():
    with pytest.raises(ConfigError, match=r"\$LINKS_DECISION_TAU: 'x' is not a float"):
        load_config(None, {"LINKS_DECISION_TAU": "x"})


def test_booleans_in_the_environment():
    assert load_config(None, {"LINKS_DECISION_MIXED": "true"}).decision.mixed is True
    assert load_config(None, {"LINKS_DECISION_MIXED": "False"}).decision.mixed is False
    with pytest.raises(ConfigError, match="LINKS_DECISION_MIXED: 'yes' must be true or false"):
        load_config(None, {"LINKS_DECISION_MIXED": "yes"})


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml", {})


def test_the_forecasters_to_choose_from_are_those_that_need_no_training():
    field = next(key for key in dataclasses.fields(ForecastConfig) if key.name == "model")
    assert set(choices_of(field)) == set(NAMES + OPTIONAL) - set(TRAINED)
    assert "timesfm" in choices_of(field)


def test_an_adapter_is_for_timesfm_only(tmp_path):
    file = tmp_path / "links.toml"
    file.write_text('[forecast]\nmodel = "arima"\nadapter = "somewhere"\n')
    with pytest.raises(ConfigError, match="forecast.adapter is for the model timesfm, but forecast.model is arima"):
        load_config(file, {})
    file.write_text('[forecast]\nmodel = "timesfm"\nadapter = "somewhere"\nfine_tune_hours = 24.0\n')
    assert load_config(file, {}).forecast.fine_tune_hours == 24


def test_chronos_needs_weights_of_its_own(tmp_path):
    file = tmp_path / "links.toml"
    file.write_text('[forecast]\nmodel = "chronos"\n')
    with pytest.raises(ConfigError, match="forecast.checkpoint: the model chronos needs its weights"):
        load_config(file, {})
    file.write_text('[forecast]\nmodel = "chronos"\ncheckpoint = "somewhere"\n')
    assert load_config(file, {}).forecast.checkpoint == "somewhere"
    file.write_text('[forecast]\nmodel = "profile"\ncheckpoint = "somewhere"\n')
    with pytest.raises(ConfigError, match="checkpoint is for the model timesfm or chronos, but forecast.model is prof"):
        load_config(file, {})


def test_the_statistics_to_choose_from_are_those_that_exist():
    fields = {key.name: key for key in dataclasses.fields(DecisionConfig)}
    assert choices_of(fields["load"]) == RULES and choices_of(fields["window"]) == WINDOWS
    assert RULES == ("mean", *map(str, QUANTILES))


def test_the_reference_is_current_and_complete():
    text = (ROOT / "docs/configuration.md").read_text()
    assert text == reference(), "write it anew: links check-config --reference > docs/configuration.md"
    for name, kind in typing.get_type_hints(Config).items():
        assert f"## [{name}]" in text
        assert all(f"`{key.name}`" in text for key in dataclasses.fields(kind))
