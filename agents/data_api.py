"""Data API Cards: functions that agents may call, by function calling or from code in the sandbox.

One file is one function and its card (``agents/apis``; an operator adds some by a directory given to ``load_apis``):

- the file is called as its one public function; helpers begin with ``_``;
- the first parameter is ``context: Context``, which callers do not see; all others, and the result, are annotated with
  str, int, float, bool, list[str], dict, or unions of these with None, and defaults are plain values of that kind;
- the docstring is the card: a summary in its first line, then ``Args:`` with every parameter and its units,
  ``Returns:``, and ``Example:`` with one call;
- the function raises ``ApiError`` for what a caller got wrong, and returns plain JSON data of bounded size.

From that single source come the card's text for prompts, the JSON schema of the parameters, and the binding of
positional and named arguments. Tools that have a state are methods with such docstrings: ``api_of`` makes their cards.
Public: ``load_apis``, ``check_api_file``, ``api_of``, ``call``, ``call_async``, ``cards_text``, ``Api``, ``Parameter``,
``plain``, and of ``agents.apis`` ``Context`` and ``ApiError``.
"""

import ast
import builtins
import importlib
import importlib.util
import inspect
import keyword
import math
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, time
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from jsonschema import Draft202012Validator

from agents import apis as bundled
from agents.apis import ApiError, Context

MAX_ARGUMENT_CHARS = 20_000  # of all arguments of a call, as JSON
MAX_RESULT_CHARS = 60_000
MAX_DEPTH = 40  # of objects and lists in each other
RESERVED = frozenset({"result", "context"})  # names with a meaning of their own in sandboxed code or in cards

__all__ = [
    "Api",
    "ApiError",
    "ApiFileError",
    "Context",
    "Parameter",
    "api_of",
    "call",
    "call_async",
    "cards_text",
    "check_api_file",
    "load_apis",
    "plain",
]

_KINDS = {  # annotation: schema, and words for messages
    "str": ({"type": "string"}, "text"),
    "int": ({"type": "integer"}, "a whole number"),
    "float": ({"type": "number"}, "a number"),
    "bool": ({"type": "boolean"}, "true or false"),
    "list[str]": ({"type": "array", "items": {"type": "string"}}, "a list of texts"),
    "dict": ({"type": "object"}, "an object"),
    "None": ({"type": "null"}, "null (None)"),
}
_ONLY = f"only {', '.join(kind for kind in _KINDS if kind != 'None')} and unions of these with None are supported"


class ApiFileError(ValueError):
    """API files that can't be used; the message says of each all that is wrong with it."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of an API. ``annotation`` is Python's, ``default`` counts only if not ``required``."""

    name: str
    annotation: str
    text: str
    required: bool
    default: object = None

    @property
    def schema(self) -> dict:
        """The JSON Schema of its values."""
        parts = [_KINDS[kind][0] for kind in self.annotation.split(" | ")]
        types = [part["type"] for part in parts]
        merged = {key: value for part in parts for key, value in part.items()}
        default = {} if self.required else {"default": self.default}
        return {**merged, "type": types[0] if len(types) == 1 else types, "description": self.text, **default}

    @property
    def expected(self) -> str:
        """What its values must be, in words."""
        return " or ".join(_KINDS[kind][1] for kind in self.annotation.split(" | "))

    def __str__(self) -> str:
        return f"{self.name}: {self.annotation}" + ("" if self.required else f" = {self.default!r}")


@dataclass(frozen=True)
class Api:
    """A function that agents may call, as its file describes it. ``function`` takes a Context, or what a method is
    called on, and the parameters."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    result: str
    returns: str
    example: str
    function: Callable[..., object]

    @property
    def signature(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))}) -> {self.result}"

    @cached_property
    def text(self) -> str:
        """The card for prompts."""
        lines = [self.signature, f"  {self.description}"]
        lines += [f"  {parameter.name}: {parameter.text}" for parameter in self.parameters]
        return "\n".join([*lines, f"  Returns: {self.returns}", f"  Example: {self.example}"])

    @cached_property
    def schema(self) -> dict:
        """The JSON Schema of the parameters, for function calling."""
        return {
            "type": "object",
            "properties": {parameter.name: parameter.schema for parameter in self.parameters},
            "required": [parameter.name for parameter in self.parameters if parameter.required],
            "additionalProperties": False,
        }

    @property
    def tool(self) -> dict:
        """The function in the form of the chat completions' ``tools``."""
        description = f"{self.description} Returns: {self.returns}"
        function = {"name": self.name, "description": description, "parameters": self.schema}
        return {"type": "function", "function": function}

    def bind(self, args: Iterable[object], named: Mapping[str, object]) -> dict[str, object]:
        """Positional and named arguments as one object for ``call``. Raises ApiError for too many, or one given twice.

        Names and values are left for ``call`` to check.
        """
        args, bound = list(args), dict(named)
        if len(args) > len(self.parameters):
            raise ApiError(
                f"{self.name} takes at most {len(self.parameters)} arguments, not {len(args)}; "
                f"it is called as {self.signature}"
            )
        for parameter, value in zip(self.parameters, args, strict=False):
            if parameter.name in bound:
                raise ApiError(f"{self.name}: {parameter.name} is given twice, by position and by name")
            bound[parameter.name] = value
        return bound


def cards_text(apis: Mapping[str, Api]) -> str:
    """All cards, for a prompt."""
    return "\n\n".join(api.text for api in apis.values())


# --- Calls ------------------------------------------------------------------------------------------------------------


def call(apis: Mapping[str, Api], context: Context, name: str, arguments: object) -> object:
    """Call the function ``name`` with an object of arguments, and return its result, plain JSON data.

    Raises ApiError, for unknown functions, arguments that don't fit the schema, and what the function itself refuses;
    also when the function fails or its result is no JSON or larger than MAX_RESULT_CHARS.
    """
    api, given = _bound(apis, name, arguments)
    with _told(name):
        result = api.function(context, **given)
    return _plain_result(name, result)


async def call_async(apis: Mapping[str, Api], context: object, name: str, arguments: object) -> object:
    """As ``call``, for functions that are coroutine functions."""
    api, given = _bound(apis, name, arguments)
    with _told(name):
        result = await api.function(context, **given)
    return _plain_result(name, result)


def _bound(apis: Mapping[str, Api], name: str, arguments: object) -> tuple[Api, dict]:
    """The function and its arguments, checked. Raises ApiError."""
    api = apis.get(name) if isinstance(name, str) else None
    if api is None:
        close = get_close_matches(str(name)[:100], apis, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ApiError(f"there is no function {str(name)[:100]!r}{hint}; the functions are {', '.join(apis)}")
    if not isinstance(arguments, dict):
        raise ApiError(f"{name}: the arguments must be one object by parameter name, not {_said(arguments)}")
    try:
        given = plain(arguments, MAX_ARGUMENT_CHARS)
    except ValueError as error:
        raise ApiError(f"{name}: the arguments can't be taken: {error}") from None
    return api, _fitted(api, given)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Whatever a function raises becomes an ApiError with its name."""
    try:
        yield
    except ApiError as error:
        raise ApiError(f"{name}: {error}") from None
    except Exception as error:
        raise ApiError(f"{name} failed inside, which is no fault of the call: {type(error).__name__}") from error


def _plain_result(name: str, result: object) -> object:
    try:
        return plain(result, MAX_RESULT_CHARS)
    except ValueError as error:
        raise ApiError(f"{name}: the result can't be given: {error}; ask for less") from None


def _fitted(api: Api, given: dict) -> dict:
    """The arguments as the function wants them. Raises ApiError where they don't fit."""
    known = {parameter.name: parameter for parameter in api.parameters}
    for name in given:
        if name not in known:
            close = get_close_matches(name[:100], known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ApiError(f"{api.name} has no parameter {name[:100]!r}{hint}; it is called as {api.signature}")
    fitted = {}
    for parameter in api.parameters:
        if parameter.name in given:
            fitted[parameter.name] = _fit(api, parameter, given[parameter.name])
        elif parameter.required:
            raise ApiError(f"{api.name} needs {parameter.name!r}, {parameter.expected}: {parameter.text}")
    return fitted


def _fit(api: Api, parameter: Parameter, value: object) -> object:
    if not Draft202012Validator(parameter.schema).is_valid(value):
        raise ApiError(f"{api.name}: {parameter.name} must be {parameter.expected}, not {_said(value)}")
    kinds = parameter.annotation.split(" | ")
    if isinstance(value, float) and "float" not in kinds:
        return int(value)  # 3.0 is a whole number in JSON Schema
    if isinstance(value, int) and not isinstance(value, bool) and "int" not in kinds:
        return float(value)
    return value


def _said(value: object) -> str:
    """A value in the words of a message, shortened."""
    if value is None:
        return "null (None)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    if isinstance(value, int | float):
        return f"the number {value}" if isinstance(value, float) or value.bit_length() <= 64 else "a huge number"
    return {list: "a list", dict: "an object"}.get(type(value), f"a {type(value).__name__}")


# --- Plain data -------------------------------------------------------------------------------------------------------


def plain(value: object, max_chars: int) -> object:
    """A copy of a value as plain JSON data: tuples and sets become lists, dates and times ISO 8601 text.

    Raises ValueError, in words for a language model, for what JSON can't hold, for more than MAX_DEPTH levels, and for
    more than about ``max_chars`` characters of JSON. Stops as soon as that is certain, so that the few objects of a
    list that holds a list ten times, which holds a list ten times, and so on, cost no more than others.
    """
    return _Copier(max_chars).copy(value, 0)


class _Copier:
    def __init__(self, max_chars: int) -> None:
        self._max_chars = self._left = max_chars

    def copy(self, value: object, depth: int) -> object:
        self._spend(2)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            if value.bit_length() > 64:
                raise ValueError("it has a whole number of more than 64 bits")
            self._spend(len(repr(value)))
            return int(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"it has {value}, which JSON can't hold; use None")
            self._spend(len(repr(value)))
            return float(value)
        if isinstance(value, date | time):  # datetime is a date
            return self._text(value.isoformat())
        if depth == MAX_DEPTH:
            raise ValueError(f"it nests objects and lists more than {MAX_DEPTH} levels deep")
        if isinstance(value, set | frozenset):
            return [self.copy(one, depth + 1) for one in _in_order(value)]
        if isinstance(value, list | tuple):
            return [self.copy(one, depth + 1) for one in value]
        if isinstance(value, dict):
            return {self._key(key): self.copy(one, depth + 1) for key, one in value.items()}
        raise ValueError(f"it has a {type(value).__name__}, no plain data; use texts, numbers, lists and dicts")

    def _text(self, text: str) -> str:
        self._spend(len(text))
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("it has half a surrogate pair, which is no character") from None
        return str(text)

    def _key(self, key: object) -> str:
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ValueError(f"a dict has a {type(key).__name__} as key; keys must be text")
        self._spend(4)
        return self.copy(key, 0) if isinstance(key, str) else str(self.copy(key, 0))

    def _spend(self, chars: int) -> None:
        self._left -= chars
        if self._left < 0:
            raise ValueError(f"it is larger than {self._max_chars} characters as JSON")


def _in_order(values: set | frozenset) -> Iterable[object]:
    """Sorted where all are texts or all are numbers; to compare or print anything else could take for ever."""
    if all(isinstance(one, str) for one in values) or all(isinstance(one, int | float) for one in values):
        return sorted(values)
    return values


# --- Files ------------------------------------------------------------------------------------------------------------


def load_apis(extra: Path | None = None) -> dict[str, Api]:
    """The APIs of ``agents/apis`` and of the files ``*.py`` in the directory ``extra``, by name, in order of the names.

    Files whose names begin with "_" are no APIs. Raises ApiFileError, naming each file and all that is wrong with it,
    and for ``extra`` that is no directory. The code of an operator's file runs in this process, with its rights.
    """
    if extra is not None and not extra.is_dir():
        raise ApiFileError(f"{extra}: no such directory; it must hold one file per API, such as parking_fees.py")
    own = {path.stem: path for path in _files(_bundled_directory())}
    problems, found = [], {}
    for path in [*own.values(), *(_files(extra) if extra is not None else ())]:
        api, wrong = _read(path, own)
        problems += wrong
        if api is not None:
            found[api.name] = api
    if problems:
        raise ApiFileError("\n".join(problems))
    return found


def check_api_file(path: Path) -> list[str]:
    """All that is wrong with an API file, one sentence each; empty when it can be used.

    The file is imported, and so its code run, only if nothing is wrong with its text.
    """
    return _read(Path(path), {file.stem: file for file in _files(_bundled_directory())})[1]


def api_of(method: Callable[..., object]) -> Api:
    """The API of a method, plain or a coroutine function, from its signature and docstring; callers don't see ``self``.
    Raises ApiFileError with all that is wrong with it."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(method))).body
    reader = _CardReader("self")
    card = reader.card(node)
    if reader.problems:
        raise ApiFileError("\n".join(f"{method.__qualname__}: {problem}" for problem in reader.problems))
    return replace(card, function=method)


def _bundled_directory() -> Path:
    return Path(bundled.__file__).parent


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*.py") if not path.name.startswith("_"))


def _read(path: Path, own: Mapping[str, Path]) -> tuple[Api | None, list[str]]:
    """The API of a file, or what is wrong with it. ``own`` are the bundled files by name, whose names are taken."""
    reader = _Reader(path, own)
    api = reader.read()
    return (None if reader.problems else api), [f"{path}: {problem}" for problem in reader.problems]


class _CardReader:
    """Reads the card of a function whose first parameter is ``first``; collects what is wrong in ``problems``."""

    def __init__(self, first: str) -> None:
        self.first, self.problems = first, []

    def card(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Api:
        """The card, whose function is still missing; to be used only if there are no ``problems``."""
        sections = _sections(ast.get_docstring(node) or "")
        self._check_docstring(node, sections)
        card = Api(
            name=node.name,
            description=sections["description"],
            parameters=self._parameters(node, sections["Args"]),
            result=self._annotation(node.returns, f"the result of {node.name}"),
            returns=sections["Returns"],
            example=sections["Example"],
            function=_not_imported,
        )
        if not self.problems:
            self._check_example(card)
        return card

    def _parameters(self, node: ast.FunctionDef | ast.AsyncFunctionDef, texts: dict) -> tuple[Parameter, ...]:
        arguments, named = node.args, []
        if arguments.vararg or arguments.kwarg:
            self.problems.append(f"{node.name} has *args or **kwargs; every parameter must have a name.")
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
        pairs = list(zip(positional, defaults, strict=True))
        pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        first = positional[0] if positional else None
        if first is None or ast.unparse(first).replace("'", "") != self.first:
            self.problems.append(f"the first parameter of {node.name} must be {self.first}.")
        if arguments.posonlyargs or arguments.kwonlyargs:
            self.problems.append(f"{node.name} has '/' or '*' among its parameters; all are given by place or by name.")
        for argument, default in pairs:
            if argument is first and argument.arg == self.first.partition(":")[0]:
                continue
            name = argument.arg
            if name.startswith("_"):
                self.problems.append(f"the parameter {name} begins with an underscore; public names don't.")
            kinds = self._annotation(argument.annotation, f"the parameter {name}")
            if not texts.get(name):
                self.problems.append(f"the parameter {name} is not documented; add a line '{name}: ...' to Args.")
            named.append(self._parameter(name, kinds, texts.get(name, ""), default))
        for name in texts.keys() - {parameter.name for parameter in named}:
            self.problems.append(f"Args documents {name}, but there is no such parameter.")
        return tuple(named)

    def _parameter(self, name: str, kinds: str, text: str, default: ast.expr | None) -> Parameter:
        if default is None:
            return Parameter(name, kinds, text, True)
        try:
            value = plain(ast.literal_eval(default), MAX_ARGUMENT_CHARS)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            self.problems.append(f"the default of {name} is no plain value such as 10, 'text' or None.")
            return Parameter(name, kinds, text, False)
        parameter = Parameter(name, kinds, text, False, value)
        if kinds and not Draft202012Validator(parameter.schema).is_valid(value):
            self.problems.append(f"the default of {name}, {value!r}, is not {parameter.expected}.")
        return parameter

    def _annotation(self, annotation: ast.expr | None, of: str) -> str:
        """An annotation in its normal form; empty, and told, when it is none of the supported ones."""
        if annotation is None:
            self.problems.append(f"{of} has no annotation; {_ONLY}.")
            return ""
        parts = [part.strip() for part in ast.unparse(annotation).strip("'\"").split("|")]
        if not all(part in _KINDS for part in parts) or len(set(parts)) < len(parts) or parts == ["None"]:
            self.problems.append(f"the annotation {ast.unparse(annotation)[:100]} of {of} is not supported; {_ONLY}.")
            return ""
        return " | ".join(parts)

    def _check_docstring(self, node: ast.FunctionDef | ast.AsyncFunctionDef, sections: dict) -> None:
        if not ast.get_docstring(node):
            self.problems.append(f"{node.name} has no docstring; it is the card that agents read.")
            return
        if not sections["summary"]:
            self.problems.append("the docstring has no summary; its first line must say what the function does.")
        if not sections["Returns"]:
            self.problems.append("the docstring has no 'Returns:' that says what comes back.")
        if not sections["Example"]:
            self.problems.append(f"the docstring has no 'Example:' with a call of {node.name}.")

    def _check_example(self, card: Api) -> None:
        """The example must be one call that fits the card, with plain values."""
        wrong = f"the example must be one call of {card.name} with plain values"
        try:
            node = ast.parse(card.example, mode="eval").body
            if not isinstance(node, ast.Call) or _source(node.func) != card.name:
                raise ValueError("no call of it")
            args = [ast.literal_eval(argument) for argument in node.args]
            named = {str(pair.arg): ast.literal_eval(pair.value) for pair in node.keywords}
            _fitted(card, plain(card.bind(args, named), MAX_ARGUMENT_CHARS))
        except ApiError as error:
            self.problems.append(f"the example does not fit: {error}.")
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            self.problems.append(f"{wrong}, not {card.example[:60]!r}.")


class _Reader(_CardReader):
    """Reads one API file."""

    def __init__(self, path: Path, own: Mapping[str, Path]) -> None:
        super().__init__("context: Context")
        self.path = path
        self._bundled = own.get(path.stem) is not None and own[path.stem].resolve() == path.resolve()
        self._taken = own.keys() if not self._bundled else ()

    def read(self) -> Api | None:
        self._check_name(self.path.stem)
        try:
            tree = ast.parse(self.path.read_text("utf-8"), str(self.path))
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"it can't be read: {error}.")
            return None
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            self.problems.append(f"it is not Python{line}: {getattr(error, 'msg', error)}.")
            return None
        functions = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        ]
        if len(functions) != 1:
            names = f" ({', '.join(node.name for node in functions)})" if functions else ""
            self.problems.append(
                f"it has {len(functions)} public functions{names}; there must be exactly one, and the names of helpers "
                "begin with an underscore."
            )
            return None
        (node,) = functions
        if node.name != self.path.stem:
            self.problems.append(f"its function is {node.name}; it must be called as the file, {self.path.stem}.")
        if isinstance(node, ast.AsyncFunctionDef):
            self.problems.append(f"{node.name} is an async def; it must be a plain def.")
        if node.decorator_list:
            self.problems.append(f"{node.name} has a decorator, which may change how it is called; remove it.")
        card = self.card(node)
        function = None if self.problems else self._import(node.name)
        return None if function is None else replace(card, function=function)

    def _check_name(self, name: str) -> None:
        if not name.isidentifier() or keyword.iskeyword(name):
            self.problems.append(f"{name!r} is no Python name; call the file as a function, such as parking_fees.py.")
        elif name.startswith("_"):
            self.problems.append(f"{name} begins with an underscore; public names don't.")
        elif name in self._taken:
            self.problems.append(f"the name {name} is taken by a bundled API; choose another.")
        elif hasattr(builtins, name) or name in RESERVED:
            self.problems.append(f"the name {name} has a meaning of its own in Python or in cards; choose another.")

    def _import(self, name: str) -> Callable[..., object] | None:
        try:
            if self._bundled:
                return getattr(importlib.import_module(f"{bundled.__name__}.{name}"), name)
            spec = importlib.util.spec_from_file_location(f"links_extra_apis.{name}", self.path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses and the like look their module up
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[spec.name]
                raise
            function = getattr(module, name)
            if not inspect.isfunction(function):
                raise TypeError(f"{name} is no function any more when the file has run")
            return function
        except (Exception, SystemExit) as error:  # whatever an operator's file does
            self.problems.append(f"importing it fails: {type(error).__name__}: {error}.")
            return None


def _source(node: ast.AST) -> str:
    return ast.unparse(node.annotation if isinstance(node, ast.arg) else node).strip("'\"")


def _not_imported(context: Context) -> None:
    raise NotImplementedError("the file has not been imported")


_SECTION = re.compile(r"(Args|Returns|Example):\s*")
_ARGUMENT = re.compile(r" {4}(\w+): *(.*)")


def _sections(docstring: str) -> dict:
    """The parts of a docstring: "summary" (its first line), "description" (all before the first section), "Args" (texts
    by parameter), "Returns" and "Example", empty where they are absent. All but the example is joined to one line."""
    lines: dict[str, list[str]] = {"description": [], "Args": [], "Returns": [], "Example": []}
    part = "description"
    for line in inspect.cleandoc(docstring).splitlines():
        section = _SECTION.fullmatch(line)
        if section:
            part = section[1]
        else:
            lines[part].append(line)
    args: dict[str, str] = {}
    name = None
    for line in lines["Args"]:
        argument = _ARGUMENT.fullmatch(line)
        if argument:
            name = argument[1]
            args[name] = argument[2].strip()
        elif name is not None:
            args[name] = f"{args[name]} {line.strip()}".strip()
    return {
        "summary": lines["description"][0].strip() if lines["description"] else "",
        "description": " ".join(" ".join(lines["description"]).split()),
        "Args": args,
        "Returns": " ".join(" ".join(lines["Returns"]).split()),
        "Example": inspect.cleandoc("\n".join(lines["Example"])).strip(),
    }
