"""Readings of one sensor as SenML JSON (RFC 8428), canonical: the same readings always give the same bytes.

The base name is the sensor's DEV URN from its MAC address (RFC 9039, section 4.1); a field of a multi-valued type is a
component of it, as in ``urn:dev:mac:020000ffff000001_share``. The base time is the first reading's, so that ``t`` stays
short; labels stand in the order bn, bt, bu, n, u, t, v, without white space. Values are written with the field's
decimals. No readings: one record with the base name only, because a pack has at least one record.

The decoder takes any valid pack of the same sensor (resolved, or with base fields set differently) and is strict: times
are absolute whole seconds in order, names and units are the fields', every reading has each field once.
"""

import json
import math
import re

import numpy as np

from twin.readings import Field, Readings

CONTENT_FORMAT = 110  # application/senml+json
_ABSOLUTE_S = 2**28  # smaller times are relative to "now" (RFC 8428, section 4.5.3)
_LAST_S = 2**53  # beyond it JSON numbers are no longer exact
_BASE = frozenset(("bn", "bt", "bu", "bv", "bver"))
_OF_A_READING = frozenset(("n", "u", "t", "v", "ut"))
_NOT_READINGS = {"vs": "a string", "vb": "a boolean", "vd": "data", "s": "a sum", "bs": "a base sum"}


class SenmlError(ValueError):
    """A pack that is not this sensor's readings; the message names the record (from 0) and the value."""


def base_name(mac: str) -> str:
    """DEV URN of a MAC-48 address such as ``02:00:00:00:00:01``: its EUI-64 has ff:ff in the middle (RFC 9039)."""
    if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac):
        raise SenmlError(f"mac {mac!r} must be six lower-case hex pairs with ':'")
    digits = mac.replace(":", "")
    return f"urn:dev:mac:{digits[:6]}ffff{digits[6:]}"


def encode(readings: Readings, base_name: str, fields: tuple[Field, ...]) -> bytes:
    """Canonical pack. Raises SenmlError for values with more decimals than their field, and times before July 1978."""
    if not len(readings):
        return _compact([{"bn": base_name}]).encode()
    if readings.values.shape[1] != len(fields):
        raise SenmlError(f"readings have {readings.values.shape[1]} values each, the sensor's type has {len(fields)}")
    base_time = int(readings.t_s[0])
    if base_time < _ABSOLUTE_S or readings.t_s[-1] >= _LAST_S:
        raise SenmlError(f"time {base_time} s is outside 2^28 to 2^53 s, where SenML times are absolute and exact")
    for column, field in zip(readings.values.T, fields, strict=True):
        _check_decimals(column, field)
    if fields[0].name:
        later = [{"n": field.name, "u": field.unit} for field in fields]
        first = [{"bn": f"{base_name}_", "bt": base_time, **later[0]}, *later[1:]]
    else:
        later, first = [{}], [{"bn": base_name, "bt": base_time, "bu": fields[0].unit}]
    records = [_template(labels, "", field) for labels, field in zip(first, fields, strict=True)]
    records += [_template(labels, '"t":%d,', field) for labels, field in zip(later, fields, strict=True)] * (
        len(readings) - 1
    )
    numbers = np.empty((len(readings), len(fields), 2))
    numbers[:, :, 0] = (readings.t_s - base_time)[:, None]
    numbers[:, :, 1] = readings.values + 0.0  # turns -0.0 into 0.0
    flat, width = numbers.ravel().tolist(), 2 * len(fields)
    # One formatting operation for all: sensors and twin spend much of a transfer's time here.
    return f"[{','.join(records)}]".__mod__((*flat[1:width:2], *flat[width:])).encode()


def _template(labels: dict, time: str, field: Field) -> str:
    head = _compact(labels)[1:-1].replace("%", "%%")
    return f'{{{head}{"," if head else ""}{time}"v":%.{field.decimals}f}}'


def decode(payload: bytes, base_name: str, fields: tuple[Field, ...]) -> Readings:
    """Readings of a pack. Raises SenmlError for everything that is not valid, not in order or not of this sensor."""
    return canonicalise(payload, base_name, fields)[0]


def canonicalise(payload: bytes, base_name: str, fields: tuple[Field, ...]) -> tuple[Readings, bytes]:
    """Readings of a pack and their canonical pack: ``payload`` itself when it is canonical. Raises as decode."""
    if not fields[0].name and (readings := _decode_canonical(payload, base_name, fields[0])) is not None:
        return readings, payload
    readings = _decode_any(_records(payload), base_name, fields)
    return readings, encode(readings, base_name, fields)


def _decode_canonical(payload: bytes, base_name: str, field: Field) -> Readings | None:
    """Decodes a canonical pack of a type with one value without parsing JSON, several times as fast. None for all
    others: what is read must encode to the same bytes."""
    start, unit = f'[{{"bn":{_compact(base_name)},"bt":'.encode(), f',"bu":{_compact(field.unit)},"v":'.encode()
    body = payload[len(start) : -2].replace(unit, b" ", 1).replace(b'},{"t":', b" ").replace(b',"v":', b" ")
    digits = body.translate(None, b".")  # values have fixed decimals: read them as whole numbers
    if not payload.startswith(start) or digits.translate(None, b"0123456789- "):
        return None
    try:
        numbers = np.fromstring(digits, np.int64, sep=" ")
        t_s = np.concatenate([numbers[:1], numbers[0] + numbers[2::2]])
        readings = Readings(t_s, (numbers[1::2] / 10.0**field.decimals)[:, None])
        return readings if encode(readings, base_name, (field,)) == payload else None
    except (ValueError, IndexError, DeprecationWarning):  # the last is NumPy's for a text that is not all numbers
        return None


def _decode_any(records: list[dict], base_name: str, fields: tuple[Field, ...]) -> Readings:
    column_of = {base_name + (f"_{field.name}" if field.name else ""): i for i, field in enumerate(fields)}
    rows: list[list[float]] = []
    times: list[int] = []
    bn, bt, bu, bv = "", 0, None, 0
    for at, record in enumerate(records):
        if not _BASE.isdisjoint(record):
            bn, bt = _text(record, "bn", bn, at), _number(record, "bt", bt, at)
            bu, bv = _text(record, "bu", bu, at), _number(record, "bv", bv, at)
            if not 1 <= _number(record, "bver", 10, at) <= 10:
                raise SenmlError(f"record {at}: bver {record['bver']!r}: versions 1 to 10 are understood")
            if _OF_A_READING.isdisjoint(record) and _NOT_READINGS.keys().isdisjoint(record):
                continue  # sets the base only
        _check_labels(record, at)
        name = bn + _text(record, "n", "", at)
        column = column_of.get(name)
        if column is None:
            raise SenmlError(f"record {at}: name {name[:80]!r} is not one of this sensor: {', '.join(column_of)}")
        unit = _text(record, "u", bu, at)
        if unit != fields[column].unit:
            raise SenmlError(f"record {at}: unit {unit!r} of {name!r} must be {fields[column].unit!r}")
        time = _time_s(bt, _number(record, "t", 0, at), at)
        if not times or time > times[-1]:
            _check_whole(rows, fields, at)
            times.append(time)
            rows.append([math.nan] * len(fields))
        elif time < times[-1]:
            raise SenmlError(f"record {at}: time {time} comes after {times[-1]}; records must be in order of time")
        if not math.isnan(rows[-1][column]):
            raise SenmlError(f"record {at}: a second value of {name!r} at time {time}")
        rows[-1][column] = _value(bv, record["v"], fields[column], at)
    _check_whole(rows, fields, "the last")
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(fields))
    for column, field in zip(values.T, fields, strict=True):
        _check_decimals(column, field)
    return Readings(np.array(times, dtype=np.int64), values)


def _compact(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _check_decimals(column: np.ndarray, field: Field) -> None:
    """Values must be floats nearest to a decimal number of ``field.decimals`` places and at most 15 digits."""
    with np.errstate(over="ignore"):
        scaled = np.rint(column * 10.0**field.decimals)
        wrong = np.flatnonzero((scaled / 10.0**field.decimals != column) | (np.abs(scaled) >= 1e15))
    if len(wrong):
        value, name = float(column[wrong[0]]), field.name or "the value"
        raise SenmlError(
            f"reading {wrong[0]}: {value!r} of {name} must have at most {field.decimals} decimals, 15 digits in all"
        )


def _records(payload: bytes) -> list[dict]:
    try:
        records = json.loads(payload.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_object)
    except SenmlError:
        raise
    except (ValueError, RecursionError) as error:
        raise SenmlError(f"not a JSON text in UTF-8: {str(error)[:200]}") from None
    if type(records) is not list or not records:
        raise SenmlError("not a SenML pack: a JSON array of at least one record is expected")
    for at, record in enumerate(records):
        if type(record) is not dict:
            raise SenmlError(f"record {at}: {_short(record)} is not a JSON object")
    return records


def _refuse(constant: str) -> None:
    raise SenmlError(f"{constant} is not a number that SenML allows")


def _object(pairs: list[tuple[str, object]]) -> dict:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise SenmlError(f"record {_short(record)} has a label twice")
    return record


def _check_labels(record: dict, at: int) -> None:
    """Unknown labels are ignored unless they end in "_" (RFC 8428, section 4.4)."""
    for label in record:
        if label in _NOT_READINGS:
            raise SenmlError(f"record {at}: {label!r} is {_NOT_READINGS[label]}; a reading has a number 'v'")
        if label.endswith("_"):
            raise SenmlError(f"record {at}: label {label!r} must be understood and is not")
    if "v" not in record:
        raise SenmlError(f"record {at}: {_short(record)} has no value 'v'")


def _number(record: dict, label: str, default: float, at: int) -> float:
    value = record.get(label, default)
    if type(value) not in (int, float):
        raise SenmlError(f"record {at}: {label} {_short(value)} is not a number")
    return value


def _text(record: dict, label: str, default: str | None, at: int) -> str | None:
    if label not in record:
        return default
    value = record[label]
    if type(value) is not str:
        raise SenmlError(f"record {at}: {label} {_short(value)} is not a text")
    return value


def _time_s(base: float, offset: float, at: int) -> int:
    try:
        time = base + offset
    except OverflowError:
        time = math.inf
    if not _ABSOLUTE_S <= time < _LAST_S or time != int(time):
        raise SenmlError(f"record {at}: time {_short(time)} is not an absolute time in whole seconds since 1970")
    return int(time)


def _value(base: float, value: object, field: Field, at: int) -> float:
    if type(value) not in (int, float):
        raise SenmlError(f"record {at}: value {_short(value)} is not a number")
    try:
        result = float(value) if base == 0 else round(float(base + value), field.decimals)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise SenmlError(f"record {at}: value {_short(value)} is too large")
    return result


def _check_whole(rows: list[list[float]], fields: tuple[Field, ...], at: int | str) -> None:
    if rows and len(fields) > 1 and any(map(math.isnan, rows[-1])):
        missing = [field.name for field, value in zip(fields, rows[-1], strict=True) if math.isnan(value)]
        raise SenmlError(f"before record {at}: the reading has no {', '.join(missing)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
