"""``links status`` and ``links push-load``: the layers of the running system, and a base station's report by hand."""

import grpc
from rich.console import Console
from rich.table import Table

from controller.config import Config
from proto import network_pb2, network_pb2_grpc, telemetry_pb2, telemetry_pb2_grpc
from twin.scenario import load_scenario

_PATH = {0: "-", 1: "6G", 2: "Zigbee"}
TIMEOUT_S = 30


def read(channel: grpc.Channel, metadata) -> dict:
    """Connections, traffic load, data load and flows, by name. Raises grpc.RpcError."""
    network = network_pb2_grpc.NetworkServiceStub(channel)
    ask = {"timeout": TIMEOUT_S, "metadata": metadata}
    now = {
        "connections": network.GetConnections(network_pb2.GetConnectionsRequest(), **ask),
        "traffic_load": network.GetTrafficLoad(network_pb2.GetTrafficLoadRequest(), **ask),
        "data_load": network.GetDataLoad(network_pb2.GetDataLoadRequest(), **ask),
        "paths": network.GetPaths(network_pb2.GetPathsRequest(), **ask),
    }
    if now["connections"].controllers:
        now["flows"] = network.GetFlows(network_pb2.GetFlowsRequest(), **ask)
    return now


def show(now: dict, console: Console) -> None:
    """Print the state as a person would read it."""
    connections, load = now["connections"], now["traffic_load"]
    connected = sum(switch.connected for switch in connections.switches)
    console.print(f"Ryu application  {'attached' if connections.controllers else '[red]not attached[/]'}")
    console.print(f"radio emulator   {'attached' if connections.radio_emulators else '[yellow]not attached[/]'}")
    console.print(f"switches         {connected} of {len(connections.switches)} connected")
    for path in now["paths"].paths:
        if path.avoided:
            why = f"down: {', '.join(path.ports_down)}" if path.ports_down else "up again, but not for long enough"
            console.print(f"[red]failover[/]         cell {path.cell_id} keeps off {_PATH[path.path]}: {why}")
    flows = now.get("flows")
    if flows:
        sixg = sum(route.path == 1 for route in flows.routes)
        console.print(
            f"routes           {sixg} over 6G, {len(flows.routes) - sixg} over Zigbee; {len(flows.flows)} flow entries"
        )
    held = [sensor for sensor in now["data_load"].sensors if sensor.readings]
    console.print(f"twin             {sum(s.readings for s in held):,} readings of {len(held)} sensors")
    table = Table()
    for name in ("cell", "load", "slots observed", "newest", "path", "why"):
        table.add_column(name)
    for cell in load.cells:
        newest = cell.time.ToDatetime().strftime("%Y-%m-%d %H:%M UTC") if cell.HasField("time") else "none"
        row = cell.cell_id, f"{cell.load:.2f}", str(cell.observed_slots), newest, _PATH[cell.path], cell.why
        table.add_row(*row)
    console.print(table)


def push_load(
    channel: grpc.Channel, metadata, config: Config, cell_id: str, load: float
) -> telemetry_pb2.PublishSummary:
    """Report ``load`` (share of capacity) as of the service's now. Raises grpc.RpcError."""
    network = network_pb2_grpc.NetworkServiceStub(channel)
    request = network_pb2.GetTrafficLoadRequest(cell_ids=[cell_id])
    now = network.GetTrafficLoad(request, timeout=TIMEOUT_S, metadata=metadata).now
    capacity_bps = load_scenario(config.scenario.file).cell[cell_id].capacity_bps
    sample = telemetry_pb2.LoadSample(
        cell_id=cell_id,
        offered_bps=load * capacity_bps,
        carried_bps=min(load, 1.0) * capacity_bps,
        capacity_bps=capacity_bps,
        prb_used=round(min(max(load, 0.0), 1.0) * 100),
        prb_total=100,
    )
    sample.time.CopyFrom(now)
    stub = telemetry_pb2_grpc.TelemetryServiceStub(channel)
    return stub.Publish(iter([sample]), timeout=TIMEOUT_S, metadata=metadata)
