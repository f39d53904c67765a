"""The process in which the sandbox runs model-written code; started by ``agents.sandbox`` as a script, never imported.

It drives pydantic-monty, whose interpreter runs in yet another process, and is the first to see values that hostile
code made: to turn them into Python's objects can take for ever (CPython 3.11 hashes a set of nested tuples anew at each
use, the interpreter does not), so that it must not happen in a process that has other work. It imports nothing of this
project, holds nothing secret, and can be killed at any moment.

Protocol, one JSON object a line. From the parent on stdin: ``{"run": code, "apis": [names], "now": ISO 8601,
"timezone": name}``, and after each call ``{"return": value}`` or ``{"error": text}``. To the parent on stdout:
``{"ready": true}`` once, or ``{"fatal": text}``; then for each run ``{"started": true}``, ``{"print": text}``,
``{"call": name, "arguments": JSON text of [positional, named], "problem": text or null}``, and in the end ``{"done":
JSON text of the value or null, "error": {"kind", "message", "line"} or null}``. The limits come as JSON in ``argv``.
"""

import builtins
import json
import os
import resource
import signal
import sys
from collections.abc import Iterable
from datetime import date, datetime
from datetime import time as time_of_day

try:
    from pydantic_monty import (
        FunctionSnapshot,
        Monty,
        MontyComplete,
        MontyCrashedError,
        MontyError,
        MontyRuntimeError,
        MontySession,
        MontySyntaxError,
        NameLookupSnapshot,
    )
except ImportError as missing:
    print(json.dumps({"fatal": f"{missing}; install it: pip install pydantic-monty"}))
    sys.exit(1)

_SPARE_BYTES = 1 << 28  # address space of each process beside what it has at the start and what values may take
_SPARE_CPU_S = 3.0
_SPARE_TURNS = 500  # look-ups of names, refused calls and the like in one run, beside the calls of APIs
_FLOOD = 20  # printing this many times the limit ends the run
_MESSAGE_CHARS = 600


class _Stop(Exception):
    """Ends a run; has the kind, message and line of its error."""


def main(limits: dict) -> None:
    send = _Sender()
    try:
        pool = Monty(
            min_processes=1,
            max_processes=1,
            max_checkouts_per_worker=1,
            request_timeout=limits["seconds"] + 0.5,
        )
        pool.__enter__()
        # The second wall around what the interpreter limits by itself; its processes inherit it.
        _limit(resource.RLIMIT_AS, _space_bytes("self") + _SPARE_BYTES + 4 * limits["memory_bytes"])
        _limit(resource.RLIMIT_FSIZE, 0)
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_NOFILE, 64)
    except Exception as error:
        send(fatal=f"{type(error).__name__}: {error}"[:_MESSAGE_CHARS])
        return
    send(ready=True)
    with pool:
        for line in sys.stdin.buffer:
            send(started=True)
            send(**_Run(pool, json.loads(line), limits, send).outcome())


def _limit(what: int, most: int, pid: int = 0) -> None:
    """Set a limit of a process, unless it has a lower one."""
    hard = resource.prlimit(pid, what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.prlimit(pid, what, (most, most))


def _space_bytes(pid: int | str) -> int:
    """The address space that a process has; threads reserve much of it, the more the more cores there are."""
    with open(f"/proc/{pid}/statm", "rb") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


class _Sender:
    def __call__(self, **message: object) -> None:
        sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
        sys.stdout.buffer.flush()


class _Run:
    """One run of one program, in an interpreter of its own."""

    def __init__(self, pool: Monty, request: dict, limits: dict, send: _Sender) -> None:
        self._pool, self._limits, self._send = pool, limits, send
        self._code, self._apis = request["run"], set(request["apis"])
        self._now, self._timezone = datetime.fromisoformat(request["now"]), request["timezone"]
        self._calls = self._turns = self._printed = 0
        self._interpreter: int | None = None

    def outcome(self) -> dict:
        """The message that ends the run. Nothing that the code does raises."""
        try:
            return {"done": self._value(), "error": None}
        except _Stop as stop:
            kind, message, line = stop.args
        except MontyError as error:
            kind, message, line = self._told(error)
        except MemoryError:
            kind, message, line = "memory", "the values that the code made are too large", None
        except Exception as error:  # a fault of this program or the interpreter, which the model can't mend
            kind, message, line = "crash", f"the sandbox failed: {type(error).__name__}: {error}", None
        return {"done": None, "error": {"kind": kind, "message": message[:_MESSAGE_CHARS], "line": line}}

    def _value(self) -> str:
        """The JSON text of the variable ``result``, or where the code sets none, of its last expression."""
        with self._pool.checkout(
            script_name="code.py",
            limits={
                "max_feed_duration_secs": self._limits["seconds"],
                "max_memory": self._limits["memory_bytes"],
                "max_recursion_depth": self._limits["recursion_depth"],
                # This program counts by itself; the interpreter's own count is a second wall.
                "max_suspensions": self._limits["host_calls"] + _SPARE_TURNS + 100,
            },
            # The twin's time, which stands still; no waiting; the same random numbers each time.
            os_policy={
                "datetime": self._now,
                "timezone": self._timezone,
                "sleep": "zero",
                "random_start": {"seed": 0},
            },
        ) as session:
            self._wall_off(session)
            last = self._drive(session, self._code)
            try:
                last = self._drive(session, "result")
            except MontyRuntimeError as error:
                if not isinstance(error.exception(), NameError):
                    raise
            return self._json(last.output, self._limits["output_chars"], "the result")

    def _wall_off(self, session: MontySession) -> None:
        """Limits of the interpreter's process: it has its pipes, and can open neither files nor sockets."""
        pid = self._interpreter = session.worker_pid
        seconds = int(self._limits["seconds"] + _SPARE_CPU_S)
        _limit(resource.RLIMIT_AS, _space_bytes(pid) + _SPARE_BYTES + 2 * self._limits["memory_bytes"], pid)
        _limit(resource.RLIMIT_CPU, seconds, pid)
        _limit(resource.RLIMIT_NOFILE, 3, pid)
        # This process lives on after the run, so that only its soft limit moves.
        used, hard = resource.getrusage(resource.RUSAGE_SELF), resource.getrlimit(resource.RLIMIT_CPU)[1]
        soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))

    def _drive(self, session: MontySession, code: str) -> MontyComplete:
        state = session.feed_start(code, print_callback=self._print)
        while not isinstance(state, MontyComplete):
            self._turns += 1
            if self._turns > self._limits["host_calls"] + _SPARE_TURNS:
                raise _Stop("calls", f"the code asked the sandbox {self._turns} times for what it can't have", None)
            state = self._answered(state)
        return state

    def _answered(self, state: object) -> object:
        """The state after the interpreter got what it waits for."""
        if isinstance(state, NameLookupSnapshot):
            if state.variable_name in self._apis and state.object_id is None:
                return state.resume(value=_named(state.variable_name))
            return state.resume()
        if not isinstance(state, FunctionSnapshot):
            raise _Stop("refused", "the code waits for something that never comes; call functions without await", None)
        name = state.function_name
        if name in self._apis and not state.is_os_function and state.object_id is None:
            return self._called(state)
        if state.is_os_function and name == "import":
            module = str(next(iter(state.args), ""))[:100]
            return _raised(state, "ModuleNotFoundError", f"there is no module {module!r} in the sandbox")
        if state.is_os_function or state.object_id is not None:
            return _raised(state, "PermissionError", f"the sandbox has no files, network or system: {name[:100]}")
        if hasattr(builtins, name):
            return _raised(state, "PermissionError", f"the sandbox has no {name}()")
        functions = ", ".join(sorted(self._apis)) or "none"
        return _raised(state, "NameError", f"name {name[:100]!r} is not defined; the twin's functions: {functions}")

    def _called(self, state: FunctionSnapshot) -> object:
        self._calls += 1
        if self._calls > self._limits["host_calls"]:
            most = self._limits["host_calls"]
            line = self._code.encode()[: state.position.start].count(b"\n") + 1
            raise _Stop("calls", f"the code called the twin's functions more than {most} times", line)
        arguments, problem = None, None
        try:
            arguments = self._json([state.args, state.kwargs], self._limits["output_chars"], "the list of arguments")
        except _Stop as stop:
            problem = stop.args[1]
        self._send(call=state.function_name, arguments=arguments, problem=problem)
        answer = json.loads(sys.stdin.buffer.readline() or b'{"error": "the twin is gone"}')
        if "error" in answer:
            return _raised(state, "ValueError", answer["error"])
        return state.resume({"return_value": answer["return"]})

    def _print(self, stream: str, text: str) -> None:
        before, self._printed, most = self._printed, self._printed + len(text), self._limits["output_chars"]
        if before < most:
            self._send(print=text[: most - before])
        if before <= most < self._printed:
            self._send(print=f"\n[the rest is cut: at most {most} characters are kept]")
        if self._printed > self._flood and self._interpreter is not None:
            # An error raised here is told only when the code ends by itself.
            os.kill(self._interpreter, signal.SIGKILL)

    @property
    def _flood(self) -> int:
        return _FLOOD * self._limits["output_chars"]

    def _json(self, value: object, most: int, what: str) -> str:
        """JSON text. Stops as soon as there are more than ``most`` characters, for values can be endless."""
        chunks, chars = [], 0
        try:
            encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_jsonable)
            for chunk in encoder.iterencode(value):
                chunks.append(chunk)
                chars += len(chunk)
                if chars > most:
                    raise _Stop("output", f"{what} has more than {most} characters as JSON; give back less", None)
        except (TypeError, ValueError, RecursionError) as error:
            raise _Stop("output", f"{what} is no plain JSON data: {error}", None) from None
        return "".join(chunks)

    def _told(self, error: MontyError) -> tuple[str, str, int | None]:
        """Kind, message and line of an error, for the model that must correct its code."""
        if self._printed > self._flood:
            return "output", f"the code printed more than {self._flood} characters", None
        if isinstance(error, MontyCrashedError):
            if error.timed_out:
                return "timeout", self._too_long, None
            return "crash", "the interpreter's process died; the code may have used too much memory or CPU", None
        if not isinstance(error, MontyRuntimeError | MontySyntaxError):
            return "crash", f"the sandbox failed: {error}", None
        text = error.display(format="type-msg")[: 2 * _MESSAGE_CHARS]
        name = text.partition(":")[0]
        frames = [frame for frame in error.traceback() if frame.filename != "<string>"]
        line = frames[-1].line if frames else None
        if name == "TimeoutError" and "time limit exceeded" in text:
            return "timeout", self._too_long, line
        if name == "MemoryError":
            return "memory", f"{_at(frames)}the code used more than {self._limits['memory_bytes'] >> 20} MiB", line
        if isinstance(error, MontySyntaxError):
            return "syntax", f"{_at(frames)}{text}", line
        if name == "NotImplementedError" and frames and frames[-1].function_name is None:
            missing = text.partition("does not yet support ")[2]
            said = f"the sandbox's Python does not have {missing}" if missing else text
            return "syntax", f"{_at(frames)}{said}", line
        kind = "refused" if name in ("PermissionError", "ModuleNotFoundError") else "runtime"
        return kind, f"{_at(frames)}{text}", line

    @property
    def _too_long(self) -> str:
        return f"the code ran for more than {self._limits['seconds']:g} s"


def _at(frames: list) -> str:
    """Where an error arose, in words."""
    if not frames:
        return ""
    source = (frames[-1].source_line or "").strip()[:80]
    inside = frames[-1].function_name
    where = f"line {frames[-1].line}" + (f" in {inside}" if inside and inside != "<module>" else "")
    callers = ", ".join(dict.fromkeys(f"line {frame.line}" for frame in frames[-4:-1]))
    return f"{where}" + (f" (`{source}`)" if source else "") + (f", called from {callers}: " if callers else ": ")


def _named(name: str) -> object:
    """Something callable for the interpreter to hold; calls of it come back by its name."""

    def function() -> None:
        raise NotImplementedError

    function.__name__ = function.__qualname__ = name
    return function


def _raised(state: FunctionSnapshot, kind: str, message: str) -> object:
    return state.resume({"exc_type": kind, "message": message})


def _jsonable(value: object) -> object:
    if isinstance(value, date | time_of_day):  # datetime is a date
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return _in_order(value)
    raise TypeError(f"it has a {type(value).__name__}; use texts, numbers, lists and dicts")


def _in_order(values: Iterable) -> list:
    """Sorted where all are texts, for their order in a set is another in each process."""
    values = list(values)
    return sorted(values) if all(isinstance(value, str) for value in values) else values


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
