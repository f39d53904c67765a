"""A question's progress on the terminal: what was planned, decided and solved, then a live table of the retrieval."""

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from proto import query_pb2

_PATH = {0: "-", 1: "6G", 2: "Zigbee"}
_STATE = {1: "…", 2: "[green]done[/]", 3: "[red]failed[/]"}
# The live table shows this many sensors; the rest are summed up.
ROWS = 30


class Progress:
    """Use as a context manager; ``show`` takes the events of QueryService.Ask in order."""

    def __init__(self, console: Console):
        self._console = console
        self._transfers: dict[str, query_pb2.SensorTransfer] = {}
        self._live: Live | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, event: query_pb2.AskEvent) -> None:
        """Show one event."""
        kind = event.WhichOneof("event")
        getattr(self, f"_{kind}")(getattr(event, kind))

    def _plan(self, plan: query_pb2.DataPlan) -> None:
        self._console.print(f"[bold]plan[/]      {escape(plan.reason)} ({plan.planner}, {plan.seconds * 1000:.0f} ms)")
        for item in plan.items:
            start, end = (t.ToDatetime().strftime("%d %b %H:%M") for t in (item.window.start, item.window.end))
            self._console.print(
                f"          [cyan]{item.type}[/] in {escape(item.area.name or item.area.kind)}, {start} to {end} UTC:"
                f" {escape(item.why)}"
            )
        if plan.answerable:
            self._console.print(f"          {len(plan.sensors)} sensors")

    def _turn(self, turn: query_pb2.AgentTurn) -> None:
        first, *rest = turn.text.splitlines() or [""]
        more = f" [dim](and {len(rest)} lines)[/]" if rest else ""
        self._console.print(f"[bold]{turn.agent:9}[/] {turn.step}. {escape(first[:300])}{more}")

    def _approval(self, approval: query_pb2.Approval) -> None:
        self._console.print(f"[bold yellow]approve?[/]  {escape(approval.turn.text)}")

    def _loading(self, loading: query_pb2.LazyLoading) -> None:
        self._console.print(
            f"[bold]loading[/]   {_bytes(loading.held_bytes)} in the twin already, {_bytes(loading.missing_bytes)} to"
            f" fetch from {len(loading.demands)} sensors"
        )

    def _forecasts(self, forecasts: query_pb2.CellForecasts) -> None:
        table = Table(title=f"forecast by {forecasts.model}, tau {forecasts.tau:.2f}", title_justify="left")
        for name in ("cell", "load now", "forecast", "for the decision", ""):
            table.add_column(name)
        for cell in forecasts.cells:
            mean = " ".join(f"{value:.2f}" for value in cell.mean)
            table.add_row(cell.cell_id, f"{cell.latest_load:.2f}", mean, f"{cell.decision_load:.2f}", escape(cell.note))
        self._console.print(table)

    def _decisions(self, decisions: query_pb2.CellDecisions) -> None:
        for path in (1, 2):
            cells = [cell.cell_id for cell in decisions.cells if cell.path == path]
            if cells:
                self._console.print(f"[bold]decision[/]  {_PATH[path]}: {', '.join(cells)}")
        for cell in decisions.cells:
            if cell.path == 2:
                self._console.print(f"          {cell.cell_id}: {escape(cell.why)}")

    def _solution(self, solution: query_pb2.RrmSolution) -> None:
        self._console.print(
            f"[bold]RRM[/]       {solution.cell_id}: {solution.status}, largest delay {solution.objective_s:.3f} s"
            f" (bound {solution.lower_bound_s:.3f} s), {len(solution.grants)} devices, {solution.solver},"
            f" {solution.seconds * 1000:.0f} ms"
        )
        for note in solution.notes:
            self._console.print(f"          {escape(note)}")

    def _routes(self, routes: query_pb2.RoutesInstalled) -> None:
        self._console.print(
            f"[bold]routes[/]    {routes.routes} sensors: {routes.added} flow entries added, {routes.modified}"
            f" modified, {routes.deleted} deleted, {routes.grants} grants, confirmed in {routes.seconds * 1000:.0f} ms"
        )

    def _notice(self, notice: query_pb2.Notice) -> None:
        self._console.print(f"[yellow]notice[/]    {escape(notice.text)}")

    def _transfer(self, transfer: query_pb2.SensorTransfer) -> None:
        self._transfers[transfer.sensor_id] = transfer
        if not self._console.is_terminal:
            return  # the table is printed once, at the end
        if self._live is None:
            self._live = Live(self._table(), console=self._console, refresh_per_second=4)
            self._live.start()
        self._live.update(self._table())

    def _table(self) -> Table:
        transfers = self._transfers.values()
        done = sum(t.state == query_pb2.SensorTransfer.STATE_DONE for t in transfers)
        received = sum(t.received_bytes for t in transfers)
        table = Table(title=f"retrieval: {done} of {len(transfers)} sensors, {_bytes(received)}", title_justify="left")
        table.add_column("sensor")
        table.add_column("cell")
        table.add_column("path")
        for name in ("received", "predicted", "measured"):
            table.add_column(name, justify="right")
        table.add_column("")
        for t in list(transfers)[:ROWS]:
            delays = f"{t.predicted_delay_s:.2f} s", f"{t.measured_delay_s:.2f} s"
            state = escape(t.error) or _STATE[t.state]
            table.add_row(t.sensor_id, t.cell_id, _PATH[t.path], _bytes(t.received_bytes), *delays, state)
        if len(transfers) > ROWS:
            table.add_row(f"and {len(transfers) - ROWS} more")
        return table

    def _result(self, result: query_pb2.AskResult) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._transfers:
            self._console.print(self._table())
        times = ", ".join(f"{stage.stage} {stage.seconds:.2f} s" for stage in result.stages if stage.seconds >= 0.005)
        self._console.print(f"[bold]moved[/]     {_bytes(result.moved_bytes)}; {times}")


def _bytes(count: int) -> str:
    if count < 10_000:
        return f"{count} B"
    return f"{count / 1000:.0f} kB" if count < 10_000_000 else f"{count / 1e6:.1f} MB"
