"""SenML packs: known bytes, round trips, other valid shapes of the same readings, and everything malformed."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.readings import Field, Readings
from twin.senml import SenmlError, base_name, canonicalise, decode, encode

BN = "urn:dev:mac:020000ffff000001"
CURRENT = (Field("", "mA", 2),)
CHARGING = (Field("occupancy", "/", 3), Field("power", "kW", 1))
T = 1_384_128_000


def readings(*rows) -> Readings:
    return Readings(np.array([row[0] for row in rows], np.int64), np.array([row[1:] for row in rows], np.float64))


def same(a: Readings, b: Readings) -> bool:
    return np.array_equal(a.t_s, b.t_s) and np.array_equal(a.values, b.values)


def values(field: Field):
    return st.integers(-(10**9), 10**9).map(lambda whole: whole / 10**field.decimals)


@st.composite
def typed_readings(draw):
    """Fields of a made-up type, and readings of it."""
    names = draw(st.sampled_from([("",), ("a",), ("first", "second"), ("x", "y", "z")]))
    fields = tuple(
        Field(n, draw(st.sampled_from(["mA", "%RH", 'µg, "odd" %d'])), draw(st.integers(0, 4))) for n in names
    )
    times = draw(st.lists(st.integers(2**28, 2**33), unique=True, max_size=20))
    rows = [[draw(values(field)) for field in fields] for _ in times]
    array = np.array(rows, np.float64).reshape(len(times), len(fields))
    return fields, Readings(np.array(sorted(times), np.int64), array)


def test_base_name_is_the_example_of_rfc_9039():
    assert base_name("00:24:be:80:4f:f1") == "urn:dev:mac:0024beffff804ff1"
    with pytest.raises(SenmlError, match="00:24:BE"):
        base_name("00:24:BE:80:4f:f1")


def test_known_bytes_of_a_type_with_one_value():
    pack = encode(readings((T, 1.5), (T + 60, -0.0), (T + 120, 20)), BN, CURRENT)
    assert pack == (
        b'[{"bn":"urn:dev:mac:020000ffff000001","bt":1384128000,"bu":"mA","v":1.50},'
        b'{"t":60,"v":0.00},{"t":120,"v":20.00}]'
    )


def test_known_bytes_of_a_type_with_two_values():
    pack = encode(readings((T, 0.25, 3.5), (T + 300, 1, 0)), BN, CHARGING)
    assert pack == (
        b'[{"bn":"urn:dev:mac:020000ffff000001_","bt":1384128000,"n":"occupancy","u":"/","v":0.250},'
        b'{"n":"power","u":"kW","v":3.5},'
        b'{"n":"occupancy","u":"/","t":300,"v":1.000},{"n":"power","u":"kW","t":300,"v":0.0}]'
    )


def test_no_readings_are_one_record_without_value():
    empty = Readings(np.empty(0, np.int64), np.empty((0, 2)))
    pack = encode(empty, BN, CHARGING)
    assert pack == b'[{"bn":"urn:dev:mac:020000ffff000001"}]'
    assert decode(pack, BN, CHARGING).values.shape == (0, 2)


@settings(max_examples=60, deadline=None)
@given(typed_readings())
def test_round_trip_is_exact_and_canonical(typed):
    fields, original = typed
    pack = encode(original, BN, fields)
    decoded, canonical = canonicalise(pack, BN, fields)
    assert same(decoded, original)
    assert canonical == pack == encode(decoded, BN, fields)
    json.loads(pack)


def resolved(pack: bytes) -> list[dict]:
    """Resolved records (RFC 8428, section 4.6), written independently of the module."""
    name, time, unit, result = "", 0, None, []
    for record in json.loads(pack):
        name, time, unit = record.get("bn", name), record.get("bt", time), record.get("bu", unit)
        if "v" in record:
            result.append({"n": name + record.get("n", ""), "u": record.get("u", unit), "t": time + record.get("t", 0),
                           "v": record["v"]})  # fmt: skip
    return result


@settings(max_examples=60, deadline=None)
@given(typed_readings(), st.randoms(use_true_random=False))
def test_other_shapes_of_the_same_readings_decode_to_them(typed, random):
    fields, original = typed
    if not len(original):
        return
    records = resolved(encode(original, BN, fields))
    assert same(decode(json.dumps(records).encode(), BN, fields), original)
    # Bases set again anywhere, times split between bt and t, values between bv and v.
    shaped = []
    for record in records:
        cut, base = random.randrange(len(record["n"]) + 1), random.randrange(2**30)
        shaped.append({"v": record["v"], "bu": "other", "bt": record["t"] - base, "t": base, "bn": record["n"][:cut],
                       "n": record["n"][cut:], "u": record["u"], "bver": 10, "ut": 5, "comment": [1]})  # fmt: skip
    assert same(decode(json.dumps(shaped).encode(), BN, fields), original)


def test_base_value_is_added():
    pack = [{"bn": BN, "bt": T, "bu": "mA", "bv": 0.1, "v": 0.2}, {"t": 1.0, "v": 0.3}, {"bv": 0, "t": 2, "v": 1e0}]
    assert same(decode(json.dumps(pack).encode(), BN, CURRENT), readings((T, 0.3), (T + 1, 0.4), (T + 2, 1)))


def test_records_that_set_only_bases():
    pack = [{"bn": BN}, {"bt": T, "bu": "mA"}, {"v": 1}, {"bt": T + 9}, {"v": 2}]
    assert same(decode(json.dumps(pack).encode(), BN, CURRENT), readings((T, 1), (T + 9, 2)))


GOOD = {"bn": BN, "bt": T, "bu": "mA", "v": 1}
MALFORMED = [
    (b"", "not a JSON text"),
    (b"\xff\xfe", "not a JSON text"),
    (b"[" * 100_000, "not a JSON text"),
    (b"{}", "array of at least one record"),
    (b"[]", "array of at least one record"),
    (b"[1]", "record 0: 1 is not a JSON object"),
    (b'[{"bn":"%s","bt":1384128000,"bu":"mA","v":NaN}]' % BN.encode(), "NaN is not a number"),
    (b'[{"bn":"%s","bt":1384128000,"bu":"mA","v":1e999}]' % BN.encode(), "record 0: value inf is too large"),
    (b'[{"bn":"%s","bt":1384128000,"bu":"mA","v":1,"v":2}]' % BN.encode(), "label twice"),
    (b'[{"bn":"%s","bt":1384128000,"bu":"mA","v":1},{"t":6-0,"v":1}]' % BN.encode(), "not a JSON text"),
    (b'[{"bn":"%s","bt":1384128000,"bu":"mA","v":1.00},{"t":60 61,"v":1.00}]' % BN.encode(), "not a JSON text"),
    ([{**GOOD, "bn": "urn:dev:mac:other"}], "record 0: name 'urn:dev:mac:other' is not one of this sensor"),
    ([{**GOOD, "n": "_x"}], "record 0: name .*_x' is not one"),
    ([{**GOOD, "n": 5}], "record 0: n 5 is not a text"),
    ([{**GOOD, "bu": "A"}], "record 0: unit 'A' of .* must be 'mA'"),
    ([{**GOOD, "u": "A"}], "record 0: unit 'A'"),
    ([{"bn": BN, "bt": T, "v": 1}], "record 0: unit None"),
    ([{**GOOD, "v": "1"}], "record 0: value '1' is not a number"),
    ([{**GOOD, "v": True}], "record 0: value True is not a number"),
    ([{**GOOD, "v": None}], "record 0: value None is not a number"),
    ([{**GOOD, "v": 10**400}], "record 0: value 1000.* is too large"),
    ([{**GOOD, "v": 1.234}], "reading 0: 1.234 .* at most 2 decimals"),
    ([{**GOOD, "v": 1e17}], "reading 0: 1e.17 .* 15 digits"),
    ([GOOD, {"t": 60}], "record 1: .* has no value"),
    ([GOOD, {"t": 60, "vs": "x"}], "record 1: 'vs' is a string"),
    ([GOOD, {"t": 60, "vb": True}], "record 1: 'vb' is a boolean"),
    ([GOOD, {"t": 60, "v": 1, "s": 4}], "record 1: 's' is a sum"),
    ([GOOD, {"t": 60, "v": 1, "must_": 4}], "record 1: label 'must_' must be understood"),
    ([GOOD, {"t": "60", "v": 1}], "record 1: t '60' is not a number"),
    ([GOOD, {"t": 0.5, "v": 1}], "record 1: time 1384128000.5 is not an absolute time in whole seconds"),
    ([GOOD, {"t": -60, "v": 1}], "record 1: time 1384127940 comes after 1384128000"),
    ([GOOD, {"t": 0, "v": 1}], "record 1: a second value of"),
    ([{**GOOD, "bt": 0}], "record 0: time 0 is not an absolute time"),
    ([{**GOOD, "bt": 10**400, "t": 0.5}], "record 0: time inf is not an absolute time"),
    ([{**GOOD, "bver": 11}], "record 0: bver 11"),
]  # fmt: skip


@pytest.mark.parametrize(("pack", "message"), MALFORMED)
def test_malformed_packs_are_refused(pack, message):
    with pytest.raises(SenmlError, match=message):
        decode(pack if isinstance(pack, bytes) else json.dumps(pack).encode(), BN, CURRENT)


@pytest.mark.parametrize(("times", "where"), [((0, 1), "before record 1"), ((0,), "before record the last")])
def test_a_reading_without_all_values_is_refused(times, where):
    pack = [{"bn": f"{BN}_", "n": "occupancy", "u": "/", "bt": T, "t": t, "v": 0.5} for t in times]
    with pytest.raises(SenmlError, match=f"{where}: the reading has no power"):
        decode(json.dumps(pack).encode(), BN, CHARGING)


@given(st.data())
def test_any_change_of_bytes_is_refused_or_decodes_to_what_it_says(data):
    pack = bytearray(encode(readings((T, 1.5), (T + 60, -7.25), (T + 120, 20)), BN, CURRENT))
    for _ in range(data.draw(st.integers(1, 3))):
        pack[data.draw(st.integers(0, len(pack) - 1))] = data.draw(st.sampled_from(b'0123456789-. "{}[],:tvbne\xff'))
    try:
        decoded = decode(bytes(pack), BN, CURRENT)
    except SenmlError:
        return
    expected = resolved(bytes(pack))
    assert decoded.t_s.tolist() == [record["t"] for record in expected]
    assert decoded.values[:, 0].tolist() == [record["v"] for record in expected]


def test_encode_refuses_what_cannot_be_read_back():
    with pytest.raises(SenmlError, match="reading 1: 0.123 .* at most 2 decimals"):
        encode(readings((T, 1), (T + 1, 0.123)), BN, CURRENT)
    with pytest.raises(SenmlError, match="15 digits"):
        encode(readings((T, 1e14)), BN, CURRENT)
    with pytest.raises(SenmlError, match="time 100 s is outside"):
        encode(readings((100, 1)), BN, CURRENT)
    with pytest.raises(SenmlError, match="2 values each, the sensor's type has 1"):
        encode(readings((T, 1, 2)), BN, CURRENT)


def test_largest_values_round_trip():
    whole = readings((T, 9_999_999_999_999.99), (T + 1, -9_999_999_999_999.99), (T + 2, 1e13 - 1))
    assert same(decode(encode(whole, BN, CURRENT), BN, CURRENT), whole)
