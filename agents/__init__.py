"""Data planning: from a question in plain language to the sensor types, places and time windows that it needs.

Public: ``DataPlan``, ``PlanItem``, ``Area`` (the plan), ``Planning`` (plans questions, by agents on a language model
or offline), ``turns`` (what a person sees and answers), ``plan_offline`` (the planner that needs no language model),
``to_json`` and ``from_json`` (the plan as JSON, checked by schema), ``sensor_cards`` (what each type tells).
"""

from agents.cards import SensorCard, sensor_cards
from agents.offline import plan as plan_offline
from agents.plan import MAX_QUESTION_CHARS, Area, DataPlan, PlanItem, check_question
from agents.planning import Planning
from agents.schema import PlanError, from_json, to_json

__all__ = [
    "MAX_QUESTION_CHARS",
    "Area",
    "DataPlan",
    "PlanError",
    "PlanItem",
    "Planning",
    "SensorCard",
    "check_question",
    "from_json",
    "plan_offline",
    "sensor_cards",
    "to_json",
]
