"""The whole system as processes on an emulated city, and what tests ask of it."""

import re
import subprocess
import time
from collections import defaultdict

from controller.stack import Stack
from controller.status import push_load
from proto import network_pb2, network_pb2_grpc, query_pb2, query_pb2_grpc
from twin.scenario import load_scenario
from twin.wiring import Wiring

SIXG, ZIGBEE = 1, 2
SETTINGS = {
    "LINKS_SERVICE_LISTEN": "127.0.0.1:50561",
    "LINKS_OPENFLOW_LISTEN_PORT": "6693",
    # Looks at the present slot and yesterday's only, so that a test can push a cell over tau and back.
    "LINKS_FORECAST_MODEL": "seasonal-naive-day",
    "LINKS_DECISION_INTERVAL_S": "0.5",
    "LINKS_RETRIEVAL_STALL_TIMEOUT_S": "5",
}


class Running:
    """A running stack with what tests ask of it."""

    def __init__(self, stack):
        self.stack = stack
        self.scenario = load_scenario(stack.config.scenario.file)
        self.wiring = Wiring(self.scenario)
        self.link = stack.connection
        self.store_path = stack.directory / "twin.sqlite"

    def ask(self, question, on_event=lambda event: None):
        """All events of a question."""
        events = []
        with self.link.channel() as channel:
            for event in query_pb2_grpc.QueryServiceStub(channel).Ask(
                query_pb2.AskRequest(question=question), timeout=240
            ):
                events.append(event)
                on_event(event)
        return events

    def result(self, question):
        return self.ask(question)[-1].result

    def network(self, method, request):
        with self.link.channel() as channel:
            return getattr(network_pb2_grpc.NetworkServiceStub(channel), method)(request, timeout=30)

    def routes(self):
        flows = self.network("GetFlows", network_pb2.GetFlowsRequest())
        return {route.sensor_id: route.path for route in flows.routes}

    def push(self, cell, load):
        with self.link.channel() as channel:
            assert push_load(channel, (), self.stack.config, cell, load).accepted == 1

    def of_type(self, type_id):
        return [sensor for sensor in self.scenario.sensors if sensor.type == type_id]

    def bytes_at_core(self):
        """Bytes by sensor and path as ovs-ofctl tells them, not as LINKs does, once they stand still: Open vSwitch
        counts up to a second late."""
        counted, last = self._bytes_at_core(), None
        while counted != last:
            time.sleep(1.5)
            counted, last = self._bytes_at_core(), counted
        return counted

    def _bytes_at_core(self):
        output = subprocess.run(
            ["ovs-ofctl", "-O", "OpenFlow13", "dump-flows", "core", "table=0"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        paths = {}
        for cell in self.wiring.cells.values():
            paths |= {cell.core_to_base_station: SIXG, cell.core_to_coordinator: ZIGBEE}
        names = {sensor.ipv4: sensor.id for sensor in self.scenario.sensors}
        counted = defaultdict(int)
        for line in output.splitlines():
            found = re.search(r"n_bytes=(\d+).*in_port=\"?([\w-]+)\"?.*nw_src=([\d.]+),nw_dst", line)
            if found and found[3] in names:
                counted[names[found[3]], paths[int(found[2].rpartition("eth")[2])]] = int(found[1])
        return counted


def start(directory, scenario_file, city_options=()):
    stack = Stack(directory, None, city_options, {**SETTINGS, "LINKS_SCENARIO_FILE": str(scenario_file)})
    try:
        stack.start()
        stack.wait_ready()
    except BaseException:
        stack.stop()
        raise
    return Running(stack)
