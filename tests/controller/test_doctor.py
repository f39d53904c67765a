"""What doctor says of the language model and the embedding; its other findings are in test_cli.py."""

import asyncio
from dataclasses import replace

import pytest
from fake_llm import http

from controller.config import AgentsConfig, Config
from controller.doctor import examine

MODELS = {"object": "list", "data": [{"id": "qwen"}, {"id": "other"}]}


async def language_model(answer=None, **settings):
    """Doctor's finding with an endpoint that answers GET /v1/models."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await answer(writer, {})
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1" if answer else ""
        config = replace(Config(), agents=AgentsConfig(base_url=base_url, **settings))
        findings = await asyncio.to_thread(examine, config)
    return next(finding for finding in findings if finding.subject == "language model")


@pytest.mark.parametrize(
    ("answer", "settings", "good", "advice"),
    [
        (None, {}, False, "OPENAI_API_KEY, names an endpoint"),
        (http(200, MODELS), {}, True, 'planner = "llm" makes use of it'),
        (http(200, MODELS), {"planner": "llm", "model": "qwen"}, True, ""),
        (http(200, MODELS), {"planner": "llm", "model": "gpt-4o"}, False, "it has no model gpt-4o"),
        (http(401, {"error": "no"}), {"planner": "llm"}, False, "check the endpoint and key"),
        (http(200, "<html>", "text/html"), {"planner": "llm"}, False, "check the endpoint and key"),
    ],
)
async def test_the_language_model(answer, settings, good, advice):
    finding = await language_model(answer, **settings)
    assert finding.good is good and not finding.needed
    assert advice in finding.advice


def test_a_missing_embedding(monkeypatch):
    monkeypatch.setattr("controller.doctor.model_files", lambda: None)
    finding = next(one for one in examine(Config()) if one.subject == "sentence embedding")
    assert not finding.good and not finding.needed and "links-6g-twin[embedding]" in finding.advice
