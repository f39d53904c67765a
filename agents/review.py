"""The Reviewer's first look, which needs no model.

A draft is checked against the registry, the question's own words, the window, the size and the offline planner's
opinion; the result of a program against the draft that it was written for.

A finding says what is wrong and what would be right, in words for the Planner or the Coder.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agents.apis import ApiError, Context, read_area, read_window
from agents.areas import Places, read_places
from agents.assemble import Assembled, Wanted, assemble, planned_bytes
from agents.offline import Opinion
from agents.plan import Area, PlanItem
from agents.roles import Draft, Need
from agents.times import Window, read_time
from twin.words import fold


class SecondOpinion(StrEnum):
    """What the offline planner's opinion of the types counts for. BINDING: types that it is sure of are in, those for
    which nothing speaks are out, and the models decide on those between: the Planner may add one, and one that the
    offline planner chose goes only where Planner and Reviewer both leave it out. ADVISORY: the model is told once where
    it differs, and then decides."""

    BINDING = "binding"
    ADVISORY = "advisory"


# From how likely the offline planner finds a type, and up to how likely, a draft is held to its choice. Between the two
# the model decides.
SURE, UNLIKELY = 0.6, 0.35


@dataclass(frozen=True)
class Finding:
    """Something wrong. ``kind``: "missing" or "unneeded" (of ``type``), "answerable", "time", "place", "registry",
    "bytes", "why" or "program". ``advice`` findings are told once and then left to the model."""

    kind: str
    text: str
    type: str = ""
    advice: bool = False

    @property
    def settled(self) -> bool:
        """Whether it leaves nothing to decide, so that the review can put it right by itself."""
        return not self.advice and self.kind in ("answerable", "missing", "unneeded", "registry")


@dataclass(frozen=True)
class Reviewed:
    """A draft's plan as far as it can be made, and what is wrong with it."""

    wanted: tuple[Wanted, ...]
    made: Assembled
    findings: tuple[Finding, ...]

    @property
    def areas(self) -> tuple[Area, ...]:
        return tuple(dict.fromkeys(area for one in self.wanted for area in one.areas))


def review(
    draft: Draft,
    opinion: Opinion,
    context: Context,
    second: SecondOpinion,
    most_bytes: float,
    released: Container[str] = (),
) -> Reviewed:
    """Check a draft for the question of ``opinion``. ``most_bytes``: of readings, before a plan is too large;
    ``released``: types that the Reviewer's model has called unneeded, which a draft may leave out."""
    findings = [*_types(draft, opinion, second, released)]
    wanted = []
    for need in {need.type: need for need in draft.needs}.values() if draft.answerable else ():
        areas, wrong_place = _areas(need.place, opinion, context)
        window, wrong_time = _window(need.time, opinion, context)
        findings += [
            Finding(kind, text, need.type) for kind, text in (("place", wrong_place), ("time", wrong_time)) if text
        ]
        if not need.why.strip():
            findings.append(Finding("why", f"{need.type}: say in a few words why it is needed", need.type))
        wanted.append(Wanted(need.type, need.why.strip() or "the question needs it", areas, window))
    made = assemble(wanted, context.scenario)
    findings += [
        Finding("registry", f"no {type_id} sensor is registered; leave it out", type_id) for type_id in made.missing
    ]
    size = sum(planned_bytes(made.items, made.sensors, context.scenario).values())
    if size > most_bytes:
        text = f"it would take {size / 1e9:.1f} GB, and at most {most_bytes / 1e9:.1f} GB may be planned; "
        findings.append(Finding("bytes", text + "choose fewer types, a smaller place or a shorter time"))
    return Reviewed(tuple(wanted), made, tuple(dict.fromkeys(findings)))


def repaired(draft: Draft, findings: Iterable[Finding], opinion: Opinion) -> Draft:
    """The draft with the findings put right as far as the offline planner's opinion can: types added and taken out,
    places and times as it reads them."""
    findings = list(findings)
    if any(finding.kind == "answerable" for finding in findings):
        return draft_of(opinion)
    out = {finding.type for finding in findings if finding.kind in ("unneeded", "registry")}
    reread = {(finding.kind, finding.type) for finding in findings if finding.kind in ("place", "time")}
    needs = [
        need.model_copy(
            update={key: "" for key in ("place", "time") if (key, need.type) in reread}
            | ({} if need.why.strip() else {"why": "the question needs it"})
        )
        for need in draft.needs
        if need.type not in out
    ]
    added = {finding.type for finding in findings if finding.kind == "missing"} - {need.type for need in needs}
    needs += [need for need in draft_of(opinion).needs if need.type in added]
    if not needs:
        return draft_of(opinion)
    return draft.model_copy(update={"needs": needs, "answerable": True})


def draft_of(opinion: Opinion) -> Draft:
    """The offline planner's plan in the form of a draft; places and times are left to the question's own words."""
    evidence = opinion.reading.evidence if opinion.plan.answerable else ()
    return Draft.model_construct(
        thought=opinion.plan.reason,
        answerable=opinion.plan.answerable,
        needs=[Need.model_construct(type=one.type, why=one.why[:240], place="", time="") for one in evidence],
        compute="nothing",
    )


def read_result(
    value: object, draft: Draft, reviewed: Reviewed, context: Context
) -> tuple[list[PlanItem], list[Finding]]:
    """The items that a program gave back, and what is wrong with them. Where the draft has nothing to compute they must
    be those of its own places and times."""
    if not isinstance(value, list) or not value:
        row = '{"type": "humidity", "area": None, "start": when["start"], "end": when["end"]}'
        return [], [Finding("program", f"result must be a list with at least one dict such as {row}")]
    why = {need.type: need.why for need in draft.needs}
    items, findings = [], []
    for i, row in enumerate(value[:200]):
        try:
            items.append(_item(row, why, context))
        except ApiError as error:
            findings.append(Finding("program", f"result[{i}]: {error}"))
    have, want = {item.type for item in items}, set(why)
    for type_id in sorted(want - have) if not findings else ():
        findings.append(Finding("program", f"the draft needs {type_id}, and the result has none"))
    if not findings and draft.compute == "nothing":
        findings += _unlike(items, reviewed.wanted)
    return items, findings


def _item(row: object, why: Mapping[str, str], context: Context) -> PlanItem:
    if not isinstance(row, dict) or not row.keys() >= {"type", "start", "end"}:
        raise ApiError("it must be a dict with type, area, start and end")
    if row["type"] not in why:
        raise ApiError(f"type {str(row['type'])[:60]!r} is not in the draft, which has {', '.join(why)}")
    area = row.get("area")
    if area is not None and not isinstance(area, dict):
        raise ApiError(f'area {str(area)[:60]!r} must be what geocode(place)["area"] gives, or None for the whole city')
    if not all(isinstance(row[key], str) for key in ("start", "end")):
        raise ApiError("start and end must be ISO 8601 texts, as resolve_time(words) gives them")
    start_s, end_s = read_window(context, row["start"], row["end"])
    zone = context.scenario.zone
    start, end = (type(context.now).fromtimestamp(seconds, zone) for seconds in (start_s, end_s))
    return PlanItem(row["type"], read_area(context, area), start, end, why[row["type"]])


def _unlike(items: Sequence[PlanItem], wanted: Iterable[Wanted]) -> list[Finding]:
    """Where the items of a program differ from the draft's own words."""
    have = {(item.type, item.area.name, int(item.start.timestamp()), int(item.end.timestamp())) for item in items}
    findings = []
    for one in wanted:
        for area in one.areas:
            row = (one.type, area.name, int(one.window.start.timestamp()), int(one.window.end.timestamp()))
            if row not in have:
                text = f"{one.type}: the draft's words mean {area.name}, {one.window.start.isoformat()} to "
                findings.append(
                    Finding("program", f"{text}{one.window.end.isoformat()}, and the result has no such row")
                )
    return findings


# --- Parts of a draft -------------------------------------------------------------------------------------------------


def _types(draft: Draft, opinion: Opinion, second: SecondOpinion, released: Container[str]) -> Iterable[Finding]:
    advice = second is SecondOpinion.ADVISORY
    have = {need.type for need in draft.needs} if draft.answerable else set()
    chosen = {one.type: one.why for one in opinion.reading.evidence}
    sure = {type_id: why for type_id, why in chosen.items() if opinion.support[type_id] >= SURE}
    if draft.answerable and not draft.needs:
        yield Finding("answerable", "it is said to be answerable, but needs no type; name them, or say it is not")
    elif draft.needs and not draft.answerable:
        yield Finding("answerable", "it is said not to be answerable, but needs types; leave them out, or say it is")
    elif not draft.answerable and opinion.plan.answerable and sure:
        listed = "; ".join(f"{type_id}: {why}" for type_id, why in sure.items())
        yield Finding("answerable", f"it can be answered, since its words point to types: {listed}", advice=advice)
    elif draft.answerable and not opinion.plan.answerable and all(v <= UNLIKELY for v in opinion.support.values()):
        yield Finding("answerable", f"it can't be answered: {opinion.plan.reason}", advice=advice)
    else:
        for type_id, why in chosen.items() if opinion.plan.answerable and draft.answerable else ():
            held = type_id in sure or not (advice or type_id in released)
            if type_id not in have and held:
                yield Finding("missing", f"{type_id} is missing: {why}", type_id, advice)
        for type_id in sorted(have):
            if type_id in opinion.reading.excluded:
                yield Finding("unneeded", f"{type_id} must go: the question excludes it", type_id)
            elif opinion.support[type_id] <= UNLIKELY and type_id not in chosen:
                text = f"{type_id} must go: hardly anything in the question bears on it"
                yield Finding("unneeded", text, type_id, advice)


def _areas(place: str, opinion: Opinion, context: Context) -> tuple[tuple[Area, ...], str]:
    """The areas of a need's words, and what is wrong with them; without words, or with wrong ones, the question's."""
    city = {"", "city", "the city", "whole city", "the whole city", fold(context.scenario.city)}
    found: Places = opinion.places
    default = found.areas or (Area("city", context.scenario.city),)
    if fold(place.strip()) in city:
        # "the city" where the question names a place is a small model's way to say nothing.
        return default, ""
    if fold(place.strip()) not in fold(opinion.reading.asked):
        return (
            default,
            f"place {place!r} is not in the question; use its own words, or leave it empty for the whole city",
        )
    read = read_places(place, context.scenario)
    if read.outside:
        return default, f"{', '.join(read.outside)} is outside {context.scenario.city}, where all sensors are"
    return read.areas if any(area.kind != "city" for area in read.areas) else default, ""


def _window(time: str, opinion: Opinion, context: Context) -> tuple[Window, str]:
    """The window of a need's words, and what is wrong with them; without words, or with wrong ones, the question's."""
    if not time.strip():
        return opinion.window, ""
    read = read_time(time, context.local_now)
    if (read.start, read.end) == (opinion.window.start, opinion.window.end):
        return opinion.window, ""
    if fold(time.strip()) not in fold(opinion.reading.asked):
        return opinion.window, f"time {time!r} is not in the question; use its own words, or leave it empty"
    return (opinion.window, "") if read.kind == "default" else (read, "")
