"""The twin store: every reading that the twin holds, and for which intervals it holds all of them; one SQLite file.

For SQL there are two views: ``readings`` (sensor, type, field, unit, time_s, value) and ``holdings`` (sensor, start_s,
end_s, count, bytes, sha256). A holding says that the readings of [start_s, end_s) are complete; ``bytes`` and
``sha256`` are those of their canonical SenML. Holdings of a sensor never overlap.

The database is in WAL mode with ``synchronous = NORMAL``: the death of the process at any moment loses nothing that was
committed, and other processes read while one writes. A power cut can lose the last commits but never a part of one,
which costs only fetching them again; FULL would pay an fsync per chunk against that.
"""

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin import senml
from twin.intervals import Interval, length_s, normalise, subtract
from twin.readings import Field, Readings
from twin.scenario import Sensor
from twin.sensor_model import fields as fields_of

SCHEMA_VERSION = 1
_ROWS_AT_ONCE = 250  # of one INSERT: three times as fast as one by one
_APPLICATION_ID = 0x4C4E4B53  # "LNKS", so that no other program's file is taken for a store

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE sensor (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, base_name TEXT NOT NULL)
    STRICT;
CREATE TABLE field (type TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL,
    decimals INTEGER NOT NULL, PRIMARY KEY (type, number)) STRICT, WITHOUT ROWID;
CREATE TABLE holding (sensor INTEGER NOT NULL REFERENCES sensor, start_s INTEGER NOT NULL, end_s INTEGER NOT NULL,
    count INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (sensor, start_s))
    STRICT, WITHOUT ROWID;
CREATE TABLE reading (sensor INTEGER NOT NULL REFERENCES sensor, time_s INTEGER NOT NULL, field INTEGER NOT NULL,
    value REAL NOT NULL, PRIMARY KEY (sensor, time_s, field)) STRICT, WITHOUT ROWID;
CREATE VIEW readings AS SELECT sensor.id AS sensor, sensor.type AS type, field.name AS field, field.unit AS unit,
    time_s, value FROM reading JOIN sensor ON sensor.key = reading.sensor
    JOIN field ON field.type = sensor.type AND field.number = reading.field;
CREATE VIEW holdings AS SELECT sensor.id AS sensor, start_s, end_s, count, bytes, sha256
    FROM holding JOIN sensor ON sensor.key = holding.sensor;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


class StoreError(Exception):
    """The store cannot be used, or data were refused; the message names the file or the interval and the fix."""


@dataclass(frozen=True)
class Held:
    """What the twin holds of one sensor. ``bytes`` is canonical SenML."""

    readings: int
    bytes: int
    intervals: tuple[Interval, ...]


@dataclass(frozen=True)
class Totals:
    sensors: int
    holdings: int
    readings: int
    bytes: int


class TwinStore:
    """A store in one file, made on first use. Safe to use from several threads. Raises StoreError throughout."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        with self._translated():
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            with self._translated():
                self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        application, version = self._pragma("application_id"), self._pragma("user_version")
        new = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        if not new and application != _APPLICATION_ID:
            raise StoreError(f"{self.path}: an SQLite file of another program; choose another path for the twin store")
        if not new and version != SCHEMA_VERSION:
            raise StoreError(
                f"{self.path}: twin store of schema version {version}, this program has {SCHEMA_VERSION}; "
                "move the file away, and its data will be fetched again"
            )
        if self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StoreError(f"{self.path}: this file system has no shared memory for SQLite's WAL; use a local disk")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if new:
            try:
                self._db.executescript(_SCHEMA)
            except sqlite3.OperationalError:
                self._db.rollback()
                if self._pragma("user_version") != SCHEMA_VERSION:  # else another process made it just now
                    raise

    def _pragma(self, name: str) -> int:
        return self._db.execute(f"PRAGMA {name}").fetchone()[0]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> "TwinStore":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def held(self, sensor_id: str) -> tuple[Interval, ...]:
        """Intervals of which all readings are held, normal."""
        return normalise(self._rows("SELECT start_s, end_s FROM holdings WHERE sensor = ?", sensor_id))

    def missing(self, sensor_id: str, start_s: int, end_s: int) -> tuple[Interval, ...]:
        """The parts of [start_s, end_s) that are not held."""
        return subtract([(start_s, end_s)], self.held(sensor_id))

    def add(self, sensor: Sensor, start_s: int, end_s: int, payload: bytes, count: int, sha256: str) -> int:
        """Check a SenML payload, which must be all readings of [start_s, end_s), and store it in one transaction.

        What is held already is not stored again. Returns the number of readings added. Raises StoreError or SenmlError
        when the checksum, the count, the order, a time or the content is wrong; nothing is stored then.
        """
        where = f"sensor {sensor.id}, [{start_s}, {end_s})"
        actual = hashlib.sha256(payload).hexdigest()
        if actual != sha256:
            raise StoreError(f"{where}: the payload's SHA-256 is {actual}, the sensor announced {sha256}")
        fields, base_name = fields_of(sensor.type), senml.base_name(sensor.mac)
        readings, canonical = senml.canonicalise(payload, base_name, fields)
        if len(readings) != count:
            raise StoreError(f"{where}: the payload has {len(readings)} readings, the sensor announced {count}")
        if len(readings) and not (start_s <= readings.t_s[0] and readings.t_s[-1] < end_s):
            raise StoreError(f"{where}: readings from {readings.t_s[0]} to {readings.t_s[-1]} lie outside the interval")
        with self._transaction():
            key = self._sensor_key(sensor, base_name, fields)
            missing = self.missing(sensor.id, start_s, end_s)
            if missing == ((start_s, end_s),):
                self._insert(key, start_s, end_s, readings, canonical)
                return len(readings)
            parts = [(part, readings.between(*part)) for part in missing]
            for part, some in parts:
                self._insert(key, *part, some, senml.encode(some, base_name, fields))
            return sum(len(some) for _, some in parts)

    def _insert(self, key: int, start_s: int, end_s: int, readings: Readings, canonical: bytes) -> None:
        holding = (key, start_s, end_s, len(readings), len(canonical), hashlib.sha256(canonical).hexdigest())
        self._db.execute("INSERT INTO holding VALUES (?, ?, ?, ?, ?, ?)", holding)
        for number, column in enumerate(readings.values.T):
            numbers = [x for row in zip(readings.t_s.tolist(), column.tolist(), strict=True) for x in row]
            for at in range(0, len(numbers), 2 * _ROWS_AT_ONCE):
                some = numbers[at : at + 2 * _ROWS_AT_ONCE]
                rows = ",".join([f"({key},?,{number},?)"] * (len(some) // 2))
                self._db.execute(f"INSERT INTO reading VALUES {rows}", some)

    def _sensor_key(self, sensor: Sensor, base_name: str, fields: tuple[Field, ...]) -> int:
        now = (sensor.id, sensor.type, base_name)
        self._db.execute("INSERT OR IGNORE INTO sensor (id, type, base_name) VALUES (?, ?, ?)", now)
        numbered = [(sensor.type, number, f.name, f.unit, f.decimals) for number, f in enumerate(fields)]
        self._db.executemany("INSERT OR IGNORE INTO field VALUES (?, ?, ?, ?, ?)", numbered)
        ((key, *stored),) = self._rows("SELECT key, id, type, base_name FROM sensor WHERE id = ?", sensor.id)
        if tuple(stored) != now or self._fields(sensor.type) != fields:
            raise StoreError(
                f"{self.path}: holds sensor {', '.join(stored)}; here it is {', '.join(now)}, or its fields differ. "
                "The store belongs to another scenario or release: choose another path"
            )
        return key

    def readings(self, sensor_id: str, start_s: int, end_s: int) -> Readings:
        """The held readings in [start_s, end_s); what is not held is absent, see missing(). values is [n, k] with k the
        fields of the sensor's type, 1 for a sensor that the store has never seen."""
        known = self._rows("SELECT key, type FROM sensor WHERE id = ?", sensor_id)
        if not known:
            return Readings(np.empty(0, np.int64), np.empty((0, 1)))
        key, type_id = known[0]
        query = "SELECT time_s, value FROM reading WHERE sensor = ? AND time_s BETWEEN ? AND ? ORDER BY time_s, field"
        rows, k = self._rows(query, key, start_s, end_s - 1), len(self._fields(type_id))
        t_s = np.fromiter((row[0] for row in rows[::k]), np.int64)
        return Readings(t_s, np.fromiter((row[1] for row in rows), np.float64).reshape(-1, k))

    def payload(self, sensor_id: str, start_s: int, end_s: int) -> bytes:
        """Canonical SenML of [start_s, end_s), byte for byte what the sensor serves. Raises StoreError when not all of
        it is held."""
        with self._lock:
            known = self._rows("SELECT type, base_name FROM sensor WHERE id = ?", sensor_id)
            missing = self.missing(sensor_id, start_s, end_s)
            if missing or not known:
                raise StoreError(f"sensor {sensor_id}, [{start_s}, {end_s}): not held: {list(missing)}")
            type_id, base_name = known[0]
            return senml.encode(self.readings(sensor_id, start_s, end_s), base_name, self._fields(type_id))

    def sensors(self) -> dict[str, Held]:
        """What is held, by sensor id."""
        query = "SELECT sensor, start_s, end_s, count, bytes FROM holdings ORDER BY sensor, start_s"
        by_sensor: dict[str, list[tuple]] = {}
        for sensor_id, *row in self._rows(query):
            by_sensor.setdefault(sensor_id, []).append(row)
        return {
            sensor_id: Held(sum(r[2] for r in rows), sum(r[3] for r in rows), normalise((r[0], r[1]) for r in rows))
            for sensor_id, rows in by_sensor.items()
        }

    def totals(self) -> Totals:
        query = "SELECT count(DISTINCT sensor), count(*), total(count), total(bytes) FROM holding"
        return Totals(*map(int, self._rows(query)[0]))

    def verify(self) -> tuple[str, ...]:
        """Everything that is wrong with the content, one sentence each; empty when every holding has exactly its
        readings and checksum, none overlap, and no reading is outside them. Reads the whole store."""
        with self._lock:
            problems = [f"{self.path}: {row[0]}" for row in self._rows("PRAGMA integrity_check") if row[0] != "ok"]
            for sensor_id, held in self.sensors().items():
                holdings = self._rows("SELECT * FROM holdings WHERE sensor = ? ORDER BY start_s", sensor_id)
                problems += [text for row in holdings if (text := self._wrong(*row))]
                if length_s(held.intervals) != sum(row[2] - row[1] for row in holdings):
                    problems.append(f"sensor {sensor_id}: holdings overlap")
            values = "(SELECT count(*) FROM field JOIN sensor USING (type) WHERE sensor.key = holding.sensor)"
            expected = int(self._rows(f"SELECT total(count * {values}) FROM holding")[0][0])
            stored = self._rows("SELECT count(*) FROM reading")[0][0]
            if stored != expected:
                problems.append(f"{self.path}: {stored} values are stored, the holdings count {expected}")
            return tuple(problems)

    def _wrong(self, sensor_id: str, start_s: int, end_s: int, count: int, size: int, sha256: str) -> str | None:
        where = f"sensor {sensor_id}, [{start_s}, {end_s})"
        try:
            payload, stored = self.payload(sensor_id, start_s, end_s), len(self.readings(sensor_id, start_s, end_s))
        except ValueError as problem:
            return f"{where}: {problem}"
        if (stored, len(payload), hashlib.sha256(payload).hexdigest()) == (count, size, sha256):
            return None
        return f"{where}: {stored} readings, {len(payload)} bytes do not match the holding's count, bytes and checksum"

    def _fields(self, type_id: str) -> tuple[Field, ...]:
        query = "SELECT name, unit, decimals FROM field WHERE type = ? ORDER BY number"
        return tuple(Field(*row) for row in self._rows(query, type_id))

    def _rows(self, query: str, *parameters: object) -> list[tuple]:
        with self._translated():
            return self._db.execute(query, parameters).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The lock, and SQLite's errors as StoreError with the fix."""
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError as problem:
                fix = "check that the path is writable and the disk not full"
                raise StoreError(f"{self.path}: {problem}; {fix}") from problem
            except sqlite3.DatabaseError as problem:
                raise StoreError(
                    f"{self.path}: not a twin store, or damaged ({problem}); move the file away, and its data will be "
                    "fetched again"
                ) from problem
