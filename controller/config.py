"""The configuration: one TOML file, strict, with environment variables over it.

Every key is a field of a dataclass below; its default and its description are its only definition, and
``docs/configuration.md`` is generated from them. ``LINKS_<SECTION>_<KEY>`` in the environment overrides a key.
"""

import dataclasses
import os
import tomllib
import typing
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names file, key, value and what would be right."""


Choices = tuple[str, ...] | Callable[[], tuple[str, ...]]


def _key(default, description: str, choices: Choices = (), minimum: float | None = None, maximum: float | None = None):
    """choices: or what gives them when they are needed, since the command line's help shall not wait for numpy."""
    return field(
        default=default,
        metadata={"description": description, "choices": choices, "minimum": minimum, "maximum": maximum},
    )


def choices_of(key: dataclasses.Field) -> tuple[str, ...]:
    """What a key may be set to; () if anything of its type."""
    choices = key.metadata["choices"]
    return choices() if callable(choices) else choices


def _models() -> tuple[str, ...]:
    from predictor import NAMES, OPTIONAL, TRAINED

    return tuple(name for name in NAMES + OPTIONAL if name not in TRAINED)


def _rules() -> tuple[str, ...]:
    from predictor.risk import RULES

    return RULES


@dataclass(frozen=True)
class ServiceConfig:
    """The links service: where it listens and how it is protected."""

    listen: str = _key("127.0.0.1:50551", "Address of the gRPC server, host:port.")
    token: str = _key("", "Bearer token that every call must carry; empty: none is asked for.")
    tls_certificate: str = _key("", "PEM file of the server's certificate; with tls_key it turns TLS on.")
    tls_key: str = _key("", "PEM file of the server's private key.")
    tls_ca: str = _key("", "PEM file that clients check the server's certificate with.")
    state_directory: str = _key(
        "", "Where the twin's store and logs live; empty: ~/.local/state/links, or /var/lib/links for root."
    )
    workers: int = _key(2, "Worker processes for forecasts and optimisation.", minimum=1, maximum=256)
    max_questions: int = _key(16, "Questions answered at the same time; more are refused.", minimum=1, maximum=10_000)


@dataclass(frozen=True)
class ScenarioConfig:
    """The city, and the clock it lives by."""

    file: str = _key("milan", "A bundled scenario's name or a scenario file's path.")
    clock: str = _key(
        "emulated",
        "emulated: starts at the scenario's `now`; system: this machine's clock, for real networks.",
        choices=("emulated", "system"),
    )
    speed: float = _key(1.0, "Emulated seconds per second.", minimum=0.001, maximum=10_000.0)
    sensor_types: str = _key(
        "", "Directory with an operator's own sensor types, one card file each (docs/planning.md); empty: none."
    )


@dataclass(frozen=True)
class DecisionConfig:
    """When a cell's sensors use 6G and when Zigbee."""

    policy: str = _key(
        "tau",
        "`tau`: predicted load against tau; `delay`: the path with the smaller predicted delay, the forecast's "
        "uncertainty counted in.",
        choices=("tau", "delay"),
    )
    mixed: bool = _key(False, "Some sensors of a 6G cell over Zigbee where that lowers the cell's largest delay.")
    tau: float = _key(
        0.7, "Threshold of predicted load, share of capacity: below it 6G, else Zigbee.", minimum=0.0, maximum=1.0
    )
    hysteresis: float = _key(
        0.05,
        "Share of capacity: a cell that was over tau comes back to 6G only below tau - hysteresis (at half of tau at "
        "the latest), so that it does not flap. Policy `delay` has none: it weighs both paths anew for every "
        "retrieval, and where they are equal either is right.",
        minimum=0.0,
        maximum=1.0,
    )
    load: str = _key(
        "mean",
        "Which statistic of each slot's predicted load counts: the mean, or a quantile; a higher one keeps more cells "
        "off 6G that turn out full. The RRM takes the same load as what is in use.",
        choices=_rules,
    )
    window: str = _key(
        "max", "Whether the largest or the mean load of the window's slots counts.", choices=("max", "mean")
    )
    window_slots: int = _key(
        3,
        "Slots of 10 minutes from now on whose load counts; the one in progress counts too once it has telemetry.",
        minimum=1,
        maximum=144,
    )
    interval_s: float = _key(1.0, "At most this long after new telemetry, routes follow it, seconds.", minimum=0.1)


@dataclass(frozen=True)
class ForecastConfig:
    """The traffic-load predictor."""

    model: str = _key("timesfm", "Forecaster's name.", choices=_models)
    checkpoint: str = _key(
        "",
        "Weights of timesfm or chronos: a folder, or owner/name on the hub; empty: the TimesFM that comes with LINKs.",
    )
    adapter: str = _key("", "Folder of a LoRA adapter for the checkpoint (`links train lora`); empty: none.")
    fine_tune_hours: float = _key(
        0.0,
        "So often an adapter is trained on the telemetry, in a process of its own, and taken if it is better than the "
        "present model on days held back; 0: never. Model `timesfm` only; needs four days of telemetry.",
        minimum=0.0,
    )
    history_slots: int = _key(2016, "Slots of telemetry kept and used, 144 a day.", minimum=1, maximum=100_000)

    def __post_init__(self):
        for key, models in (
            ("checkpoint", ("timesfm", "chronos")),
            ("adapter", ("timesfm",)),
            ("fine_tune_hours", ("timesfm",)),
        ):
            if getattr(self, key) and self.model not in models:
                raise ConfigError(
                    f"forecast.{key} is for the model {' or '.join(models)}, but forecast.model is {self.model}"
                )
        if self.model == "chronos" and not self.checkpoint:
            raise ConfigError("forecast.checkpoint: the model chronos needs its weights; name their folder")


@dataclass(frozen=True)
class AgentsConfig:
    """Data planning by agents on a language model. Planning offline is the default, and the fallback when they fail."""

    planner: str = _key("offline", "`offline`: no language model; `llm`: the agents below.", choices=("offline", "llm"))
    model: str = _key("gpt-4o", "Name of the model, as its endpoint calls it.")
    temperature: float = _key(0.1, "Sampling temperature.", minimum=0.0, maximum=2.0)
    base_url: str = _key(
        "", "Any OpenAI-compatible endpoint's address, ending in /v1; empty: $OPENAI_BASE_URL, or OpenAI."
    )
    api_key: str = _key("", "Its key; empty: $OPENAI_API_KEY. Better there than in a file.")
    output: str = _key(
        "tool",
        "How replies are made to fit their schema: `tool` (function calls; the Planner then calls the Data API too), "
        "`native` (the endpoint enforces a JSON schema) or `prompted` (the schema is in the prompt).",
        choices=("tool", "native", "prompted"),
    )
    request_s: float = _key(60.0, "The longest that one request may take, seconds.", minimum=0.1)
    steps: int = _key(15, "Most turns of agents per question.", minimum=1, maximum=1_000)
    tokens: int = _key(60_000, "Most tokens per question, prompts included.", minimum=1)
    seconds: float = _key(120.0, "Longest planning per question; waiting for a person does not count.", minimum=0.1)
    cost_usd: float = _key(
        0.0, "Most US dollars per question, where the model's price is known; 0: no limit.", minimum=0.0
    )
    second_opinion: str = _key(
        "binding",
        "What the offline planner's opinion counts for: `binding`: types that it is sure of are in and those for which "
        "nothing speaks are out, the model decides between; `advisory`: the model is told once, then decides.",
        choices=("binding", "advisory"),
    )
    human: str = _key(
        "NEVER",
        "When a person is asked: `NEVER`, `TERMINATE` (to approve the finished plan) or `ALWAYS` (after every turn).",
        choices=("NEVER", "TERMINATE", "ALWAYS"),
    )
    human_s: float = _key(300.0, "A person who does not answer for so long has not approved, seconds.", minimum=0.1)
    memory: bool = _key(True, "Keep the lessons of reviews in the state directory and tell them to later questions.")
    transcripts: str = _key("", "Directory for a transcript of each question (`links transcript FILE`); empty: none.")
    apis: str = _key("", "Directory with an operator's own Data API files, offered to the agents; empty: none.")
    telemetry: str = _key(
        "none",
        "OpenTelemetry spans: `none`, `console` or `otlp` (to where $OTEL_EXPORTER_OTLP_ENDPOINT says).",
        choices=("none", "console", "otlp"),
    )
    stage_two: str = _key(
        "driver",
        "Who runs the tools of radio resource management: `driver` (a fixed order) or `llm` (the model, by function "
        "calls; the driver completes and checks).",
        choices=("driver", "llm"),
    )


@dataclass(frozen=True)
class OptimizerConfig:
    """Radio resource management."""

    mode: str = _key(
        "frames",
        "`frames`: resource blocks are shared over the slots of a frame; `literal`: each is one sensor's throughout.",
        choices=("frames", "literal"),
    )
    solver: str = _key(
        "auto",
        "`auto` is HiGHS; `gurobi` and `scip` go through Pyomo; `heuristic` solves no program.",
        choices=("auto", "highs", "gurobi", "scip", "heuristic"),
    )
    time_limit_s: float = _key(2.0, "Per cell; the best solution so far is used, with its proven gap.", minimum=0.01)
    gap: float = _key(0.01, "Relative gap at which a solution is good enough.", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class RetrievalConfig:
    """Moving data from the sensors' edge storage to the twin."""

    transport: str = _key("tcp", "CoAP over UDP (RFC 7252) or TCP (RFC 8323).", choices=("udp", "tcp"))
    chunk_bytes: int = _key(65_536, "Payload verified and stored at a time.", minimum=1024, maximum=1_048_576)
    window: int = _key(16, "CoAP blocks of one sensor under way at a time (UDP).", minimum=1, maximum=64)
    stall_timeout_s: float = _key(10.0, "A sensor that sends nothing for so long has failed.", minimum=0.5)


@dataclass(frozen=True)
class OpenFlowConfig:
    """The Ryu application's side."""

    listen_port: int = _key(6653, "TCP port on which `links up` lets Ryu wait for switches.", minimum=1, maximum=65_535)
    timeout_s: float = _key(10.0, "A flow program that is not confirmed by then has failed.", minimum=0.1)
    reconcile_s: float = _key(
        30.0, "How often what switches hold is compared with what they should, and mended, seconds.", minimum=0.1
    )
    return_after_s: float = _key(
        5.0, "A link that was down counts again when it has been up for so long without a break, seconds.", minimum=0.0
    )
    tls_certificate: str = _key(
        "", "PEM file of the controller's certificate; with tls_key and tls_ca it turns on TLS to the switches."
    )
    tls_key: str = _key("", "PEM file of the controller's private key.")
    tls_ca: str = _key("", "PEM file that the switches' certificates are checked with.")


@dataclass(frozen=True)
class Config:
    """The whole configuration."""

    service: ServiceConfig = ServiceConfig()
    scenario: ScenarioConfig = ScenarioConfig()
    decision: DecisionConfig = DecisionConfig()
    agents: AgentsConfig = AgentsConfig()
    forecast: ForecastConfig = ForecastConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    openflow: OpenFlowConfig = OpenFlowConfig()

    @property
    def state_directory(self) -> Path:
        """Where the service keeps what outlives it."""
        if self.service.state_directory:
            return Path(self.service.state_directory)
        return Path("/var/lib/links") if os.geteuid() == 0 else Path.home() / ".local/state/links"


def load_config(path: str | Path | None = None, environment: MutableMapping[str, str] = os.environ) -> Config:
    """Read ``path`` (default: $LINKS_CONFIG, else no file), then the environment. Raises ConfigError.

    An operator's sensor types are checked, and told to ``twin.sensor_types``, in this process and its children, by the
    environment's LINKS_SCENARIO_SENSOR_TYPES."""
    path = path or environment.get("LINKS_CONFIG") or None
    document = {}
    if path:
        try:
            document = tomllib.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; name a TOML file, or none for the defaults") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from None
    sections = typing.get_type_hints(Config)
    unknown = document.keys() - sections.keys()
    if unknown:
        raise ConfigError(f"{path}: unknown section [{sorted(unknown)[0]}]; the sections are {', '.join(sections)}")
    config = Config(
        **{
            name: _section(kind, name, document.get(name, {}), str(path), environment)
            for name, kind in sections.items()
        }
    )
    if bool(config.service.tls_certificate) != bool(config.service.tls_key):
        raise ConfigError("service: tls_certificate and tls_key go together; give both, or none for no TLS")
    host, _, port = config.service.listen.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) < 65_536:
        raise ConfigError(f"service.listen: {config.service.listen!r} must be host:port, such as 127.0.0.1:50551")
    tls = config.openflow.tls_certificate, config.openflow.tls_key, config.openflow.tls_ca
    if any(tls) and not all(tls):
        raise ConfigError(
            "openflow: tls_certificate, tls_key and tls_ca go together; give all three, or none for no TLS"
        )
    if config.scenario.sensor_types:
        _use_sensor_types(Path(config.scenario.sensor_types).absolute(), environment)
    return config


def _use_sensor_types(directory: Path, environment: MutableMapping[str, str]) -> None:
    from agents.cards import check_card_directory
    from twin.sensor_types import VARIABLE

    environment[VARIABLE] = str(directory)
    if problems := check_card_directory(directory):
        raise ConfigError("scenario.sensor_types: " + "\n  ".join(problems))


def _section(kind: type, name: str, values: object, path: str, environment: Mapping[str, str]):
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: {name} must be a section, [{name}]")
    keys = {key.name: key for key in dataclasses.fields(kind)}
    unknown = values.keys() - keys.keys()
    if unknown:
        raise ConfigError(f"{path}: [{name}]: unknown key {sorted(unknown)[0]!r}; the keys are {', '.join(keys)}")
    result = {}
    for key in keys.values():
        variable = f"LINKS_{name}_{key.name}".upper()
        if variable in environment:
            result[key.name] = _check(key, _parse(key, environment[variable], f"${variable}"), f"${variable}")
        elif key.name in values:
            result[key.name] = _check(key, values[key.name], f"{path}: {name}.{key.name}")
    return kind(**result)


def _parse(key: dataclasses.Field, text: str, where: str):
    """An environment variable's text as the key's type."""
    if key.type is bool:
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"{where}: {text!r} must be true or false")
        return text.lower() == "true"
    try:
        return key.type(text)
    except ValueError:
        raise ConfigError(f"{where}: {text!r} is not a {key.type.__name__}") from None


def _check(key: dataclasses.Field, value: object, where: str):
    if key.type is float and type(value) is int:
        value = float(value)
    if type(value) is not key.type:
        raise ConfigError(f"{where}: a {key.type.__name__} is expected, not {value!r}")
    choices, minimum, maximum = choices_of(key), key.metadata["minimum"], key.metadata["maximum"]
    if choices and value not in choices:
        raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(str, choices))}")
    if minimum is not None and not value >= minimum:
        raise ConfigError(f"{where}: {value} is below {minimum}")
    if maximum is not None and not value <= maximum:
        raise ConfigError(f"{where}: {value} is above {maximum}")
    return value


def reference() -> str:
    """The configuration reference, as Markdown."""
    lines = [
        "# Configuration",
        "",
        "One TOML file, named by `--config FILE` or `$LINKS_CONFIG`; without one the defaults hold. Unknown sections",
        "and keys are errors. `LINKS_<SECTION>_<KEY>` in the environment overrides a key: `LINKS_DECISION_TAU=0.6`.",
        "`links check-config FILE` checks a file without starting anything. Generated from `controller/config.py`.",
    ]
    for name, kind in typing.get_type_hints(Config).items():
        lines += ["", f"## [{name}]", "", kind.__doc__, "", "| key | default | meaning |", "|---|---|---|"]
        for key in dataclasses.fields(kind):
            default = f'"{key.default}"' if key.type is str else str(key.default)
            limits = [f"one of {', '.join(choices_of(key))}"] if choices_of(key) else []
            limits += [f"at least {key.metadata['minimum']}"] if key.metadata["minimum"] is not None else []
            limits += [f"at most {key.metadata['maximum']}"] if key.metadata["maximum"] is not None else []
            lines.append(
                f"| `{key.name}` | `{default}` | {key.metadata['description']}"
                f"{' (' + '; '.join(limits) + ')' if limits else ''} |"
            )
    return "\n".join(lines) + "\n"
