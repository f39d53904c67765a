"""The sandbox: runs Python that a language model wrote, where it can do no harm, with the Data API's functions.

The code runs in pydantic-monty, an interpreter of its own that has neither files nor network, in a process of its own,
driven by a worker process (``agents.sandbox_worker``) that can be killed at any moment and has an empty environment.
This process reads nothing from them but JSON lines of bounded length. Walls, in the order in which they are met: the
interpreter's limits of time, memory and depth; the worker's watch over it; the limits of the operating system on both
processes (address space, CPU time, open files, size of files); and the wall-clock limit here, which kills both.

Public: ``Sandbox``, ``Limits``, ``Outcome``, ``HostCall``, ``CodeError``, and ``SANDBOX_PYTHON``, which tells a Coder
what the sandbox's Python has.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

from agents.data_api import Api, ApiError, Context, call, plain

_WORKER = Path(__file__).with_name("sandbox_worker.py")
_GRACE_S = 1.5  # after the time limit, for the inner walls to say what went on
_MESSAGE_CHARS = 1000
_START_S = 60.0  # for a worker to be there, on the busiest machine

SANDBOX_PYTHON = """\
The code runs in a small, safe Python without files, network, environment or packages.
It has: functions, lambdas, closures, simple classes without inheritance, dataclasses, comprehensions, try/except, \
match, f-strings, str.format, sorted/min/max with key, all common methods of str, list, dict and set, and the modules \
asyncio, base64, bisect, collections, copy, csv, dataclasses, datetime, decimal, functools, hashlib, itertools, json, \
math, random, re, time, typing.
It lacks: del, yield (generator expressions make lists), class inheritance, own exception classes, @property, \
@staticmethod, @classmethod, asdict, open(), input(), callable(), vars(), dir(), globals(), compile(), wildcard \
imports, and all other modules, such as statistics, enum, zoneinfo, calendar, heapq, string, numpy, pandas and requests.
The twin's functions are there by name, without import; call them without await, by position or by name. What they \
refuse is a ValueError that says why. Times are ISO 8601 text with offset; datetime.fromisoformat reads them. \
datetime.now() is the twin's present in the city's local time, without offset; it stands still, and time.sleep() does \
not wait.
Give the answer back in a variable called result, made of texts, numbers, lists and dicts; wrap .keys(), .values() and \
.items() in list(). Without it, the value of the last line counts. print() is for notes."""


@dataclass(frozen=True)
class Limits:
    """Limits of one run. ``seconds`` is wall-clock time, the twin's functions included. ``output_chars`` holds for the
    printed text, for the result as JSON and for the arguments of each call. Raises ValueError unless all are above 0.
    """

    seconds: float = 10.0
    memory_bytes: int = 64 << 20
    host_calls: int = 100
    output_chars: int = 20_000
    code_chars: int = 20_000
    recursion_depth: int = 200

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0:
                raise ValueError(f"limit {name} {value} must be above 0")


@dataclass(frozen=True)
class HostCall:
    """A call of one of the twin's functions. ``error`` is what it refused, or None."""

    name: str
    arguments: dict
    seconds: float
    error: str | None


@dataclass(frozen=True)
class CodeError:
    """Why a run has no value, in words for the model that must correct its code.

    ``kind``: "syntax" (not Python, or Python that the sandbox lacks), "runtime" (an exception), "refused" (files,
    modules, network and the like), "timeout", "memory", "output" (too much printed, or a result that is no JSON or too
    large), "calls" (too many calls of functions), "code" (too long, or no text), "crash" (a process died). ``line``
    counts from 1; None where it is not known.
    """

    kind: str
    message: str
    line: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a run. ``value`` counts if ``error`` is None; ``printed`` says where it was cut; ``seconds`` of
    wall-clock time are from the code's start."""

    value: object
    printed: str
    calls: tuple[HostCall, ...]
    error: CodeError | None
    seconds: float


class Sandbox:
    """Runs code; used as ``async with Sandbox(apis) as sandbox``, or closed by ``close()``. Belongs to one event loop.

    Up to ``workers`` runs go on at once, further ones wait their turn; each starts from nothing. A worker serves many
    runs and is replaced when it was killed, also from outside.
    """

    def __init__(self, apis: Mapping[str, Api], limits: Limits | None = None, workers: int = 2) -> None:
        if workers < 1:
            raise ValueError(f"workers {workers} must be at least 1")
        self.apis, self.limits = dict(apis), limits or Limits()
        self._free = asyncio.Semaphore(workers)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False

    async def __aenter__(self) -> "Sandbox":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all workers; runs that go on end with a "crash". Raises nothing, also when called twice."""
        self._closed = True
        self._idle.clear()
        await asyncio.gather(*(self._end(worker) for worker in tuple(self._all)))

    async def run(self, code: str, context: Context) -> Outcome:
        """Run a program, and return what came of it.

        The value is that of the program's variable ``result``; of a program that sets none, that of its last expression
        (None where it ends with something else). It is plain JSON data; dates and times became ISO 8601 text.

        Nothing that the code does raises; RuntimeError is raised when the sandbox is closed.
        """
        if self._closed:
            raise RuntimeError("the sandbox is closed")
        record = _Record(self.limits)
        error, value = self._unfit(code), None
        if error is None:
            async with self._free:
                value, error = await self._run(code, context, record)
        return Outcome(value, record.printed, tuple(record.calls), error, perf_counter() - record.started)

    def _unfit(self, code: object) -> CodeError | None:
        """What is wrong with a text before it is run."""
        if not isinstance(code, str):
            return CodeError("code", f"the code must be text, not {type(code).__name__}")
        if len(code) > self.limits.code_chars:
            most = self.limits.code_chars
            return CodeError("code", f"the code has {len(code)} characters; at most {most} are allowed")
        odd = next((letter for letter in code if letter == "\0" or "\ud800" <= letter <= "\udfff"), None)
        if odd is not None:
            line = code[: code.index(odd)].count("\n") + 1
            return CodeError("syntax", f"line {line}: {odd!r} is no character of a program", line)
        return None

    async def _run(self, code: str, context: Context, record: "_Record") -> tuple[object, CodeError | None]:
        request = {
            "run": code,
            "apis": list(self.apis),
            "now": context.local_now.isoformat(),
            "timezone": context.scenario.timezone,
        }
        worker = None
        try:
            worker = await self._ready(request)
            record.started = perf_counter()
            async with asyncio.timeout(self.limits.seconds + _GRACE_S):
                message = await self._answer_calls(worker, context, record)
        except TimeoutError:
            return None, CodeError("timeout", f"the code ran for more than {self.limits.seconds:g} s and was stopped")
        except _WorkerError as problem:
            return None, problem.error
        else:
            self._idle.append(worker)
            worker = None
        finally:
            if worker is not None:
                await asyncio.shield(self._end(worker))
        if message.get("error") is not None:
            return None, _told(message["error"])
        try:
            return plain(json.loads(message["done"]), 2 * self.limits.output_chars), None
        except (TypeError, ValueError, RecursionError) as problem:
            return None, CodeError("output", f"the result can't be given: {problem}"[:_MESSAGE_CHARS])

    async def _ready(self, request: dict) -> "_Worker":
        """A worker that has begun with the request; one that died while idle is replaced. Raises _WorkerError."""
        while True:
            kept = bool(self._idle)
            worker = self._idle.pop() if kept else await self._started()
            try:
                await worker.send(request)
                await worker.expect("started")
                return worker
            except BaseException as problem:
                await asyncio.shield(self._end(worker))
                if not (kept and isinstance(problem, _WorkerError)):
                    raise

    async def _started(self) -> "_Worker":
        worker = _Worker(self.limits)
        self._all.add(worker)
        try:
            if self._closed:  # while it waited for its turn
                raise _WorkerError("crash", "the sandbox is closed")
            await worker.start()
            if self._closed:  # while the process started
                raise _WorkerError("crash", "the sandbox is closed")
        except BaseException:
            await asyncio.shield(self._end(worker))
            raise
        return worker

    async def _end(self, worker: "_Worker") -> None:
        await worker.kill()
        self._all.discard(worker)

    async def _answer_calls(self, worker: "_Worker", context: Context, record: "_Record") -> dict:
        """Let the worker go on until it is done; its last message. Raises _WorkerError."""
        while True:
            message = await worker.receive()
            if "done" in message:
                return message
            if "print" in message:
                record.print(str(message["print"]))
            elif "call" in message:
                await worker.send(await self._call(message, context, record))

    async def _call(self, message: dict, context: Context, record: "_Record") -> dict:
        """The answer to a call; the function runs in a thread, so that other runs go on meanwhile."""
        name, started, arguments = str(message["call"])[:100], perf_counter(), {}
        if len(record.calls) >= self.limits.host_calls:  # the worker counts too, and says where in the code
            raise _WorkerError("calls", f"the code called functions more than {self.limits.host_calls} times")
        try:
            if name not in self.apis:
                raise ApiError(f"there is no function {name!r}")
            arguments = self.apis[name].bind(*_arguments(name, message))
            result = await asyncio.to_thread(call, self.apis, context, name, arguments)
        except ApiError as problem:
            record.calls.append(HostCall(name, arguments, perf_counter() - started, str(problem)))
            return {"error": str(problem)}
        except asyncio.CancelledError:
            record.calls.append(HostCall(name, arguments, perf_counter() - started, "not answered in time"))
            raise
        record.calls.append(HostCall(name, arguments, perf_counter() - started, None))
        return {"return": result}


def _arguments(name: str, message: dict) -> tuple[list, dict]:
    """Positional and named arguments of a call. Raises ApiError."""
    if message.get("problem") is not None:
        raise ApiError(f"{name}: {message['problem']}"[:_MESSAGE_CHARS])
    try:
        args, named = json.loads(message["arguments"])
        return list(args), dict(named)
    except (KeyError, TypeError, ValueError, RecursionError) as problem:
        raise ApiError(f"{name}: the arguments can't be read: {type(problem).__name__}") from None


def _told(error: object) -> CodeError:
    """An error that a worker told; of any form, for the worker may be under attack."""
    told = error if isinstance(error, dict) else {}
    line = told.get("line")
    message = str(told.get("message", ""))[:_MESSAGE_CHARS]
    return CodeError(str(told.get("kind", "crash"))[:20], message, line if isinstance(line, int) else None)


class _Record:
    """What a run leaves behind, also when it is stopped."""

    def __init__(self, limits: Limits) -> None:
        self.calls: list[HostCall] = []
        self.printed = ""
        self.started = perf_counter()
        self._most = limits.output_chars + 200  # with the note on where it was cut

    def print(self, text: str) -> None:
        self.printed += text[: max(0, self._most - len(self.printed))]


class _WorkerError(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.error = CodeError(kind, message)


class _Worker:
    """A worker process with its pipes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._transport: asyncio.SubprocessTransport | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and wait for it. Raises _WorkerError."""
        loop = asyncio.get_running_loop()
        most = 65_536 + 16 * self._limits.output_chars  # a character is at most 12 bytes of JSON
        try:
            # As asyncio.create_subprocess_exec does it, but with the transport kept, to close it.
            self._transport, protocol = await loop.subprocess_exec(
                lambda: asyncio.subprocess.SubprocessStreamProtocol(limit=most, loop=loop),
                # -I and -B: no search path or files from where we are; -X utf8, as there is no locale
                *(sys.executable, "-I", "-B", "-X", "utf8", str(_WORKER), json.dumps(asdict(self._limits))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,  # a group of its own, to be killed as one
            )
        except OSError as problem:
            raise _WorkerError("crash", f"the sandbox's process can't be started: {problem}") from None
        self._process = asyncio.subprocess.Process(self._transport, protocol, loop)
        await self.expect("ready")

    async def send(self, message: dict) -> None:
        """Raises _WorkerError when the process is gone."""
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()
        except OSError:
            raise _gone() from None

    async def expect(self, what: str) -> None:
        """Wait for a message. Raises _WorkerError when another one comes, or none."""
        message = await self.receive(_START_S)
        if what not in message:
            said = str(message.get("fatal", "it broke the protocol"))[:_MESSAGE_CHARS]
            raise _WorkerError("crash", f"the sandbox's process can't run code: {said}")

    async def receive(self, seconds: float | None = None) -> dict:
        """The next message. Raises _WorkerError when the process is gone, silent for too long, or talks nonsense."""
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        except ValueError:  # a longer line than any that is meant
            raise _WorkerError("crash", "the sandbox's process broke the protocol") from None
        except TimeoutError:
            raise _WorkerError("crash", f"the sandbox's process said nothing for {seconds:g} s") from None
        if not line.endswith(b"\n"):
            raise _gone()
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise _WorkerError("crash", "the sandbox's process broke the protocol") from None
        if not isinstance(message, dict):
            raise _WorkerError("crash", "the sandbox's process broke the protocol")
        return message

    async def kill(self) -> None:
        """Kill the process and the interpreter's; the group may outlive its head."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        # Else asyncio waits for the end of a pipe that it does not read while too much is in it.
        self._transport.close()
        await self._process.wait()


def _gone() -> _WorkerError:
    return _WorkerError("crash", "the sandbox's process died; the code may have used too much memory")
