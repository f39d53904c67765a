"""What every switch should hold, as a pure function of scenario, routes and avoided paths; and what it tells when read.

Pipeline (declared in ``controller.pipeline``; `twin.wiring` has the ports). What no entry wants meets a drop entry.

    gateway       0 admission: port, MAC and IPv4 of the sensor must belong together   1 routing by sensor   2 output
    core          0 admission: one entry per sensor and path, so that its counters tell the bytes of each path
                  1 routing by sensor   2 output
    base station  0 gateway <-> core
    coordinator   0 gateway <-> air <-> core

A route is one entry on the gateway (by ipv4_src) and one on the core (by ipv4_dst); each hands over to the group of the
path. All else is static and takes both paths, so a change of route is make-before-break in whatever order the switches
carry it out. ARP is answered by the switch itself. No entry floods and none sends packets to the controller.

Failover needs no controller. A path's group (type fast failover) has the other path as its second bucket, for the case
that the switch's own link is down. A link that is down further on is seen by the base station or coordinator before it,
which marks the packet (ip_dscp) and sends it back; gateway or core then takes it on by the other path. A marked packet
is not sent back again, so none circles. Where a path is *avoided* its group has the other path first.
"""

from collections.abc import Collection, Iterable, Mapping

from controller.entries import (
    GROUPS,
    METERS,
    ArpReply,
    Bucket,
    FlowEntry,
    FlowError,
    Group,
    Kind,
    Match,
    Meter,
    Output,
    SendBack,
    SwitchTable,
    ToGroup,
    cookie,
)
from controller.pipeline import DROP_PRIORITY, ETH_ARP, ETH_IPV4, PRIORITY, REROUTED_DSCP, REROUTED_PRIORITY
from proto import control_pb2
from twin.path import Path
from twin.scenario import Sensor
from twin.wiring import (
    AIR_RX,
    AIR_TX,
    CORE_TO_TWIN,
    GATEWAY_TO_BASE_STATION,
    GATEWAY_TO_COORDINATOR,
    TO_CORE,
    TO_GATEWAY,
    CellWiring,
    Wiring,
)

ARP_REQUEST = 1

# Paths that are not to be used while there is another, as (cell id, path).
Avoided = Collection[tuple[str, Path]]

# The gateway's ports, by path.
_UPLINKS = {Path.SIXG: GATEWAY_TO_BASE_STATION, Path.ZIGBEE: GATEWAY_TO_COORDINATOR}
_AIR = 0x0001_0000  # groups of a coordinator: on to the air, by the port where the packet came in
_BURST_S = 0.1  # of a sensor, at the rate of its meter


def desired_tables(wiring: Wiring, routes: Mapping[str, Path], avoided: Avoided = ()) -> dict[int, SwitchTable]:
    """What every switch should hold, by datapath id, for routes by sensor id.

    A sensor without a route is admitted but its packets are dropped at the choice of path. Raises FlowError.
    """
    _check_routes(wiring, routes)
    tables = {wiring.core.datapath_id: core_table(wiring, routes, avoided)}
    for cell in wiring.cells.values():
        tables[cell.gateway.datapath_id] = gateway_table(wiring, cell, routes, avoided)
        tables[cell.base_station.datapath_id] = base_station_table(wiring)
        tables[cell.coordinator.datapath_id] = coordinator_table(wiring)
    return tables


def _check_routes(wiring: Wiring, routes: Mapping[str, Path]) -> None:
    """Raises FlowError on a sensor that is not in the scenario and on a path that is none."""
    for sensor, path in routes.items():
        if sensor not in wiring.scenario.sensor:
            raise FlowError(f"route of sensor {sensor!r}: no such sensor in the scenario")
        if not isinstance(path, Path):
            raise FlowError(f"route of sensor {sensor!r}: path {path!r} must be Path.SIXG or Path.ZIGBEE")


def gateway_table(wiring: Wiring, cell: CellWiring, routes: Mapping[str, Path], avoided: Avoided = ()) -> SwitchTable:
    """Of one cell's gateway; it depends on the routes of the cell's own sensors only."""
    twin_ipv4, twin_mac = wiring.scenario.twin_ipv4, wiring.scenario.twin_mac
    sensors = wiring.scenario.sensors_of[cell.cell]
    entries = [_drop(0), _drop(1), _drop(2)]
    entries += [_onward(_to_twin(wiring, back, marked=True), on, PRIORITY) for back, on in _crossed(_UPLINKS)]
    for sensor in sensors:
        own = Match(sensor.port, ETH_IPV4, eth_src=sensor.mac, ipv4_src=sensor.ipv4, ipv4_dst=twin_ipv4)
        entries += [
            _admit(1, own, METERS | sensor.port),
            _answer_arp(sensor.port, sensor.mac, sensor.ipv4, twin_mac, twin_ipv4),
            *(_admit(2, Match(port, ETH_IPV4, ipv4_src=twin_ipv4, ipv4_dst=sensor.ipv4)) for port in _UPLINKS.values()),
            _send(2, Kind.DELIVER, Match(eth_type=ETH_IPV4, ipv4_dst=sensor.ipv4), Output(sensor.port)),
        ]
        if sensor.id in routes:
            entries.append(_route_up(sensor, routes[sensor.id]))
    rate_kbps = max(1, int(wiring.scenario.cell[cell.cell].capacity_bps / 1000))
    burst_kbits = max(1, int(rate_kbps * _BURST_S))
    meters = tuple(Meter(METERS | sensor.port, rate_kbps, burst_kbits) for sensor in sensors)
    return SwitchTable(tuple(entries), _path_groups(cell.cell, _UPLINKS, avoided), meters)


def core_table(wiring: Wiring, routes: Mapping[str, Path], avoided: Avoided = ()) -> SwitchTable:
    """Of the core; it depends on all routes."""
    twin_ipv4, twin_mac = wiring.scenario.twin_ipv4, wiring.scenario.twin_mac
    entries = [
        *(_drop(0), _drop(1), _drop(2)),
        _admit(1, Match(CORE_TO_TWIN, ETH_IPV4, eth_src=twin_mac, ipv4_src=twin_ipv4)),
        _send(2, Kind.DELIVER, Match(eth_type=ETH_IPV4, ipv4_dst=twin_ipv4), Output(CORE_TO_TWIN)),
    ]
    groups: list[Group] = []
    for cell in wiring.cells.values():
        ports = _core_ports(cell)
        groups += _path_groups(cell.cell, ports, avoided)
        entries += [_onward(_from_twin(wiring, back, marked=True), on, PRIORITY) for back, on in _crossed(ports)]
        for sensor in wiring.scenario.sensors_of[cell.cell]:
            for port in ports.values():
                match = Match(port, ETH_IPV4, ipv4_src=sensor.ipv4, ipv4_dst=twin_ipv4)
                entries.append(FlowEntry(0, PRIORITY, cookie(Kind.PATH), match, goto_table=2))
            entries.append(_answer_arp(CORE_TO_TWIN, twin_mac, twin_ipv4, sensor.mac, sensor.ipv4))
            if sensor.id in routes:
                entries.append(_route_down(cell, sensor, routes[sensor.id]))
    return SwitchTable(tuple(entries), tuple(groups))


def base_station_table(wiring: Wiring) -> SwitchTable:
    """Of every base station: what is for the twin goes to the core, what is from the twin goes to the gateway."""
    entries = (
        _drop(0),
        _send(0, Kind.RELAY, _to_twin(wiring, TO_GATEWAY), ToGroup(_group(TO_CORE))),
        _send(0, Kind.RELAY, _from_twin(wiring, TO_CORE), ToGroup(_group(TO_GATEWAY))),
        _onward(_to_twin(wiring, TO_GATEWAY, marked=True), TO_CORE),
        _onward(_from_twin(wiring, TO_CORE, marked=True), TO_GATEWAY),
    )
    ways = ((TO_GATEWAY, TO_CORE), (TO_CORE, TO_GATEWAY))
    return SwitchTable(entries, tuple(_or_back(_group(on), on, Output(on), back) for back, on in ways))


def coordinator_table(wiring: Wiring) -> SwitchTable:
    """Of every coordinator: both directions pass its air. A packet whose link beyond is down does not go to the air."""
    entries = (
        _drop(0),
        _send(0, Kind.RELAY, _to_twin(wiring, TO_GATEWAY), ToGroup(_group(TO_CORE))),
        _send(0, Kind.RELAY, _from_twin(wiring, TO_CORE), ToGroup(_group(TO_GATEWAY))),
        _send(0, Kind.RELAY, _to_twin(wiring, AIR_RX), Output(TO_CORE)),
        _send(0, Kind.RELAY, _from_twin(wiring, AIR_RX), Output(TO_GATEWAY)),
        _onward(_to_twin(wiring, TO_GATEWAY, marked=True), AIR_TX),
        _onward(_from_twin(wiring, TO_CORE, marked=True), AIR_TX),
    )
    groups: list[Group] = []
    for back, on in ((TO_GATEWAY, TO_CORE), (TO_CORE, TO_GATEWAY)):
        air = _group(_AIR | back)
        groups.append(_or_back(air, AIR_TX, Output(AIR_TX), back))
        groups.append(_or_back(_group(on), on, ToGroup(air), back))
    return SwitchTable(entries, tuple(groups))


def _core_ports(cell: CellWiring) -> dict[Path, int]:
    return {Path.SIXG: cell.core_to_base_station, Path.ZIGBEE: cell.core_to_coordinator}


def _group(number: int) -> int:
    """The group that leads out of a port."""
    return GROUPS | number


def _path_groups(cell: str, ports: Mapping[Path, int], avoided: Avoided) -> tuple[Group, ...]:
    """One group per path: this path first, or the other one where this is avoided and the other is not."""
    groups = []
    for path, port in ports.items():
        ways = sorted(ports, key=lambda way: ((cell, way) in avoided, way is not path))
        groups.append(Group(_group(port), tuple(Bucket(ports[way], (Output(ports[way]),)) for way in ways)))
    return tuple(groups)


def _or_back(group_id: int, watched: int, does: Output | ToGroup, back: int) -> Group:
    """Do it while the watched port is up, else send the packet back where it came from."""
    return Group(group_id, (Bucket(watched, (does,)), Bucket(back, (SendBack(REROUTED_DSCP),))))


def _crossed(ports: Mapping[Path, int]) -> list[tuple[int, int]]:
    """Each path's port with the port of the other path."""
    one, other = ports.values()
    return [(one, other), (other, one)]


def _route_up(sensor: Sensor, path: Path) -> FlowEntry:
    """On the gateway."""
    return _send(1, Kind.ROUTE, Match(eth_type=ETH_IPV4, ipv4_src=sensor.ipv4), ToGroup(_group(_UPLINKS[path])))


def _route_down(cell: CellWiring, sensor: Sensor, path: Path) -> FlowEntry:
    """On the core."""
    group = ToGroup(_group(_core_ports(cell)[path]))
    return _send(1, Kind.ROUTE, Match(eth_type=ETH_IPV4, ipv4_dst=sensor.ipv4), group)


def _to_twin(wiring: Wiring, in_port: int, marked: bool = False) -> Match:
    dscp = REROUTED_DSCP if marked else 0
    return Match(in_port, ETH_IPV4, ip_dscp=dscp, ipv4_dst=wiring.scenario.twin_ipv4)


def _from_twin(wiring: Wiring, in_port: int, marked: bool = False) -> Match:
    dscp = REROUTED_DSCP if marked else 0
    return Match(in_port, ETH_IPV4, ip_dscp=dscp, ipv4_src=wiring.scenario.twin_ipv4)


def _drop(table: int) -> FlowEntry:
    return FlowEntry(table, DROP_PRIORITY, cookie(Kind.DROP), Match())


def _admit(goto: int, match: Match, meter_id: int = 0) -> FlowEntry:
    return FlowEntry(0, PRIORITY, cookie(Kind.ADMIT), match, goto_table=goto, meter_id=meter_id)


def _send(table: int, kind: Kind, match: Match, does: Output | ToGroup) -> FlowEntry:
    return FlowEntry(table, PRIORITY, cookie(kind), match, (does,))


def _onward(match: Match, port: int, priority: int = REROUTED_PRIORITY) -> FlowEntry:
    """A marked packet goes on whatever the state of the port."""
    return FlowEntry(0, priority, cookie(Kind.REROUTED), match, (Output(port),))


def _answer_arp(port: int, mac: str, ipv4: str, target_mac: str, target_ipv4: str) -> FlowEntry:
    """Answers the host (mac, ipv4) behind ``port`` when it asks for the target (RFC 826)."""
    match = Match(port, ETH_ARP, eth_src=mac, arp_op=ARP_REQUEST, arp_spa=ipv4, arp_sha=mac, arp_tpa=target_ipv4)
    return FlowEntry(0, PRIORITY, cookie(Kind.ARP), match, (ArpReply(target_mac, target_ipv4),))


# --- What switches report -------------------------------------------------------------------------------------------


def installed_routes(wiring: Wiring, entries: Iterable[tuple[int, FlowEntry]]) -> dict[str, Path]:
    """The routes that entries, given as (datapath id, entry), carry out: how a new service learns what an old one left.

    Where a gateway and the core differ (a program was cut short), the gateway's choice counts, since data go up.
    """
    present, core = set(entries), wiring.core.datapath_id
    routes: dict[str, Path] = {}
    for cell in wiring.cells.values():
        for sensor in wiring.scenario.sensors_of[cell.cell]:
            up = [path for path in Path if (cell.gateway.datapath_id, _route_up(sensor, path)) in present]
            down = [path for path in Path if (core, _route_down(cell, sensor, path)) in present]
            if up or down:
                routes[sensor.id] = (up or down)[0]
    return routes


def bytes_by_path(wiring: Wiring, statistics: Iterable[control_pb2.FlowStatistics]) -> dict[str, dict[Path, int]]:
    """Bytes (Ethernet frames) that reached the core from each sensor by each path, since the entries were installed.

    Reads the core's PATH entries of the scenario's sensors out of ``statistics``, which may hold other entries too.
    """
    sources: dict[tuple[int, str], tuple[Sensor, Path]] = {}
    for cell in wiring.cells.values():
        for path, port in _core_ports(cell).items():
            for sensor in wiring.scenario.sensors_of[cell.cell]:
                sources[port, sensor.ipv4] = sensor, path
    found: dict[str, dict[Path, int]] = {}
    for row in statistics:
        source = row.entry.match.in_port, row.entry.match.ipv4_src
        if row.datapath_id == wiring.core.datapath_id and row.entry.cookie == cookie(Kind.PATH) and source in sources:
            sensor, path = sources[source]
            found.setdefault(sensor.id, {})[path] = row.bytes
    return found


def path_ports(cell: CellWiring, wiring: Wiring) -> dict[Path, tuple[tuple[int, int], ...]]:
    """The switch ports, as (datapath id, port), that all have to be up for a cell's path to work."""
    core, gateway = wiring.core.datapath_id, cell.gateway.datapath_id
    station, coordinator = cell.base_station.datapath_id, cell.coordinator.datapath_id
    ports = _core_ports(cell)
    return {
        Path.SIXG: (
            (gateway, _UPLINKS[Path.SIXG]),
            (station, TO_GATEWAY),
            (station, TO_CORE),
            (core, ports[Path.SIXG]),
        ),
        Path.ZIGBEE: (
            (gateway, _UPLINKS[Path.ZIGBEE]),
            *((coordinator, port) for port in (TO_GATEWAY, TO_CORE, AIR_TX, AIR_RX)),
            (core, ports[Path.ZIGBEE]),
        ),
    }
