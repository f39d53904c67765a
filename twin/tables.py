"""Checking TOML tables that people write: every problem names its key, what is wrong and what would be right."""

import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

MOST_BYTES = 100_000  # of a file
_KINDS = {str: "a text", bool: "a boolean", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


def _nothing(value: object) -> Iterable[str]:
    return ()


@dataclass(frozen=True)
class Key:
    """What a key's value must be: of a ``kind`` (str, bool, int, float, list or dict), and ``wants`` in words, ready to
    follow "must be". ``wrong`` tells all that is wrong with a value of that kind."""

    kind: type
    wants: str
    wrong: Callable[..., Iterable[str]] = _nothing
    required: bool = True


def read_table(path: Path) -> tuple[dict, list[str]]:
    """The table of a TOML file, and why it can't be read (then the table is empty)."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return {}, [f"it has more than {MOST_BYTES} bytes"]
        return tomllib.loads(path.read_text("utf-8")), []
    except OSError as error:
        return {}, [f"it can't be read: {error.strerror}"]
    except UnicodeDecodeError as error:
        return {}, [f"byte {error.start} is not UTF-8; save it as UTF-8"]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return {}, [f"it is not TOML: {error}"]


def problems_of(table: Mapping[str, object], keys: Mapping[str, Key], prefix: str = "") -> list[str]:
    """All that is wrong with a table whose keys must be these; ``prefix`` stands before their names."""
    found = []
    for name in (name for name in table if name not in keys):
        near = get_close_matches(name, keys, n=1)
        hint = f"the nearest is {prefix}{near[0]}" if near else f"the keys are {', '.join(keys)}"
        found.append(f"{prefix}{shown(name)[1:-1]}: this key is unknown; {hint}")
    for name, key in keys.items():
        if name in table:
            found += [f"{prefix}{name}: {wrong}; it must be {key.wants}" for wrong in _wrong(key, table[name])]
        elif key.required:
            found.append(f"{prefix}{name}: this key is missing; it must be {key.wants}")
    return found


def _wrong(key: Key, value: object) -> list[str]:
    if type(value) is not key.kind and not (key.kind is float and type(value) is int):
        return [f"{shown(value)} is not {_KINDS[key.kind]}"]
    return list(key.wrong(value))


def shown(value: object) -> str:
    """A value in a message, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def within(low: float, high: float) -> Callable[[float], Iterable[str]]:
    """For numbers in [low, high]."""
    return lambda value: () if low <= value <= high else (f"{shown(value)} is out of range",)


def text(most: int) -> Callable[[str], Iterable[str]]:
    """For texts of 1 to ``most`` characters in one line: they go into prompts."""

    def wrong(value: str) -> Iterable[str]:
        if not value.strip():
            yield "it is empty"
        if len(value) > most:
            yield f"it has {len(value)} characters"
        for at, letter in enumerate(value, 1):
            if unicodedata.category(letter) in ("Cc", "Cf", "Co", "Zl", "Zp"):
                yield f"character {at} is {letter!a}, a line break or a character that can't be seen"
                break

    return wrong


def texts(least: int, most: int, wrong_one: Callable[[str], Iterable[str]]) -> Callable[[list], Iterable[str]]:
    """For lists of ``least`` to ``most`` different texts with each of which nothing is wrong."""

    def wrong(value: list) -> Iterable[str]:
        if not least <= len(value) <= most:
            yield f"it has {len(value)} entries"
        for at, one in enumerate(value, 1):
            if not isinstance(one, str):
                yield f"entry {at}, {shown(one)}, is not a text"
            elif one in value[: at - 1]:
                yield f"entry {at}, {shown(one)}, stands there twice"
            else:
                yield from (f"entry {at}, {shown(one)}: {what}" for what in wrong_one(one))

    return wrong
