"""Sensor Cards as data: what each sensor type monitors, in which unit, what it bears on and which words name it."""

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

from twin.sensor_types import sensor_types


@dataclass(frozen=True)
class SensorCard:
    """The card of one sensor type; what each part means is told at the head of ``cards.toml``."""

    type: str
    monitors: str
    unit: str
    bears_on: tuple[str, ...]
    silent_on: str
    en: tuple[str, ...]
    it: tuple[str, ...]
    hints: tuple[str, ...]
    causes: tuple[str, ...] = ()
    exposure: tuple[str, ...] = ()
    hazard: bool = False

    @property
    def title(self) -> str:
        return self.type.replace("_", " ")

    @property
    def text(self) -> str:
        """The card in words, for people and for prompts (paper, section III-A)."""
        return (
            f"{self.title.capitalize()}: it is designed to monitor {self.monitors}, stored in {self.unit}. "
            f"Bears on: {', '.join(self.bears_on)}. Does not tell: {self.silent_on}."
        )


@cache
def sensor_cards() -> dict[str, SensorCard]:
    """All cards by type, in the order of the sensor types. Raises ValueError naming what is wrong in ``cards.toml``."""
    table = tomllib.loads(files("agents").joinpath("cards.toml").read_text("utf-8"))
    types = sensor_types()
    if table.keys() != types.keys():
        odd = sorted(table.keys() ^ types.keys())
        raise ValueError(f"cards.toml: there must be one card per sensor type, but these differ: {', '.join(odd)}")
    cards = {}
    for type_id in types:
        row = {key: tuple(value) if isinstance(value, list) else value for key, value in table[type_id].items()}
        unknown = row.keys() - {field.name for field in fields(SensorCard)}
        if unknown:
            raise ValueError(f"cards.toml: [{type_id}]: unknown key {sorted(unknown)[0]!r}")
        try:
            card = SensorCard(type_id, **row)
        except TypeError as error:
            raise ValueError(f"cards.toml: [{type_id}]: {error}") from None
        for other in (*card.causes, *card.exposure):
            if other not in types:
                raise ValueError(f"cards.toml: [{type_id}]: {other!r} is no sensor type")
        cards[type_id] = card
    return cards
