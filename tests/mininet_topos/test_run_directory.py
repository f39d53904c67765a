"""Lock, record and process identity. No root needed: everything happens in a temporary directory."""

import json
import os
import signal
import subprocess
import sys

import pytest

from mininet_topos.linux import ProcessId
from mininet_topos.run_directory import CityError, Record, RunDirectory


def test_one_city_of_a_name_at_a_time(tmp_path):
    first, second = RunDirectory("milan", tmp_path), RunDirectory("milan", tmp_path)
    with first:
        with pytest.raises(CityError, match=f"running already.*{os.getpid()}"):
            second.lock()
        with RunDirectory("rome", tmp_path) as other:
            assert other.locked
    with second:
        assert second.locked and not first.locked


def test_the_lock_goes_with_its_process(tmp_path):
    code = "import sys; from mininet_topos.run_directory import RunDirectory; from pathlib import Path\n"
    code += "RunDirectory('milan', Path(sys.argv[1])).lock(); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(CityError, match=str(holder.pid)):
        RunDirectory("milan", tmp_path).lock()
    holder.kill()
    holder.communicate()
    with RunDirectory("milan", tmp_path) as directory:
        assert directory.locked


def test_record_is_read_back(tmp_path):
    record = Record(("core-eth1", "twin-eth0"), (ProcessId(1, 2), ProcessId(3, 4)), True)
    with RunDirectory("milan", tmp_path) as directory:
        assert directory.load() == Record()
        directory.save(record)
        assert RunDirectory("milan", tmp_path).load() == record
        directory.write_ready({"sensors": 3})
        assert json.loads(directory.ready_path.read_text()) == {"sensors": 3}


@pytest.mark.parametrize("name", ["", "Milan", "a/b", "..", "-x", "x" * 33, "mi lan"])
def test_names_that_are_no_directory_are_refused(name, tmp_path):
    with pytest.raises(CityError, match="city name"):
        RunDirectory(name, tmp_path)


def test_a_process_is_known_by_its_start_too():
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        identity = ProcessId.of(child.pid)
        stranger = ProcessId(child.pid, identity.start_ticks + 1)
        assert identity.alive() and not stranger.alive()
        assert stranger.signal(signal.SIGKILL) is False
        assert child.poll() is None  # a process of the same number, started at another time, is not touched
        assert identity.signal(signal.SIGKILL) is True
        assert child.wait(10) == -signal.SIGKILL
        assert not identity.alive()
    finally:
        child.kill()
        child.communicate()
    with pytest.raises(ProcessLookupError):
        ProcessId.of(child.pid)
