"""Data planning as the configuration wants it."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from agents import offline
from agents.planning import Planning
from agents.telemetry import export, with_requests
from agents.transcript import Transcript, new_file
from controller.config import Config, ConfigError
from twin.scenario import Scenario

if TYPE_CHECKING:  # imports a model's SDK, which takes seconds and is of no use offline
    from agents.model import Exchange, LanguageModel, Limits

log = logging.getLogger(__name__)


def make_planning(config: Config, scenario: Scenario) -> Planning:
    """The planner of a service. A language model that can't be set up, as without a key, is told in the log and in
    every plan, which is then made offline. Raises ConfigError for settings that are wrong in themselves."""
    settings = config.agents
    transcripts = Path(settings.transcripts) if settings.transcripts else None
    offline.load()
    try:
        export(settings.telemetry)
    except ImportError as error:
        raise ConfigError(f"agents.telemetry: {error}") from None
    if settings.planner == "offline":
        return Planning(scenario, None, transcripts)

    from agents.model import ModelFailure

    try:
        return Planning(scenario, _team(config), transcripts)
    except ModelFailure as failure:
        log.error("questions are planned offline: %s", failure)
        return Planning(scenario, None, transcripts, str(failure))


def make_stage_two(config: Config) -> "Callable[[], tuple[LanguageModel, Limits]] | None":
    """What gives the model that manages a retrieval; None where the configuration wants the fixed order. It raises
    ModelFailure where no model can be set up."""
    if config.agents.stage_two != "llm":
        return None
    from agents.model import LanguageModel

    settings, directory = model_settings(config), config.agents.transcripts
    shared = cache(lambda: LanguageModel(settings))

    def model() -> "tuple[LanguageModel, Limits]":
        transcript = Transcript(new_file(Path(directory), "network") if directory else None, settings.key)
        transcript.add("question", question="network management of one retrieval", now="", model=settings.model)
        return shared().told(partial(_tell, transcript)), limits(config)

    return model


def _tell(transcript: Transcript, exchange: "Exchange") -> None:
    transcript.add("exchange", **asdict(exchange))


def model_settings(config: Config):
    """The model's settings of the configuration."""
    from agents.model import ModelSettings

    settings = config.agents
    return ModelSettings(
        settings.model,
        settings.temperature,
        settings.base_url,
        settings.api_key,
        settings.output,
        request_s=settings.request_s,
    )


def limits(config: Config):
    """What one question may take."""
    from agents.model import Limits

    settings = config.agents
    return Limits(settings.steps, settings.tokens, settings.seconds, settings.cost_usd)


def _team(config: Config):
    from agents.data_api import ApiFileError, load_apis
    from agents.memory import Memory
    from agents.model import LanguageModel
    from agents.review import SecondOpinion
    from agents.sandbox import Sandbox
    from agents.workflow import Rules, Team

    settings = config.agents
    if settings.telemetry != "none":
        with_requests()
    try:
        apis = load_apis(Path(settings.apis) if settings.apis else None)
    except ApiFileError as error:
        raise ConfigError(f"agents.apis: {error}") from None
    memory = Memory(config.state_directory / "agents-memory.jsonl" if settings.memory else None)
    rules = Rules(limits(config), SecondOpinion(settings.second_opinion))
    return Team(LanguageModel(model_settings(config)), apis, Sandbox(apis), memory, rules)
