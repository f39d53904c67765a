"""Data API Card: words of time."""

from agents.apis import Context, short_text
from agents.plan import MAX_QUESTION_CHARS
from agents.times import HISTORY_DAYS, read_time

_NOTES = {
    "past": "the time that the words name, up to now",
    "forecast": f"the words name a time ahead; a forecast of it rests on the last {HISTORY_DAYS} days",
    "default": f"no time was found in the words, so the last {HISTORY_DAYS} days are taken",
}


def resolve_time(context: Context, words: str) -> dict:
    """Resolve words of time, in English or Italian, to an absolute window of data that ends now at the latest.

    Args:
        words: words of time or a whole question, such as "yesterday evening", "last week", "tomorrow"; at most 2000
            characters.

    Returns:
        {"start", "end": half-open window, ISO 8601 with offset, "kind": "past", "forecast" or "default", "words": those
        that were understood, "note": what the kind means}

    Example:
        resolve_time("yesterday evening")
    """
    window = read_time(short_text("words", words, MAX_QUESTION_CHARS), context.local_now)
    return {
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "kind": window.kind,
        "words": window.words,
        "note": _NOTES[window.kind],
    }
