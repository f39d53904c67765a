"""An OpenAI-compatible endpoint that behaves as a test tells it to: real sockets, no model."""

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[[asyncio.StreamWriter, dict], object]  # (connection, request) -> a coroutine


@dataclass
class FakeEndpoint:
    """``answers`` are used one after the other, the last one again and again; ``requests`` are the bodies that came."""

    answers: list[Answer]
    base_url: str = ""
    requests: list[dict] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-le")
            )
            self.heads.append(head)
            self.requests.append(json.loads(await reader.readexactly(length)))
            number = min(len(self.requests), len(self.answers)) - 1
            await self.answers[number](writer, self.requests[-1])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def endpoint(*answers: Answer):
    """A FakeEndpoint on a free port."""
    fake = FakeEndpoint(list(answers))
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield fake
    finally:
        server.close()


def http(status: int, body: object, kind: str = "application/json", **headers: str) -> Answer:
    """An answer with this body; headers' underscores are dashes."""

    async def answer(writer: asyncio.StreamWriter, request: dict) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(text.encode())}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join([*lines, "Connection: close", "", ""]) + text).encode())
        await writer.drain()

    return answer


def chat(message: dict, finish: str = "stop") -> Answer:
    """A chat completion with this message of the assistant."""
    choice = {"index": 0, "message": {"role": "assistant", "content": None} | message, "finish_reason": finish}
    usage = {"prompt_tokens": 40, "completion_tokens": 8, "total_tokens": 48}
    document = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": "fake", "usage": usage}
    return http(200, document | {"choices": [choice]})


def says(text: str) -> Answer:
    return chat({"content": text})


def calls(name: str, arguments: object) -> Answer:
    """The model calls a function; ``arguments``: an object, or text as it comes."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call = {"id": f"call-{name}", "type": "function", "function": {"name": name, "arguments": text}}
    return chat({"tool_calls": [call]}, "tool_calls")


def silent(seconds: float) -> Answer:
    async def answer(writer: asyncio.StreamWriter, request: dict) -> None:
        await asyncio.sleep(seconds)

    return answer


def cut_off() -> Answer:
    """Half an answer, then the connection ends."""

    async def answer(writer: asyncio.StreamWriter, request: dict) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
        writer.write(f'{head}{{"id": "chat-1", "choices": [{{"mess'.encode())
        await writer.drain()

    return answer


def by_role(**answers: list[Answer]) -> Answer:
    """Answers by the agent that is asked, in order, the last one again and again; "reviewer=[...]" and so on."""
    asked: dict[str, int] = {}

    async def answer(writer: asyncio.StreamWriter, request: dict) -> None:
        said = json.dumps(request["messages"])
        role = next(name for name in answers if f"You are the {name.title()}" in said)
        number = asked.get(role, 0)
        asked[role] = number + 1
        await answers[role][min(number, len(answers[role]) - 1)](writer, request)

    return answer
