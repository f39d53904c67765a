"""The emulated city in the foreground: network, sensors, radio emulator and telemetry, until SIGINT or SIGTERM.

python -m mininet_topos --scenario milan --controller 127.0.0.1:6653 --service 127.0.0.1:50551
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

import grpc

from mininet_topos.city import City, city_name
from mininet_topos.load_sources import LoadSource, SourceError, open_source
from mininet_topos.machine import capabilities
from mininet_topos.ovs import OvsError
from mininet_topos.radio import RadioEmulator, run_radio_client
from mininet_topos.replay import Replay, ReplayError, add_source_options, clock_of, connection_to
from mininet_topos.run_directory import CityError, cleanup
from twin.load_report import FileFormatError
from twin.scenario import ScenarioError, load_scenario

log = logging.getLogger("mininet_topos")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mininet_topos",
        description="Emulates a city in Mininet until told to stop (Ctrl-C), then removes what it made. Needs root.",
    )
    parser.add_argument("--scenario", default="milan", help="bundled scenario or file (default milan)")
    parser.add_argument("--name", help="name of the city on this machine (default: the scenario's city)")
    parser.add_argument("--controller", default="127.0.0.1:6653", help="OpenFlow controller, host:port")
    parser.add_argument("--service", help="links service, host:port (default: $LINKS_SERVICE, else 127.0.0.1:50551)")
    parser.add_argument("--no-service", action="store_true", help="neither grants nor telemetry: the network alone")
    parser.add_argument("--no-replay", action="store_true", help="no telemetry")
    parser.add_argument("--ready-file", type=Path, help="written, as JSON, when all sensors serve")
    parser.add_argument(
        "--cleanup", action="store_true", help="only remove what a killed city of that name left behind"
    )
    add_source_options(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        if options.cleanup:
            return clean(options)
        run(options)
    except KeyboardInterrupt:
        return 0
    except grpc.aio.AioRpcError as error:
        return _fail(f"the links service refuses: {error.code().name}: {error.details()}")
    except (
        CityError,
        OvsError,
        ScenarioError,
        SourceError,
        FileFormatError,
        ReplayError,
        ValueError,
        OSError,
    ) as error:
        return _fail(error)
    return 0


def clean(options: argparse.Namespace) -> int:
    """Remove what a killed city left."""
    name = options.name or city_name(load_scenario(options.scenario))
    removed = cleanup(name)
    log.info("city %s: %s", name, f"removed {', '.join(removed)}" if removed else "there was nothing to remove")
    return 0


def run(options: argparse.Namespace) -> None:
    """Build the city, run it, remove it."""
    begin = time.monotonic()
    scenario = load_scenario(options.scenario)
    source = open_source(scenario, options.source, options.peak_load)
    clock = clock_of(scenario, options.speed)
    for capability in capabilities():
        if not capability.good:
            log.warning("%s: %s. %s", capability.subject, capability.found, capability.advice)
    city = City(scenario, _address(options.controller), options.name, clock)
    try:
        city.start()
        ready = {
            "city": city.name,
            "pid": os.getpid(),
            "sensors": len(city.sensor_pids),
            "start_epoch_s": clock.start_epoch_s,
            "speed": clock.speed,
            "wall_start": clock.wall_start,
            "seconds": round(time.monotonic() - begin, 3),
            "timings_s": city.timings_s,
        }
        log.info("city %s is up: %s", city.name, json.dumps(ready))
        with RadioEmulator(city) as emulator:
            _announce(city, ready, options.ready_file)
            asyncio.run(_serve(options, city, emulator, source))
    finally:
        # A second Ctrl-C must not leave half a city behind.
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if options.ready_file:
            options.ready_file.unlink(missing_ok=True)
        city.stop()


async def _serve(options: argparse.Namespace, city: City, emulator: RadioEmulator, source: LoadSource) -> None:
    """Follow the service's grants and send it telemetry, until told to stop."""
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(stop.wait())]
    if not options.no_service:
        connection = connection_to(options.service)
        tasks.append(asyncio.create_task(run_radio_client(connection, emulator)))
        if not options.no_replay:
            replay = Replay(city.scenario, source, city.clock, connection, options.history_slots)
            for line in source.describe(city.clock.now_s()):
                log.info("replay: %s", line)
            tasks.append(asyncio.create_task(replay.run(lambda: log.info("replay: %d samples sent", replay.accepted))))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _announce(city: City, ready: dict, path: Path | None) -> None:
    city.run_directory.write_ready(ready)
    if path:
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text(json.dumps(ready))
        temporary.replace(path)  # whole, as soon as it is there


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"--controller {text!r}: write it as host:port, such as 127.0.0.1:6653")
    return host, int(port)


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def _fail(what: object) -> int:
    print(f"mininet_topos: {what}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
