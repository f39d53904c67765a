"""What holds for all tests: no requests to language models but on this machine's loopback, and where the real data are,
which are never part of the repository."""

import os
from pathlib import Path

import pytest

MODEL_VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL")


@pytest.fixture(autouse=True)
def no_model_requests(request, monkeypatch):
    """Requests to language models are forbidden, and no key or endpoint of the user's own is seen, not even by child
    processes. Tests marked ``loopback_model`` may ask endpoints on 127.0.0.1, ``live_model`` whatever is named to them.
    """
    from openai import AsyncOpenAI
    from pydantic_ai import models

    if request.node.get_closest_marker("live_model"):
        return
    for name in MODEL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    loopback = request.node.get_closest_marker("loopback_model") is not None
    monkeypatch.setattr(models, "ALLOW_MODEL_REQUESTS", loopback)
    send = AsyncOpenAI.request

    async def checked(client, *arguments, **named):
        if client.base_url.host != "127.0.0.1":
            raise RuntimeError(f"a test asked a language model at {client.base_url}")
        return await send(client, *arguments, **named)

    monkeypatch.setattr(AsyncOpenAI, "request", checked)


@pytest.fixture(scope="session")
def real_data():
    """A function: path of a real data file by its name below the data folder; skips the test where it is absent."""
    folder = Path(os.environ.get("LINKS_DATA") or Path(__file__).parents[1].parent / "shared" / "data")

    def path(name: str) -> Path:
        if not (folder / name).is_file():
            pytest.skip(f"REAL DATA MISSING: {folder / name} (set LINKS_DATA to the folder that holds it)")
        return folder / name

    return path
