"""The twin store: what it holds, what it refuses, and that it stays whole when its process is killed."""

import hashlib
import inspect
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin import senml
from twin.intervals import length_s, normalise
from twin.readings import Readings
from twin.scenario import Sensor
from twin.sensor_model import fields
from twin.store import StoreError, Totals, TwinStore

REPOSITORY = Path(__file__).parents[2]
T = 1_384_128_000


def sensor(number: int = 1, type_id: str = "leakage_current") -> Sensor:
    mac = f"02:00:00:00:00:{number:02x}"
    return Sensor(f"s{number}", type_id, "c1", "Centro", 9.19, 45.46, 2.0, f"10.66.0.{number}", mac, 2 + number)


def source(start_s: int, end_s: int, step_s: int = 60, columns: int = 1) -> Readings:
    """Readings at multiples of step_s, a function of time alone."""
    t_s = np.arange(-(-start_s // step_s) * step_s, end_s, step_s, dtype=np.int64)
    return Readings(t_s, np.stack([np.round(10 + (t_s % 977) / 100 + c, 1) for c in range(columns)], axis=1))


def packed(readings: Readings, of: Sensor) -> tuple[bytes, int, str]:
    """Arguments of add() that follow the interval."""
    payload = senml.encode(readings, senml.base_name(of.mac), fields(of.type))
    return payload, len(readings), hashlib.sha256(payload).hexdigest()


@pytest.fixture
def store(tmp_path):
    with TwinStore(tmp_path / "twin.db") as opened:
        yield opened


def test_what_is_added_is_held_and_read_back(store):
    assert store.held("s1") == ()
    assert store.missing("s1", T, T + 600) == ((T, T + 600),)
    assert len(store.readings("s1", T, T + 600)) == 0
    payload, count, sha256 = packed(source(T, T + 600), sensor())
    assert store.add(sensor(), T, T + 600, payload, count, sha256) == 10
    assert store.held("s1") == ((T, T + 600),)
    assert store.missing("s1", T - 60, T + 660) == ((T - 60, T), (T + 600, T + 660))
    read = store.readings("s1", T + 60, T + 180)
    assert read.t_s.tolist() == [T + 60, T + 120]
    assert np.array_equal(read.values, source(T + 60, T + 180).values)
    assert store.payload("s1", T, T + 600) == payload
    assert store.totals() == Totals(sensors=1, holdings=1, readings=10, bytes=len(payload))
    assert store.sensors()["s1"].intervals == ((T, T + 600),)
    assert store.verify() == ()


def test_types_with_several_values_and_intervals_without_readings(store):
    charging = sensor(2, "ev_charging")
    store.add(charging, T, T + 1200, *packed(source(T, T + 1200, 300, 2), charging))
    store.add(charging, T + 1200, T + 1300, *packed(Readings(np.empty(0, np.int64), np.empty((0, 2))), charging))
    assert store.held("s2") == ((T, T + 1300),)
    assert store.readings("s2", T, T + 1300).values.shape == (4, 2)
    assert store.payload("s2", T, T + 1300) == packed(source(T, T + 1200, 300, 2), charging)[0]
    assert store.verify() == ()


def test_views_for_sql(store):
    charging = sensor(2, "ev_charging")
    store.add(charging, T, T + 300, *packed(source(T, T + 300, 300, 2), charging))
    store.add(sensor(), T, T + 60, *packed(source(T, T + 60), sensor()))
    with sqlite3.connect(store.path) as database:
        rows = database.execute(
            "SELECT sensor, type, field, unit, time_s, value FROM readings ORDER BY 1, 3"
        ).fetchall()
        held = database.execute("SELECT sensor, start_s, end_s, count FROM holdings ORDER BY 1").fetchall()
    database.close()
    value = source(T, T + 60).values[0, 0]
    assert rows == [
        ("s1", "leakage_current", "", "mA", T, value),
        ("s2", "ev_charging", "occupancy", "/", T, value),
        ("s2", "ev_charging", "power", "kW", T, value + 1),
    ]
    assert held == [("s1", T, T + 60, 1), ("s2", T, T + 300, 1)]


def test_wrong_data_are_refused_and_nothing_is_stored(store):
    payload, count, sha256 = packed(source(T, T + 600), sensor())
    descending = b"[" + b",".join(reversed(payload[1:-1].replace(b"},{", b"}|{").split(b"|"))) + b"]"
    cases = [
        ((T, T + 600, payload, count, "0" * 64), "SHA-256"),
        ((T, T + 600, payload[:-3] + b"9}]", count, sha256), "SHA-256"),
        ((T, T + 600, payload, count + 1, sha256), "has 10 readings, the sensor announced 11"),
        ((T + 60, T + 600, payload, count, sha256), "lie outside the interval"),
        ((T, T + 540, payload, count, sha256), "lie outside the interval"),
        ((T, T + 600, descending, count, hashlib.sha256(descending).hexdigest()), "record 0"),
        ((T, T + 600, b"{}", 0, hashlib.sha256(b"{}").hexdigest()), "array"),
    ]
    for arguments, message in cases:
        with pytest.raises((StoreError, senml.SenmlError), match=message):
            store.add(sensor(), *arguments)
    with pytest.raises(senml.SenmlError, match="is not one of this sensor"):
        store.add(sensor(9), T, T + 600, payload, count, sha256)
    assert store.totals() == Totals(0, 0, 0, 0)


def test_a_valid_pack_that_is_not_canonical_is_stored_canonically(store):
    payload, count, _ = packed(source(T, T + 600), sensor())
    spaced = payload.replace(b",", b", ")
    store.add(sensor(), T, T + 600, spaced, count, hashlib.sha256(spaced).hexdigest())
    assert store.payload("s1", T, T + 600) == payload
    assert store.verify() == ()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 1500)), min_size=1, max_size=8))
def test_overlaps_are_never_doubled(tmp_path_factory, wanted):
    with TwinStore(tmp_path_factory.mktemp("store") / "twin.db") as store:
        added, intervals = 0, [(T + start, T + start + length) for start, length in wanted]
        for start_s, end_s in intervals:
            new = store.missing("s1", start_s, end_s)
            result = store.add(sensor(), start_s, end_s, *packed(source(start_s, end_s), sensor()))
            assert result == sum(len(source(*part)) for part in new)
            added += result
        assert store.held("s1") == normalise(intervals)
        assert store.totals().readings == added == sum(len(source(*part)) for part in normalise(intervals))
        assert length_s(store.held("s1")) == length_s(intervals)
        assert store.verify() == ()
        for start_s, end_s in normalise(intervals):
            assert store.payload("s1", start_s, end_s) == packed(source(start_s, end_s), sensor())[0]


def test_payload_of_what_is_not_held_is_an_error(store):
    store.add(sensor(), T, T + 60, *packed(source(T, T + 60), sensor()))
    with pytest.raises(StoreError, match=rf"not held: \[\({T + 60}, {T + 120}\)\]"):
        store.payload("s1", T, T + 120)
    with pytest.raises(StoreError, match="sensor s9"):
        store.payload("s9", T, T)


def test_a_sensor_of_another_scenario_is_refused(store):
    store.add(sensor(1), T, T + 60, *packed(source(T, T + 60), sensor(1)))
    other = Sensor("s1", "leakage_current", "c1", "Centro", 9.1, 45.4, 2.0, "10.66.0.9", "02:00:00:00:00:99", 3)
    with pytest.raises(StoreError, match="choose another path"):
        store.add(other, T + 60, T + 120, *packed(source(T + 60, T + 120), other))
    assert store.held("s1") == ((T, T + 60),)


def test_verify_finds_every_kind_of_damage(store):
    store.add(sensor(), T, T + 600, *packed(source(T, T + 600), sensor()))
    damages = [
        ("UPDATE reading SET value = value + 0.1 WHERE time_s = ?", "do not match"),
        ("DELETE FROM reading WHERE time_s = ?", "do not match"),
        ("UPDATE reading SET value = 1.23456 WHERE time_s = ?", "decimals"),
        (
            "INSERT INTO reading SELECT sensor, time_s + 10000, 0, 1 FROM reading WHERE time_s = ?",
            "11 values are stored",
        ),
        ("INSERT INTO holding SELECT sensor, ?, end_s, count, bytes, sha256 FROM holding", "overlap"),
    ]
    for statement, message in damages:
        database = sqlite3.connect(store.path, isolation_level=None)
        database.execute("BEGIN")
        before = list(database.iterdump())
        database.execute(statement, (T + 60,))
        database.execute("COMMIT")
        assert any(message in problem for problem in store.verify()), (statement, store.verify())
        database.executescript("DELETE FROM reading; DELETE FROM holding;")
        database.executescript(
            "".join(line for line in before if line.startswith(('INSERT INTO "reading"', 'INSERT INTO "holding"')))
        )
        database.close()
        assert store.verify() == ()


def test_files_that_are_no_store(tmp_path):
    (tmp_path / "text.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="text.db: not a twin store, or damaged .* move the file away"):
        TwinStore(tmp_path / "text.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE things (x)")
    other.close()
    with pytest.raises(StoreError, match="other.db: an SQLite file of another program"):
        TwinStore(tmp_path / "other.db")
    with pytest.raises(StoreError, match="nowhere.*unable to open"):
        TwinStore(tmp_path / "nowhere" / "twin.db")
    TwinStore(tmp_path / "newer.db").close()
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreError, match="schema version 99, this program has 1; move the file away"):
        TwinStore(tmp_path / "newer.db")


def test_a_damaged_page_is_reported_with_the_fix(tmp_path):
    path = tmp_path / "twin.db"
    with TwinStore(path) as store:
        store.add(sensor(), T, T + 600_000, *packed(source(T, T + 600_000), sensor()))
    content = bytearray(path.read_bytes())
    content[8192 : len(content) // 2] = b"\xa5" * (len(content) // 2 - 8192)
    path.write_bytes(content)
    with TwinStore(path) as store, pytest.raises(StoreError, match="damaged .* move the file away"):
        store.readings("s1", T, T + 600_000)


def test_several_threads_share_a_store(store):
    def add(number: int) -> None:
        for start_s in range(T, T + 6000, 600):
            store.add(sensor(number), start_s, start_s + 600, *packed(source(start_s, start_s + 600), sensor(number)))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.totals().readings == 400
    assert store.verify() == ()


ADD_FOREVER = f"""
import hashlib, sys
import numpy as np
from twin import senml
from twin.readings import Readings
from twin.scenario import Sensor
from twin.sensor_model import fields
from twin.store import TwinStore
{inspect.getsource(sensor)}
{inspect.getsource(source)}
{inspect.getsource(packed)}
store, start = TwinStore(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
while True:
    store.add(sensor(), start, start + 6000, *packed(source(start, start + 6000), sensor()))
    start += 6000
"""


def adder(path: Path, start_s: int) -> subprocess.Popen:
    """A process that adds chunk after chunk."""
    command = [sys.executable, "-c", ADD_FOREVER, str(path), str(start_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert process.stdout.readline() == b"ready\n"
    return process


def test_killed_at_any_moment_the_store_stays_whole(tmp_path):
    path, rng, before = tmp_path / "twin.db", random.Random(7), 0
    for attempt in range(4):
        process = adder(path, T + attempt * 10_000_000)
        time.sleep(rng.uniform(0.02, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with TwinStore(path) as store:
            assert store.verify() == ()
            totals = store.totals()
            assert totals.readings == 100 * totals.holdings
            held = store.held("s1")
            assert sum(end - start for start, end in held) == 60 * totals.readings
            assert totals.readings >= before
            before = totals.readings
    assert before > 0


def test_another_process_reads_whole_chunks_while_one_writes(tmp_path):
    path = tmp_path / "twin.db"
    TwinStore(path).close()
    process = adder(path, T)
    try:
        reader, seen, deadline = sqlite3.connect(path), set(), time.monotonic() + 20
        while len(seen) < 10 and time.monotonic() < deadline:
            query = "SELECT (SELECT total(count) FROM holdings), (SELECT count(*) FROM readings)"
            held, stored = reader.execute(query).fetchone()
            assert held == stored
            seen.add(stored)
        assert len(seen) >= 10
        reader.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
