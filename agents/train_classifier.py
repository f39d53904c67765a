"""Learns the weights of ``agents.classifier`` from the questions in ``agents/examples`` and those of the tests.

    python -m agents.train_classifier            # leave one writer out, then learn from all and write classifier.npz
    python -m agents.train_classifier --check    # only say how well it carries over to questions by somebody else

Logistic regression with quadratic penalties, solved by L-BFGS from zero: the same examples give the same weights. Types
that may help but need not be there (``optional``) are left out of the loss. What each writer's questions get from the
weights learnt from the others' makes the probabilities calibrated. Weights with vectors need the embedding's package.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array

from agents.areas import read_places
from agents.classifier import OVERALL, SIGNS, SLOTS, WORD_SCALE, Classifier, Features, features
from agents.embedding import embedding
from agents.knowledge import Reading, knowledge
from agents.offline import judged
from evaluation.planning import Query, abstention_score, f1_score, read_queries
from twin.scenario import Scenario, load_scenario
from twin.sensor_types import bundled_types

EXAMPLES = Path(__file__).with_name("examples")
_TESTS = Path(__file__).parents[1] / "tests" / "agents"
ALSO = _TESTS / "questions.yaml"  # learnt from too, but never left out: the word lists were made with it
# Never learnt from.
UNSEEN = {
    "held out": _TESTS / "held_out_questions.yaml",
    "dev.yaml": Path(__file__).parents[1] / "evaluation" / "queries" / "dev.yaml",
    "paper.yaml": Path(__file__).parents[1] / "evaluation" / "queries" / "paper.yaml",
}
WEIGHTS = Path(__file__).with_name("classifier.npz")
# Quadratic penalties of the weights of signs, of what is seen of a question as a whole, of words and of the bias.
PENALTY = {"signs": 0.1, "overall": 0.05, "words": 1.0, "bias": 0.01, "vector": 1.0}
PENALTY_VECTOR_ANSWERABLE, PENALTY_WORDS_ANSWERABLE = 0.12, 1.0
STEPS = 400  # of the solver, at most


@dataclass(frozen=True)
class Examples:
    """Questions of one writer, as arrays over (questions) or (questions, types). ``needed`` and ``judged`` are 0 or 1:
    judged are the types that are not optional; ``answerable`` is 0 or 1."""

    queries: tuple[Query, ...]
    readings: tuple[Reading, ...]
    seen: tuple[Features, ...]
    needed: np.ndarray
    judged: np.ndarray
    answerable: np.ndarray


def read_examples(path: Path, with_vectors: bool) -> Examples:
    """The questions of a file. Raises QueryFileError, OSError."""
    queries = tuple(read_queries(path)[1])
    readings = tuple(knowledge().read(query.q) for query in queries)
    types = list(bundled_types())
    return Examples(
        queries,
        readings,
        tuple(features(reading, with_vectors) for reading in readings),
        np.array([[type_id in query.required for type_id in types] for query in queries], np.float64),
        np.array([[type_id not in query.optional for type_id in types] for query in queries], np.float64),
        np.array([query.answerable for query in queries], np.float64),
    )


def fingerprint() -> str:
    """What the weights are learnt from: a hash of the examples."""
    digest = hashlib.sha256()
    for path in (*sorted(EXAMPLES.glob("*.yaml")), ALSO):
        digest.update(path.name.encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()


def learn(parts: Sequence[Examples]) -> dict[str, np.ndarray]:
    """The weights of ``Classifier``, not yet calibrated."""
    seen = [one for part in parts for one in part.seen]
    signs, overall, words = np.array([one.signs for one in seen]), np.array([one.overall for one in seen]), _words(seen)
    vectors = _vectors(seen)
    middle = vectors.mean(axis=0)
    vectors = vectors - middle
    needed, judged = (np.concatenate([getattr(part, key) for part in parts]) for key in ("needed", "judged"))
    answerable = np.concatenate([part.answerable for part in parts])
    target, counts = np.column_stack([needed, answerable]), np.column_stack([judged, np.ones(len(seen))])
    columns = target.shape[1]
    shapes = {
        "signs": (len(SIGNS),),
        "overall": (2, len(OVERALL)),
        "bias": (columns,),
        "words": (SLOTS, columns),
        "vector": (vectors.shape[1], columns),
    }
    penalty = {name: np.full(shape, PENALTY[name]) for name, shape in shapes.items()}
    penalty["vector"][:, -1] = PENALTY_VECTOR_ANSWERABLE
    penalty["words"][:, -1] = PENALTY_WORDS_ANSWERABLE
    # In units in which all penalties are alike, so that few steps lead to the minimum.
    unit = np.concatenate([of.ravel() for of in penalty.values()]) ** -0.5

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        now = _parts(flat * unit, shapes)
        z = words @ now["words"] + vectors @ now["vector"] + now["bias"]
        z[:, :-1] += signs @ now["signs"] + (overall @ now["overall"][0])[:, None]
        z[:, -1] += overall @ now["overall"][1]
        error = counts * (1 / (1 + np.exp(-z)) - target)
        of_types = error[:, :-1]
        slope = {
            "signs": np.tensordot(of_types, signs, 2),
            "overall": np.array([overall.T @ of_types.sum(axis=1), overall.T @ error[:, -1]]),
            "bias": error.sum(axis=0),
            "words": words.T @ error,
            "vector": vectors.T @ error,
        }
        value = (counts * (np.logaddexp(0, z) - target * z)).sum() + flat @ flat / 2
        return value, np.concatenate([slope[name].ravel() for name in shapes]) * unit + flat

    flat = minimize(loss, np.zeros(len(unit)), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    return _parts(flat * unit, shapes) | {"middle": middle, "scale": np.array([[1.0, 0.0], [1.0, 0.0]])}


def _parts(flat: np.ndarray, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    cut = np.split(flat, np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), cut, strict=True)}


def _words(seen: Sequence[Features]) -> csr_array:
    """(questions, SLOTS)"""
    ends = np.cumsum([0] + [len(one.slots) for one in seen])
    values = np.concatenate([np.full(len(one.slots), WORD_SCALE / max(len(one.slots), 1) ** 0.5) for one in seen])
    return csr_array((values, np.concatenate([one.slots for one in seen]), ends), shape=(len(seen), SLOTS))


def _vectors(seen: Sequence[Features]) -> np.ndarray:
    """(questions, SIZE), or (questions, 0) without vectors."""
    return np.array([() if one.vector is None else one.vector for one in seen], np.float64)


def log_odds(weights: dict[str, np.ndarray], part: Examples) -> np.ndarray:
    """(questions, types + 1), not calibrated."""
    vectors = _vectors(part.seen)
    z = _words(part.seen) @ weights["words"] + weights["bias"] + (vectors - weights["middle"]) @ weights["vector"]
    overall = np.array([one.overall for one in part.seen])
    z[:, :-1] += (
        np.array([one.signs for one in part.seen]) @ weights["signs"] + (overall @ weights["overall"][0])[:, None]
    )
    z[:, -1] += overall @ weights["overall"][1]
    return z


def calibration(z: np.ndarray, true: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Factor and offset of log odds ``z`` that make them fit what is ``true`` (0 or 1) best, where ``counts`` is 1."""

    def loss(scale: np.ndarray) -> float:
        scaled = scale[0] * z + scale[1]
        return float((counts * (np.logaddexp(0, scaled) - true * scaled)).sum())

    return minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B").x


def leave_one_out(parts: dict[str, Examples], also: Examples) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    """Of each writer, the weights learnt from the others, and the calibration that all these together give."""
    folds = {name: learn([*(parts[k] for k in parts if k != name), also]) for name in parts}
    z = np.concatenate([log_odds(folds[name], part) for name, part in parts.items()])
    needed, judged_, answerable = (
        np.concatenate([getattr(part, key) for part in parts.values()]) for key in ("needed", "judged", "answerable")
    )
    scale = [calibration(z[:, :-1], needed, judged_), calibration(z[:, -1], answerable, np.ones(len(z)))]
    return folds, np.array(scale)


def scores(part: Examples, by: Classifier | None, city: Scenario) -> tuple[float, float]:
    """F1 and abstention, of the words alone where ``by`` is None; NaN where no question counts."""
    f1, abstention = [], []
    for query, reading in zip(part.queries, part.readings, strict=True):
        chosen = {one.type for one in (judged(reading, by)[0] if by else reading).evidence}
        chosen = set() if read_places(reading.asked, city).outside else chosen
        if query.answerable:
            f1.append(f1_score(chosen, query.required, query.optional))
        else:
            abstention.append(abstention_score(chosen))
    return tuple(float(np.mean(values)) if values else np.nan for values in (f1, abstention))


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m agents.train_classifier", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(argv)
    city, stored, columns = load_scenario("milan"), {"fingerprint": np.array(fingerprint())}, {}
    for kind, with_vectors in {"plain": False, "vectors": True}.items():
        if with_vectors and embedding() is None:
            print("the embedding is not installed, so nothing is learnt with vectors", file=sys.stderr)
            if not options.check:
                return 1
            continue
        parts = {path.stem: read_examples(path, with_vectors) for path in sorted(EXAMPLES.glob("*.yaml"))}
        unseen = {name: read_examples(path, with_vectors) for name, path in UNSEEN.items()}
        also = read_examples(ALSO, with_vectors)
        folds, scale = leave_one_out(parts, also)
        weights = learn([*parts.values(), also]) | {"scale": scale}
        column = columns[kind] = {
            name: scores(part, Classifier(folds[name] | {"scale": scale}), city) for name, part in parts.items()
        }
        column["mean of these"] = tuple(np.mean(list(column.values()), axis=0))
        column |= {name: scores(part, Classifier(weights), city) for name, part in unseen.items()}
        if "words alone" not in columns:
            columns = {
                "words alone": {name: scores(part, None, city) for name, part in (parts | unseen).items()}
            } | columns
            of_parts = [columns["words alone"][name] for name in parts]
            columns["words alone"]["mean of these"] = tuple(np.mean(of_parts, axis=0))
        stored |= {f"{kind}.{name}": value for name, value in _compressed(weights).items()}
    print(_table(columns))
    if not options.check:
        np.savez_compressed(WEIGHTS, **stored)
        print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size / 1e3:.0f} kB")
    return 0


def _compressed(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights of words as whole numbers of steps, one step per column; all others in single precision."""
    step = np.abs(weights["words"]).max(axis=0) / 127
    words = np.rint(weights["words"] / step).astype(np.int8)
    return {k: v.astype(np.float32) for k, v in weights.items()} | {"words": words, "step": step.astype(np.float32)}


def _table(columns: dict[str, dict[str, tuple[float, float]]]) -> str:
    lines = [f"{'F1 / abstention':16}" + "".join(f"{kind:>16}" for kind in columns)]
    for name in columns["plain"]:
        cells = (columns[kind][name] for kind in columns)
        lines.append(f"{name:16}" + "".join(f"{f'{f1:.3f} / {abstention:.2f}':>16}" for f1, abstention in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
