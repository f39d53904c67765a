"""From the rooms' data classes to gRPC messages and back."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from agents.plan import Area, DataPlan
from agents.turns import Turn
from controller import answer
from controller.config import Config
from controller.decisions import CellForecast
from controller.rrm import CellPlan
from optimizer.decision import Decision
from proto import common_pb2, query_pb2
from twin.retrieval import Demand
from twin.scenario import Scenario


def window(start_s: int, end_s: int) -> common_pb2.TimeWindow:
    """A half-open interval of epoch seconds as a message."""
    message = common_pb2.TimeWindow()
    message.start.FromSeconds(int(start_s))
    message.end.FromSeconds(int(end_s))
    return message


def notice(text: str) -> query_pb2.AskEvent:
    return query_pb2.AskEvent(notice=query_pb2.Notice(text=text))


def agent_turn(turn: Turn) -> query_pb2.AgentTurn:
    return query_pb2.AgentTurn(step=turn.step, agent=turn.role.value, text=turn.text)


def turn(turn: Turn) -> query_pb2.AskEvent:
    return query_pb2.AskEvent(turn=agent_turn(turn))


def approval(approval_id: str, turn: Turn, seconds: float) -> query_pb2.AskEvent:
    return query_pb2.AskEvent(
        approval=query_pb2.Approval(approval_id=approval_id, turn=agent_turn(turn), seconds=seconds)
    )


def plan(data_plan: DataPlan, now: datetime) -> query_pb2.DataPlan:
    message = query_pb2.DataPlan(
        query=data_plan.query,
        answerable=data_plan.answerable,
        reason=data_plan.reason,
        sensors=data_plan.sensors,
        planner=data_plan.planner,
        model=data_plan.model,
        steps=data_plan.steps,
        tokens=data_plan.tokens,
        seconds=data_plan.seconds,
    )
    message.now.FromSeconds(int(now.timestamp()))
    for item in data_plan.items:
        times = window(int(item.start.timestamp()), int(item.end.timestamp()))
        message.items.add(type=item.type, area=_area(item.area), window=times, why=item.why)
    return message


def _area(area: Area) -> query_pb2.Area:
    ring = [query_pb2.LonLat(lon=lon, lat=lat) for lon, lat in area.ring]
    return query_pb2.Area(
        kind=area.kind, name=area.name, lon=area.lon or 0, lat=area.lat or 0, radius_m=area.radius_m or 0, ring=ring
    )


def loading(scenario: Scenario, needed: Iterable[Demand], held: int, missing: int) -> query_pb2.LazyLoading:
    message = query_pb2.LazyLoading(held_bytes=held, missing_bytes=missing)
    for demand in needed:
        windows = [window(*interval) for interval in demand.intervals]
        cell = scenario.sensor[demand.sensor_id].cell
        message.demands.add(sensor_id=demand.sensor_id, cell_id=cell, windows=windows, bytes=demand.bytes)
    return message


def forecasts(config: Config, cells: Iterable[CellForecast]) -> query_pb2.CellForecasts:
    message = query_pb2.CellForecasts(model=config.forecast.model, tau=config.decision.tau)
    for cell in cells:
        message.cells.add(
            cell_id=cell.cell_id,
            latest_load=cell.latest_load,
            mean=cell.mean,
            decision_load=cell.decision_load,
            slot_s=600,
            observed_slots=cell.observed_slots,
            note=cell.note,
        )
    return message


def decisions(by_cell: Mapping[str, Decision], tau: float) -> query_pb2.CellDecisions:
    cells = [
        query_pb2.CellDecision(cell_id=cell, path=d.path.value, load=d.load, tau=tau, why=d.why)
        for cell, d in by_cell.items()
    ]
    return query_pb2.CellDecisions(cells=cells)


def solution(cell: str, result: CellPlan) -> query_pb2.RrmSolution:
    message = query_pb2.RrmSolution(
        cell_id=cell,
        status=result.status,
        objective_s=result.objective_s,
        lower_bound_s=result.lower_bound_s,
        solver=result.solver,
        seconds=result.seconds,
        notes=result.notes,
    )
    for sensor, grant in result.grants.items():
        message.grants.add(
            sensor_id=sensor,
            rate_bps=grant.rate_bps,
            predicted_delay_s=grant.delay_s,
            resource_blocks=grant.resource_blocks,
            power_dbm=grant.power_dbm,
        )
    return message


def statistics(rows: Iterable[answer.Statistics]) -> list[query_pb2.TypeStatistics]:
    return [query_pb2.TypeStatistics(**vars(row)) for row in rows]


def correlations(pairs: Iterable[answer.Correlation]) -> list[query_pb2.Correlation]:
    return [query_pb2.Correlation(**vars(pair)) for pair in pairs]
