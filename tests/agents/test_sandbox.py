"""The sandbox: escapes and bombs are contained, programs run, workers are replaced, and nothing gets out."""

import asyncio
import json
import os
import re
import signal
import sys
import textwrap
import time
from pathlib import Path

import pytest
import pytest_asyncio

import agents.sandbox
from agents.data_api import ApiError, Context, load_apis
from agents.sandbox import SANDBOX_PYTHON, Limits, Outcome, Sandbox

# All tests share two sandboxes, for on a busy machine a new worker takes seconds.
pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT = Limits(seconds=30)  # for whatever ends by itself, or by another wall than time
HASTY = Limits(seconds=1)  # for what has no end
WELL = "3 + 4"


def shared(**options):
    return pytest_asyncio.fixture(scope="module", loop_scope="module", **options)


@pytest.fixture(scope="module")
def context(milan, now):
    return Context(milan, now)


@shared()
async def sandbox():
    async with Sandbox(load_apis(), PATIENT) as one:
        yield one


@shared()
async def hasty():
    async with Sandbox(load_apis(), HASTY) as one:
        yield one


async def contained(sandbox, context, code, kind):
    """Run hostile code: it must end with this kind of error and leave the sandbox as good as before."""
    outcome = await sandbox.run(textwrap.dedent(code), context)
    assert outcome.error is not None, outcome.value
    assert (outcome.error.kind, outcome.value) == (kind, None), outcome.error
    assert 0 < len(outcome.error.message) <= 1000
    assert outcome.seconds < sandbox.limits.seconds + 15
    if kind != "timeout":  # another wall stood before that of time
        assert outcome.seconds < 20
    assert (await sandbox.run(WELL, context)).value == 7
    return outcome


def read_proc(path):
    """A file below /proc; empty when the thread or process that it is about has just ended."""
    try:
        return Path(path).read_bytes().decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def descendants(pid=None):
    """Ids of all living processes below one, by their command lines."""
    found = {}
    for task in Path(f"/proc/{pid or os.getpid()}/task").glob("*"):
        for child in read_proc(task / "children").split():
            command = read_proc(f"/proc/{child}/cmdline").replace("\0", " ")
            if command:  # no zombie
                found |= {int(child): command, **descendants(child)}
    return found


def workers(pid=None):
    return [child for child, command in descendants(pid).items() if "sandbox_worker.py" in command]


def interpreters(pid=None):
    return [child for child, command in descendants(pid).items() if "/monty" in command]


# --- Escapes ----------------------------------------------------------------------------------------------------------

ESCAPES = {
    # ways from a value to the interpreter's inside
    "mro": ("().__class__.__mro__", "runtime"),
    "subclasses": ("().__class__.__base__.__subclasses__()", "runtime"),
    "type_mro": ("type(1).__mro__", "runtime"),
    "type_subclasses": ("type(1).__subclasses__()", "runtime"),
    "object": ("object()", "runtime"),
    "getattr_class": ("getattr(1, '__cl' + 'ass__')", "runtime"),
    "getattr_default": ("getattr(1, '__class__', None).__mro__", "runtime"),
    "setattr_class": ("setattr(find_sensors, '__code__', 1)", "runtime"),
    "dict": ("find_sensors.__dict__", "runtime"),
    "globals_of_host_function": ("find_sensors.__globals__", "runtime"),
    "globals_of_function": ("def f(): pass\nf.__globals__", "runtime"),
    "code_of_function": ("def f(): pass\nf.__code__", "runtime"),
    "closure": ("(lambda: 1).__closure__", "runtime"),
    "builtin_self": ("print.__self__", "runtime"),
    "builtin_module": ("print.__module__", "runtime"),
    "module_dict": ("import json\njson.__dict__", "runtime"),
    "module_builtins": ("import json\njson.__builtins__", "runtime"),
    "module_loader": ("import json\njson.__loader__", "runtime"),
    "format_attribute": ("'{0.__class__}'.format(1)", "runtime"),
    "format_deep": ("'{0.__class__.__init__.__globals__}'.format(find_sensors)", "runtime"),
    "format_map": ("'{x.__class__}'.format_map({'x': 1})", "runtime"),
    "generator_frame": ("(x for x in [1]).gi_frame", "runtime"),
    "traceback": ("try:\n    1/0\nexcept Exception as e:\n    result = e.__traceback__.tb_frame", "runtime"),
    "reduce": ("[].__reduce_ex__(2)", "runtime"),
    "coroutine_frame": ("async def f(): pass\nf().cr_frame", "runtime"),
    # modules and builtins
    "import_socket": ("import socket", "refused"),
    "import_subprocess": ("import subprocess", "refused"),
    "import_ctypes": ("import ctypes", "refused"),
    "import_importlib": ("import importlib", "refused"),
    "import_builtins": ("from builtins import open", "refused"),
    "import_threading": ("import threading", "refused"),
    "import_ours": ("import agents.sandbox", "refused"),
    "import_urllib": ("import urllib.request", "refused"),
    "import_in_exec": ("exec('import ctypes')", "refused"),
    "import_dunder": ("__import__('os')", "refused"),
    "sys_modules": ("import sys\nsys.modules", "runtime"),
    "sys_frames": ("import sys\nsys._getframe()", "runtime"),
    "compile": ("compile('1', 'x', 'eval')", "refused"),
    "globals": ("globals()", "refused"),
    "vars": ("vars()", "refused"),
    "breakpoint": ("breakpoint()", "refused"),
    "input": ("input('password?')", "refused"),
    "exit": ("exit()", "refused"),
    "system_exit": ("raise SystemExit(0)", "runtime"),
    "keyboard_interrupt": ("raise KeyboardInterrupt", "runtime"),
    # files, environment, system, network
    "read_file": ("open('/etc/passwd').read()", "refused"),
    "read_in_eval": ("eval(\"open('/etc/passwd').read()\")", "refused"),
    "read_caught": ("for i in range(2):\n    try: open('/etc/passwd')\n    except OSError: pass\nopen('x')", "refused"),
    "write_file": ("with open('/tmp/sandbox-was-here', 'w') as f:\n    f.write('x')", "refused"),
    "read_path": ("from pathlib import Path\nPath('/etc/passwd').read_text()", "refused"),
    "write_path": ("from pathlib import Path\nPath('/tmp/sandbox-was-here').write_text('x')", "refused"),
    "list_files": ("import os\nos.listdir('/')", "refused"),
    "remove_file": ("import os\nos.remove('/tmp/x')", "refused"),
    "environ": ("import os\nos.environ['OPENAI_API_KEY']", "refused"),
    "getenv": ("import os\nos.getenv('OPENAI_API_KEY')", "refused"),
    "os_system": ("import os\nos.system('id')", "runtime"),
    "os_popen": ("import os\nos.popen('id')", "runtime"),
    "os_fork": ("import os\nos.fork()", "runtime"),
    "urandom": ("import os\nos.urandom(8)", "refused"),
    # code that is none
    "null_byte": ("x = 1\0", "syntax"),
    "surrogate": ("x = 1\ny = '\ud800'", "syntax"),
    "deep_brackets": ("x = " + "(" * 5000 + "1" + ")" * 5000, "syntax"),
    "deep_lists": ("x = " + "[" * 9000 + "]" * 9000, "syntax"),
    "deep_operators": ("x = " + "-" * 15_000 + "1", "syntax"),
    "deep_attributes": ("x = 1" + ".a" * 9000, "syntax"),
    "long_sum": ("x = " + "+".join(["1"] * 9000), "syntax"),
    "very_long": ("x = 1\n" * 4000, "code"),
    "no_text": (None, "code"),
    "bytes": (b"1 + 1", "code"),
    "yield": ("def f():\n    yield 1", "syntax"),
    # functions of the twin, misused
    "wrong_type": ("find_sensors(3)", "runtime"),
    "unknown_argument": ("find_sensors('parking', secret=1)", "runtime"),
    "dunder_argument": ("find_sensors(**{'__class__': 1})", "runtime"),
    "context_argument": ("find_sensors('parking', context=1)", "runtime"),
    "many_arguments": ("find_sensors(*range(1000))", "runtime"),
    "huge_argument": ("find_sensors('x' * 10_000_000)", "runtime"),
    "huge_list_argument": ("find_sensors('parking', [0] * 300_000)", "runtime"),
    "shared_list_argument": ("a = [0] * 10\nfor i in range(9): a = [a] * 10\nfind_sensors('parking', a)", "runtime"),
    "cyclic_argument": ("a = {}\na['a'] = a\nfind_sensors('parking', a)", "runtime"),
    "deep_argument": ("a = {}\nfor i in range(5000): a = {'a': a}\nfind_sensors('parking', a)", "runtime"),
    "function_argument": ("find_sensors(find_sensors)", "runtime"),
    "lambda_argument": ("find_sensors(lambda: 1)", "runtime"),
    "object_argument": ("class A: pass\nfind_sensors(A())", "runtime"),
    "builtin_argument": ("find_sensors(open)", "runtime"),
    "private_name": ("_bundled_directory()", "runtime"),
    "unknown_name": ("load_apis()", "runtime"),
    "called_as_method": ("find_sensors.function('parking')", "runtime"),
    "error_of_function": ("resolve_time('')", "runtime"),
    "as_sort_key": ("sorted(['parking', 'outage'], key=find_sensors)", "runtime"),
    "gather_of_calls": ("import asyncio\nawait asyncio.gather(find_sensors('outage'))", "runtime"),
    "await_of_call": ("await find_sensors('outage')", "runtime"),
    "calls_for_ever": ("while True: find_sensors('outage')", "calls"),
    "calls_caught_for_ever": ("while True:\n    try: find_sensors('x')\n    except BaseException: pass", "calls"),
    "calls_in_recursion": ("def f(): return [list_districts(), f()]\nf()", "calls"),
    "names_caught_for_ever": ("while True:\n    try: nothing\n    except NameError: pass", "calls"),
    "files_caught_for_ever": ("while True:\n    try: open('x')\n    except OSError: pass", "calls"),
    # results that are none
    "result_object": ("class A: pass\nresult = A()", "output"),
    "result_class": ("result = [int]", "output"),
    "result_builtin": ("result = print", "output"),
    "result_bytes": ("result = b'x'", "output"),
    "result_nan": ("result = {'x': float('nan')}", "output"),
    "result_key": ("result = {(1, 2): 3}", "output"),
    "result_huge_number": ("result = 10 ** 100", "output"),
    "result_of_many_digits": ("result = 10 ** 10_000", "output"),
    "result_deep": ("a = []\nfor i in range(100_000): a = [a]\nresult = a", "output"),
    "result_shared": ("a = [0] * 10\nfor i in range(9): a = [a] * 10\nresult = a", "output"),
    "result_long": ("result = 'x' * 10_000_000", "output"),
    "result_many": ("result = list(range(300_000))", "output"),
}


@pytest.mark.parametrize("code, kind", ESCAPES.values(), ids=ESCAPES)
async def test_escapes_are_contained(sandbox, context, code, kind):
    if isinstance(code, str):
        await contained(sandbox, context, code, kind)
    else:
        outcome = await sandbox.run(code, context)
        assert outcome.error.kind == kind and (await sandbox.run(WELL, context)).value == 7
    assert not Path("/tmp/sandbox-was-here").exists()


BOMBS = {
    # of memory
    "append": ("x = []\nwhile True: x.append('a' * 1000)", "memory"),
    "nested_append": ("x = []\nwhile True: x = [x, 'a' * 1000]", "memory"),
    "string": ("'a' * 10 ** 10", "memory"),
    "string_doubling": ("x = 'a'\nwhile True: x += x", "memory"),
    "list": ("[0] * 10 ** 9", "memory"),
    "list_of_range": ("list(range(10 ** 10))", "memory"),
    "comprehension": ("[i for i in range(10 ** 12)]", "memory"),
    "set": ("{i for i in range(10 ** 12)}", "memory"),
    "power": ("10 ** 10 ** 8", "memory"),
    "squares": ("x = 2\nwhile True: x = x * x", "memory"),
    "shift": ("1 << 10 ** 10", "memory"),
    "dict": ("d = {}\ni = 0\nwhile True:\n    d[i] = i\n    i += 1", "memory"),
    "padding": ("'x'.ljust(10 ** 10)", "memory"),
    "format_width": ("f'{1:>{10 ** 10}}'", None),
    "replace": ("('a' * 10 ** 6).replace('a', 'b' * 10 ** 6)", "memory"),
    "join": ("'a'.join(['b' * 10 ** 6] * 10 ** 6)", "memory"),
    "json": ("import json\na = [0] * 10\nfor i in range(8): a = [a] * 10\njson.dumps(a)", "memory"),
    "print_once": ("print('x' * 10 ** 9)", "memory"),
    # of output
    "print_for_ever": ("while True: print('x' * 1000)", "output"),
    "print_caught_for_ever": ("while True:\n    try: print('x' * 1000)\n    except BaseException: pass", "output"),
    # of depth
    "recursion": ("def f(n): return f(n + 1)\nf(0)", "runtime"),
    "recursion_in_repr": ("class A:\n    def __repr__(self): return repr(self)\nstr(A())", "runtime"),
    "recursion_in_eval": ("def f(): return eval('f()')\nf()", "runtime"),
    "deep_json": ("import json\njson.loads('[' * 100_000)", "runtime"),
}


@pytest.mark.parametrize("code, kind", BOMBS.values(), ids=BOMBS)
async def test_bombs_are_contained(sandbox, context, code, kind):
    if kind is None:  # refused by the size alone, in one way or the other
        outcome = await sandbox.run(code, context)
        assert outcome.error.kind in ("memory", "runtime")
    else:
        await contained(sandbox, context, code, kind)


ENDLESS = {
    "while": "while True: pass",
    "while_caught": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "finally": "try:\n    while True: pass\nfinally:\n    while True: pass",
    "iterator": "for x in iter(int, 1): pass",
    "repeat": "import itertools\nfor x in itertools.repeat(1): pass",
    "comprehension": "[0 for i in range(10 ** 18) if i < 0]",
    "nested_loops": "for i in range(10 ** 9):\n    for j in range(10 ** 9): pass",
    "recursion_caught": "def f():\n    try: f()\n    except RecursionError: f()\nf()",
    "exec": "exec('while True: pass')",
    "sleep": "import time\nwhile True: time.sleep(3600)",
    "sum": "sum(range(10 ** 18))",
    "native": "a, b = [0] * 10, [0] * 10\nfor i in range(12): a, b = [a] * 10, [b] * 10\na == b",
}


@pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS)
async def test_what_has_no_end_is_stopped(hasty, context, code):
    outcome = await contained(hasty, context, code, "timeout")
    assert "more than 1 s" in outcome.error.message


HASH_BOMB = "a = (0,) * 10\nfor i in range(12): a = (a,) * 10\nprint('so far')\n"


@pytest.mark.parametrize("last", ["result = {a}", "find_sensors({a})"], ids=["result", "argument"])
async def test_a_value_that_takes_for_ever_to_convert_stops_the_worker_and_not_us(hasty, context, last):
    """The interpreter remembers hashes of tuples and CPython does not: a set of nested tuples takes it for ever."""
    before = time.process_time()
    outcome = await contained(hasty, context, HASH_BOMB + last, "timeout")
    assert outcome.printed == "so far\n"
    assert time.process_time() - before < 3


async def test_our_memory_does_not_grow_by_the_bombs(sandbox, context):
    codes = [code for code, kind in BOMBS.values() if kind in ("memory", "output")]
    codes += [ESCAPES[name][0] for name in ESCAPES if name.startswith(("huge", "shared", "result_"))]
    await sandbox.run(WELL, context)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = peak_mb()
    for code in codes:
        assert (await sandbox.run(code, context)).error is not None
    assert peak_mb() - before < 20


def peak_mb():
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000


async def test_harmless_tricks_get_nothing(sandbox, context):
    """What looks like an escape but only talks to the sandbox itself."""
    assert (await sandbox.run("eval('1 + 1')", context)).value == 2
    assert (await sandbox.run("exec('x = 5')\nx", context)).value == 5
    assert (await sandbox.run("locals()", context)).value == {}
    assert (await sandbox.run("import os\nos.getcwd()", context)).value == "/"
    assert (await sandbox.run("type('X', (), {})", context)).value == "<class 'X'>"
    assert (await sandbox.run("find_sensors", context)).value == "find_sensors"


# --- The processes ----------------------------------------------------------------------------------------------------


async def test_the_processes_have_no_secrets_and_hard_limits(milan, now, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("MONTY_BIN", "/bin/false")
    seen = {}

    def held(sensor_id):  # called while both processes wait for us
        (worker,) = one_workers(one)
        for pid in (worker, *interpreters(worker)):
            proc = Path(f"/proc/{pid}")
            seen[pid] = (
                (proc / "environ").read_bytes(),
                {line[:25].strip(): line[26:].split()[1] for line in (proc / "limits").read_text().splitlines()[1:]},
                os.readlink(proc / "cwd"),
                os.getpgid(pid),
                int((proc / "statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE"),
            )
        return ()

    async with Sandbox(load_apis(), Limits(seconds=30, memory_bytes=64 << 20)) as one:
        outcome = await one.run("held_intervals('s001')", Context(milan, now, held))
    assert outcome.error is None
    worker, interpreter = seen.values()
    assert worker[0] == interpreter[0] == b""
    assert worker[2] == interpreter[2] == "/"
    assert worker[3] == interpreter[3] != os.getpgid(0)
    assert worker[1]["Max file size"] == interpreter[1]["Max file size"] == "0"
    assert int(worker[1]["Max address space"]) < worker[4] + 2**30
    assert int(interpreter[1]["Max address space"]) < interpreter[4] + 2**29
    assert int(interpreter[1]["Max cpu time"]) <= 34
    assert interpreter[1]["Max open files"] == "3"


async def endless(sandbox, context):
    """A run under way, its worker and its interpreter."""
    others, inner = set(workers()), set(interpreters())
    task = asyncio.create_task(sandbox.run("print('on')\nwhile True: pass", context))
    deadline = time.monotonic() + 60
    while True:
        await asyncio.sleep(0.1)
        new = [pid for pid in interpreters() if pid not in inner and cpu_s(pid) > 0.1]
        if new:
            break
        assert time.monotonic() < deadline
    return task, [pid for pid in workers() if pid not in others], new[0]


def cpu_s(pid):
    try:
        return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) / 100
    except FileNotFoundError:
        return 0.0


async def test_killed_processes_are_replaced(context):
    async with Sandbox(load_apis(), PATIENT, workers=1) as one:
        task, (worker,), interpreter = await endless(one, context)
        os.kill(interpreter, signal.SIGKILL)
        outcome = await task
        assert outcome.error.kind == "crash" and "died" in outcome.error.message and outcome.printed == "on\n"
        assert (await one.run(WELL, context)).value == 7
        assert worker in workers()  # only the interpreter was replaced

        task = asyncio.create_task(one.run("while True: pass", context))
        await asyncio.sleep(0.5)
        os.kill(worker, signal.SIGKILL)
        assert (await task).error.kind == "crash"
        assert (await one.run(WELL, context)).value == 7

        (worker,) = (pid for pid in one_workers(one))
        os.kill(worker, signal.SIGKILL)  # idle
        await asyncio.sleep(0.2)
        outcome = await one.run(WELL, context)
        assert (outcome.value, outcome.error) == (7, None)
        assert worker not in workers()


def one_workers(sandbox):
    return [worker._process.pid for worker in sandbox._all]


async def test_closing_ends_all_processes_and_runs(context):
    one = Sandbox(load_apis(), PATIENT)
    task, (worker,), interpreter = await endless(one, context)
    await one.run(WELL, context)
    pids = one_workers(one)
    assert len(pids) == 2 and worker in pids
    await one.close()
    assert (await task).error.kind == "crash"
    await one.close()
    deadline = time.monotonic() + 20
    while not {*pids, interpreter}.isdisjoint(descendants()) or cpu_s(interpreter):
        await asyncio.sleep(0.1)
        assert time.monotonic() < deadline
    with pytest.raises(RuntimeError, match="closed"):
        await one.run(WELL, context)


async def test_a_cancelled_run_leaves_no_process_behind(context):
    async with Sandbox(load_apis(), PATIENT, workers=1) as one:
        task, (worker,), interpreter = await endless(one, context)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert worker not in workers() and interpreter not in interpreters()
        assert (await one.run(WELL, context)).value == 7


async def test_runs_do_not_wait_for_each_other(context):
    async with Sandbox(load_apis(), PATIENT, workers=2) as one:
        task, *_ = await endless(one, context)
        for _ in range(3):
            assert (await one.run(WELL, context)).value == 7
        assert not task.done()
        task.cancel()


async def test_a_slow_function_does_not_stop_other_runs(sandbox, milan, now, context):
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def held(sensor_id):
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(20)
        return ()

    slow = asyncio.create_task(sandbox.run("held_intervals('s001')['store']", Context(milan, now, held)))
    await asyncio.sleep(0.3)
    assert (await sandbox.run("list_districts()['count']", context)).value == 10
    assert not slow.done()
    release.set()
    assert (await slow).value is True


async def test_a_function_that_hangs_ends_the_run(hasty, milan, now, context):
    outcome = await hasty.run("held_intervals('s001')", Context(milan, now, lambda sensor_id: time.sleep(6)))
    assert outcome.error.kind == "timeout" and outcome.calls[0].error == "not answered in time"
    assert (await hasty.run(WELL, context)).value == 7


async def test_more_runs_than_workers_wait_their_turn(sandbox, context):
    outcomes = await asyncio.gather(*(sandbox.run(f"{i} * 2", context) for i in range(8)))
    assert [outcome.value for outcome in outcomes] == [0, 2, 4, 6, 8, 10, 12, 14]


async def test_each_run_has_an_interpreter_of_its_own(milan, now):
    seen = []

    def held(sensor_id):
        seen.append(interpreters(*one_workers(one)))
        return ()

    async with Sandbox(load_apis(), PATIENT, workers=1) as one:
        for _ in range(3):
            assert (await one.run("held_intervals('s001')", Context(milan, now, held))).error is None
    assert len({pids[0] for pids in seen}) == 3 and all(len(pids) == 1 for pids in seen)


async def test_runs_share_nothing(sandbox, context):
    for _ in range(3):
        assert (await sandbox.run("x = 1\nfind_sensors = None\nresult = x", context)).value == 1
        assert (await sandbox.run("x", context)).error.kind == "runtime"
        assert (await sandbox.run("result", context)).error.kind == "runtime"
        assert (await sandbox.run("find_sensors('outage')['count']", context)).value > 0


# --- A worker under attack --------------------------------------------------------------------------------------------

HEAD = "import json, sys, time\ndef say(**m): print(json.dumps(m), flush=True)\nsay(ready=True)\ninput()\n"
TAKEN = HEAD + "say(started=True)\n"
ATTACKS = {
    "not_started": ("", "crash", "code 1"),
    "not_json": (TAKEN + "print('boo', flush=True)\ntime.sleep(60)", "crash", "protocol"),
    "not_object": (TAKEN + "print('[1]', flush=True)\ntime.sleep(60)", "crash", "protocol"),
    "deep_json": (TAKEN + "print('[' * 100000, flush=True)\ntime.sleep(60)", "crash", "protocol"),
    "long_line": (TAKEN + "print('x' * 10**8, flush=True)\ntime.sleep(60)", "crash", "protocol"),
    "endless_line": (TAKEN + "while True: sys.stdout.write('x' * 10**6)", "crash", "protocol"),
    "silence": (TAKEN + "time.sleep(60)", "timeout", "stopped"),
    "ignored": (TAKEN + "while True: say(hello=1)", "timeout", "stopped"),
    "prints": (TAKEN + "while True: say(print='x' * 1000)", "timeout", "stopped"),
    "calls": (TAKEN + "while True: say(call='list_districts', arguments='[[],{}]')", "calls", "more than 100"),
    "end": (TAKEN, "crash", "died"),
    "no_start": (HEAD + "say(hello=1)\ntime.sleep(60)", "crash", "protocol"),
    "done_twisted": (TAKEN + "say(done=[1], error=None)\ninput()", "output", "can't be given"),
    "done_no_json": (TAKEN + "say(done='{', error=None)\ninput()", "output", "can't be given"),
    "done_deep": (TAKEN + "say(done='[' * 20000, error=None)\ninput()", "output", "can't be given"),
    "done_large": (TAKEN + "say(done=json.dumps('x' * 99999), error=None)\ninput()", "output", "larger than"),
    "error_twisted": (TAKEN + "say(done=None, error=[1])\ninput()", "crash", ""),
    "error_large": (TAKEN + "say(done=None, error={'kind': 'k' * 999, 'message': 'm' * 9999})\ninput()", "k" * 20, "m"),
}


@pytest.mark.parametrize("script, kind, said", ATTACKS.values(), ids=ATTACKS)
async def test_a_worker_that_was_taken_over_gets_no_further(tmp_path, monkeypatch, context, script, kind, said):
    path = tmp_path / "worker.py"
    path.write_text(script if script else "raise SystemExit(1)")
    monkeypatch.setattr(agents.sandbox, "_WORKER", path)
    async with Sandbox(load_apis(), Limits(seconds=0.5)) as one:
        outcome = await one.run(WELL, context)
        assert outcome.value is None and outcome.error.kind == kind
        assert said in outcome.error.message or kind == "crash"
        assert len(outcome.error.message) <= 1000 and len(outcome.printed) < 21_000


async def test_a_worker_that_said_far_more_than_was_read_can_be_ended(tmp_path, monkeypatch, milan, now):
    call = "say(call='held_intervals', arguments='[[\"s001\"],{}]')\n"
    (tmp_path / "worker.py").write_text(TAKEN + call + "while True: print('boo\\n' * 10**6)")
    monkeypatch.setattr(agents.sandbox, "_WORKER", tmp_path / "worker.py")
    async with Sandbox(load_apis(), PATIENT) as one, asyncio.timeout(30):
        outcome = await one.run(WELL, Context(milan, now, lambda sensor_id: time.sleep(1) or ()))
    assert outcome.error.kind == "crash" and "protocol" in outcome.error.message and len(outcome.calls) == 1


async def test_calls_of_a_worker_that_was_taken_over_are_checked_like_all_others(tmp_path, monkeypatch, context):
    calls = [
        {"call": "load_apis", "arguments": "[[], {}]"},
        {"call": "list_districts", "arguments": "[" * 10_000},
        {"call": "list_districts", "arguments": '{"a": 1}'},
        {"call": "list_districts"},
        {"call": ["list_districts"], "arguments": "[[], {}]"},
        {"call": "list_districts", "arguments": '[[], {"context": 1}]'},
        {"call": "list_districts", "arguments": '[["x"], {}]'},
        {"call": "list_districts", "arguments": "[[3], {}]"},
    ]
    script = TAKEN + f"for call in {calls!r}:\n    say(**call)\n    input()\nsay(done='1', error=None)\ninput()"
    (tmp_path / "worker.py").write_text(script)
    monkeypatch.setattr(agents.sandbox, "_WORKER", tmp_path / "worker.py")
    async with Sandbox(load_apis(), PATIENT) as one:
        outcome = await one.run(WELL, context)
    assert outcome.value == 1
    assert [call.error is None for call in outcome.calls] == [False] * 7 + [True]
    assert outcome.calls[-1].arguments == {"limit": 3}


@pytest.mark.parametrize(
    "python, said", [("/no/such/python", "can't be started"), (sys._base_executable, "pip install pydantic-monty")]
)
async def test_a_sandbox_that_cannot_start_says_so(monkeypatch, context, python, said):
    if python == sys.executable:
        pytest.skip("not in a virtual environment: there is no Python without pydantic-monty")
    monkeypatch.setattr(sys, "executable", python)
    async with Sandbox(load_apis(), PATIENT) as one:
        outcome = await one.run(WELL, context)
    assert outcome.error.kind == "crash" and said in outcome.error.message


async def test_a_run_that_waits_when_the_sandbox_is_closed_ends_too(context):
    one = Sandbox(load_apis(), PATIENT, workers=1)
    first, *_ = await endless(one, context)
    second = asyncio.create_task(one.run(WELL, context))
    await asyncio.sleep(0)
    await one.close()
    assert (await first).error.kind == (await second).error.kind == "crash"
    assert not one._all


# --- Programs that a Coder writes -------------------------------------------------------------------------------------


async def run(sandbox, context, code) -> Outcome:
    return await sandbox.run(textwrap.dedent(code).strip(), context)


async def test_a_plan_from_loops_over_districts(sandbox, context):
    outcome = await run(
        sandbox,
        context,
        """
        window = resolve_time("yesterday")
        rows = []
        for district in list_districts()["districts"]:
            area = {"kind": "district", "name": district["name"]}
            found = find_sensors("humidity", area)
            if found["count"] == 0:
                print(f"{district['name']:<20} none, nearest {found['nearest']['id']}")
                continue
            size = estimate_bytes("humidity", area, window["start"], window["end"])
            rows.append((size["bytes"], district["name"], [s["id"] for s in found["sensors"]]))
        rows.sort(key=lambda row: (-row[0], row[1]))
        result = {
            "window": window,
            "items": [{"district": name, "bytes": size, "sensors": ids} for size, name, ids in rows],
            "total_bytes": sum(size for size, _, _ in rows),
        }
        """,
    )
    assert outcome.error is None
    scenario = context.scenario
    expected = [sensor for sensor in scenario.sensors if sensor.type == "humidity"]
    assert sorted(i for row in outcome.value["items"] for i in row["sensors"]) == sorted(s.id for s in expected)
    assert outcome.value["total_bytes"] == len(expected) * 144 * 32
    assert outcome.value["window"]["start"] == "2013-11-17T00:00:00+01:00"
    without = len(scenario.districts) - len({sensor.district for sensor in expected})
    assert without > 0 and outcome.printed.count("none, nearest s") == without
    assert [call.name for call in outcome.calls[:3]] == ["resolve_time", "list_districts", "find_sensors"]
    assert outcome.calls[2].arguments == {"type": "humidity", "area": {"kind": "district", "name": "Duomo"}}
    assert all(call.error is None and call.seconds >= 0 for call in outcome.calls)


async def test_functions_comprehensions_and_text(sandbox, context):
    outcome = await run(
        sandbox,
        context,
        """
        from collections import Counter, defaultdict
        import json, math

        def per_district(kind):
            groups = defaultdict(list)
            for sensor in find_sensors(type=kind, limit=200)["sensors"]:
                groups[sensor["district"]].append(sensor["id"])
            return groups

        counts = {kind: {d: len(ids) for d, ids in per_district(kind).items()} for kind in ("parking", "outage")}
        most = Counter(counts["parking"]).most_common(1)[0][1]
        text = ", ".join(f"{name.upper()}: {n:03d}" for name, n in sorted(counts["outage"].items()))
        result = {"most": most, "text": text, "json": json.loads(json.dumps(counts)) == counts, "root": math.sqrt(2)}
        """,
    )
    assert outcome.error is None
    assert outcome.value["most"] >= 1 and re.fullmatch(r"([A-ZÀ ]+: 00\d(, )?)+", outcome.value["text"])
    assert outcome.value["json"] is True and outcome.value["root"] == pytest.approx(2**0.5)


async def test_times_are_iso_text_and_datetimes_become_it(sandbox, context):
    outcome = await run(
        sandbox,
        context,
        """
        from datetime import datetime, timedelta

        window = resolve_time("yesterday")
        start = datetime.fromisoformat(window["start"])
        evening = (start + timedelta(hours=18)).isoformat()
        size = estimate_bytes("outage", None, start, evening)
        result = {
            "evening": evening,
            "weekday": start.strftime("%A"),
            "readings": size["readings"],
            "assumption": size["assumption"],
            "now": datetime.now(),
            "start": start,
        }
        """,
    )
    assert outcome.error is None
    assert outcome.value["evening"] == "2013-11-17T18:00:00+01:00" and outcome.value["weekday"] == "Sunday"
    assert outcome.value["now"] == "2013-11-18T12:00:00" and outcome.value["start"] == "2013-11-17T00:00:00+01:00"
    assert "1 a day per sensor" in outcome.value["assumption"]
    assert outcome.calls[1].arguments["start"] == "2013-11-17T00:00:00+01:00"


async def test_a_refusal_can_be_caught_and_mended(sandbox, context):
    outcome = await run(
        sandbox,
        context,
        """
        try:
            found = find_sensors("temprature")
        except ValueError as error:
            print("refused:", error)
            found = find_sensors("temperature")
        found["count"]
        """,
    )
    assert outcome.value == 8
    assert "refused: find_sensors: there is no sensor type 'temprature'; nearest names: temperature" in outcome.printed
    assert outcome.calls[0].error.startswith("find_sensors: there is no sensor type") and outcome.calls[1].error is None


@pytest.mark.parametrize(
    "code, value",
    [
        ("result = 1\n2", 1),  # the variable counts more than the last line
        ("1\n2", 2),
        ("x = 2", None),
        ("", None),
        ("# nothing", None),
        ("result = None\n5", None),
        ("def f():\n    result = 1\nf()\n3", 3),
        ("(1, {'b', 'a'}, {1: None})", [1, ["a", "b"], {"1": None}]),
        ("'Città ' + chr(128512)", "Città 😀"),
        ("x = 'Città'\r\nx\r\n", "Città"),
        ("match 3:\n    case 3: result = 'three'", "three"),
        ("import random\nrandom.random() < 1", True),
    ],
)
async def test_the_value_is_result_or_the_last_expression(sandbox, context, code, value):
    outcome = await sandbox.run(code, context)
    assert (outcome.value, outcome.error) == (value, None)


async def test_the_same_code_gives_the_same_value(sandbox, context):
    code = "import random, time\nfrom datetime import datetime\n[random.random(), time.time(), datetime.now()]"
    first, second = [(await sandbox.run(code, context)).value for _ in range(2)]
    assert first == second and first[1] == context.now.timestamp()


# --- Messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code, line, said",
    [
        ("x = 1\ny = x / 0", 2, "line 2 (`y = x / 0`): ZeroDivisionError: division by zero"),
        ("x = 5\nx +", 2, "line 2 (`x +`): SyntaxError: Expected an expression"),
        ("for i in range(3):\n    print(i)\n  print(3)", 3, "line 3 (`print(3)`): SyntaxError: unindent"),
        ("\n\nfind_sensor('x')", 3, "name 'find_sensor' is not defined; the twin's functions: estimate_bytes, find"),
        ("a = 1\nb = missing", 2, "NameError: name 'missing' is not defined"),
        ("d = {}\n\nd['k']", 3, "KeyError: k"),
        ("def f(n):\n    return 1 / n\n\nf(1)\nf(0)", 2, "line 2 in f (`return 1 / n`), called from line 5: Zero"),
        ("x = 1\nimport numpy", 2, "there is no module 'numpy' in the sandbox"),
        ("x = 1\nopen('/etc/passwd')", 2, "the sandbox has no files, network or system: open"),
        ("x = {1: 2}\ndel x[1]", 2, "the sandbox's Python does not have the 'del' statement"),
        ("class A(Exception):\n    pass", 1, "the sandbox's Python does not have class inheritance"),
        ("x = 1\n\nfind_sensors('x')", 3, "ValueError: find_sensors: there is no sensor type 'x'"),
        ("assert 1 == 2, 'not equal'", 1, "AssertionError: not equal"),
        ("x = [0]\nx[5]", 2, "IndexError"),
        ("while True:\n    list_districts()", 2, "called the twin's functions more than 100 times"),
        ("x = 'è'\nx = 'a' * 10 ** 12", 2, "the code used more than 64 MiB"),
        ("raise ValueError('x' * 10 ** 6)", 1, "ValueError: xxx"),
    ],
)
async def test_errors_tell_the_line_and_what_was_wrong(sandbox, context, code, line, said):
    error = (await sandbox.run(code, context)).error
    assert error.line == line and said in error.message, error
    assert len(error.message) <= 1000


async def test_what_was_printed_and_called_before_an_error_is_kept(sandbox, context):
    outcome = await sandbox.run("print('a', 1)\nlist_districts()\nprint('b')\n1/0", context)
    assert outcome.printed == "a 1\nb\n" and [call.name for call in outcome.calls] == ["list_districts"]


async def test_long_output_is_cut_and_said_but_does_not_end_the_run(sandbox, context):
    outcome = await sandbox.run("for i in range(30_000): print('x')\nresult = 'through'", context)
    assert outcome.value == "through"
    assert outcome.printed.startswith("x\n" * 10_000) and outcome.printed.count("x") == 10_000
    assert outcome.printed.endswith("[the rest is cut: at most 20000 characters are kept]")
    full = await sandbox.run("print('x' * 19_999)\nlist_districts()\nprint('y')", context)
    assert full.printed == "x" * 19_999 + "\n\n[the rest is cut: at most 20000 characters are kept]"
    errors = await sandbox.run("import sys\nprint('to stderr', file=sys.stderr)", context)
    assert errors.printed == "to stderr\n"


async def test_limits_must_make_sense():
    with pytest.raises(ValueError, match="seconds 0 must be above 0"):
        Limits(seconds=0)
    with pytest.raises(ValueError, match="workers 0"):
        Sandbox({}, workers=0)


async def test_limits_are_those_given(context):
    limits = Limits(
        seconds=20, memory_bytes=8 << 20, host_calls=3, output_chars=100, code_chars=200, recursion_depth=20
    )
    async with Sandbox(load_apis(), limits, workers=1) as one:
        assert "more than 8 MiB" in (await one.run("x = [0] * 10 ** 6 * 2", context)).error.message
        assert (await one.run("[resolve_time('now') for i in range(3)]\n1", context)).value == 1
        assert "more than 3 times" in (await one.run("[resolve_time('now') for i in range(4)]", context)).error.message
        assert (await one.run("'x' * 99", context)).error.kind == "output"
        assert "at most 200" in (await one.run("#" * 201, context)).error.message
        code = "def f(n): return n and f(n - 1)\nf({})"
        assert (await one.run(code.format(15), context)).value == 0
        assert "RecursionError" in (await one.run(code.format(25), context)).error.message


# --- What is told to the Coder ----------------------------------------------------------------------------------------

HAS = {
    "functions": "def f(a, *b, c=1, **d): return a * c\nf(1)",
    "lambdas": "(lambda x: x)(1)",
    "closures": "def f():\n  n = 0\n  def g():\n    nonlocal n\n    n += 1\n    return n\n  return g()\nf()",
    "simple classes": "class A:\n    def __init__(self): self.x = 1\n    def f(self): return self.x\nA().f()",
    "dataclasses": "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\nA(1).x",
    "comprehensions": "[{k: {v}} for k, v in {'a': 1}.items() if v][0] and 1",
    "try/except": "try: 1/0\nexcept ZeroDivisionError as e: x = str(e)\nelse: x = 2\nfinally: y = 1\ny",
    "match": "match {'a': 1}:\n    case {'a': x}: pass\nx",
    "f-strings": "int(f'{1.2:.0f}')",
    "str.format": "int('{}'.format(1))",
    "sorted/min/max with key": "max(sorted([3, 1], key=lambda x: -x)[1], min([5, 1], key=lambda x: x))",
    "str, list, dict and set": "a = ' b '.strip().split()\na.append(1)\nd = {}\nd.update(y=a.pop())\nlen({1} | {1})",
}
LACKS = {
    "del": "x = 1\ndel x",
    "yield (generator expressions make lists)": "def f(): yield 1",
    "class inheritance": "class A(dict): pass",
    "own exception classes": "class A(Exception): pass",
    "@property": "class A:\n    @property\n    def x(self): return 1\nA().x",
    "@staticmethod": "class A:\n    @staticmethod\n    def x(): return 1\nA.x()",
    "@classmethod": "class A:\n    @classmethod\n    def x(cls): return 1\nA.x()",
    "asdict": "from dataclasses import asdict",
    "open()": "open('x')",
    "input()": "input()",
    "callable()": "callable(print)",
    "vars()": "vars()",
    "dir()": "dir()",
    "globals()": "globals()",
    "compile()": "compile('1', '', 'eval')",
    "wildcard imports": "from json import *",
    "statistics": "import statistics",
    "enum": "import enum",
    "zoneinfo": "import zoneinfo",
    "calendar": "import calendar",
    "heapq": "import heapq",
    "string": "import string",
    "numpy": "import numpy",
    "pandas": "import pandas",
    "requests": "import requests",
}


def part_of_text(head, end):
    return SANDBOX_PYTHON.partition(head)[2].partition(end)[0]


async def test_the_text_tells_what_the_sandbox_has(sandbox, context):
    has, lacks = part_of_text("It has: ", "\n"), part_of_text("It lacks: ", "\n")
    for name, code in HAS.items():
        assert name in has
        outcome = await sandbox.run(code, context)
        assert outcome.value == 1, (name, outcome)
    modules = has.partition("the modules ")[2].rstrip(".").split(", ")
    assert len(modules) > 15
    for module in modules:
        assert (await sandbox.run(f"import {module}", context)).error is None, module
    told = [part.strip() for part in re.split(r",| and |such as|all other modules", lacks.rstrip(".")) if part.strip()]
    assert sorted(told) == sorted(LACKS)
    for name, code in LACKS.items():
        outcome = await sandbox.run(code, context)
        assert outcome.error is not None and outcome.error.kind in ("syntax", "refused", "runtime"), name


async def test_the_text_is_right_on_what_is_peculiar(sandbox, context):
    assert "wrap .keys(), .values() and .items() in list()" in SANDBOX_PYTHON
    assert (await sandbox.run("str(x for x in [1, 2])", context)).value == "[1, 2]"
    assert (await sandbox.run("{'a': 1}.keys()", context)).value == "dict_keys(['a'])"  # the reason for the advice
    assert (await sandbox.run("list({'a': 1}.items())", context)).value == [["a", 1]]
    assert "call them without await" in SANDBOX_PYTHON
    assert (await sandbox.run("await list_districts()", context)).error.kind == "runtime"
    assert "time.sleep() does not wait" in " ".join(SANDBOX_PYTHON.split())
    outcome = await sandbox.run("import time\nt = time.time()\ntime.sleep(1000)\ntime.time() - t", context)
    assert outcome.error is None and outcome.seconds < 20


async def test_an_operators_function_is_there_too_and_its_faults_stay_outside(tmp_path, context):
    (tmp_path / "parking_fee.py").write_text(
        textwrap.dedent('''
        from agents.apis import ApiError, Context

        def parking_fee(context: Context, district: str) -> dict:
            """Tell the fee of parking.

            Args:
                district: name of the district.

            Returns:
                {"fee": in euro}

            Example:
                parking_fee("Brera")
            """
            if district == "boom":
                raise RuntimeError("sk-secret")
            if district == "exit":
                raise SystemExit
            return {"fee": 2.5, "city": context.scenario.city}
        ''')
    )
    async with Sandbox(load_apis(tmp_path), PATIENT, workers=1) as one:
        assert (await one.run("parking_fee('Brera')", context)).value == {"fee": 2.5, "city": "Milan"}
        outcome = await one.run("x = 1\nparking_fee('boom')", context)
        assert outcome.error.kind == "runtime" and outcome.error.line == 2
        assert "failed inside, which is no fault of the call: RuntimeError" in outcome.error.message
        assert "sk-secret" not in json.dumps([outcome.error.message, outcome.calls[0].error, outcome.printed])
        assert ApiError.__name__ not in outcome.error.message
