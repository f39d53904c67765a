"""Who holds a lock file, also after a crash."""

import subprocess
import sys

import pytest

from controller.lockfile import holder, lock


def test_one_holder_at_a_time(tmp_path):
    path = tmp_path / "service.lock"
    assert holder(path) is None
    code = "import sys; from pathlib import Path; from controller.lockfile import lock; "
    code += "f = lock(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "locked\n"
        assert holder(path) == child.pid
        with pytest.raises(OSError, match=f"process {child.pid} runs here already"):
            lock(path)
        child.kill()
        child.wait()
    assert holder(path) is None
    with lock(path):
        pass
