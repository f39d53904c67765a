"""TLS and the bearer token, over real connections."""

from contextlib import asynccontextmanager, suppress

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from controller.access import TokenInterceptor, add_port
from controller.config import ServiceConfig
from proto import network_pb2, network_pb2_grpc, telemetry_pb2, telemetry_pb2_grpc
from proto.connection import Connection


class Counting(network_pb2_grpc.NetworkServiceServicer, telemetry_pb2_grpc.TelemetryServiceServicer):
    """One method of each streaming kind; counts what gets through."""

    def __init__(self):
        self.calls = 0

    async def GetConnections(self, request, context):
        self.calls += 1
        return network_pb2.Connections()

    async def Watch(self, request, context):
        self.calls += 1
        yield network_pb2.NetworkEvent()

    async def Publish(self, request_iterator, context):
        self.calls += 1
        return telemetry_pb2.PublishSummary()


@asynccontextmanager
async def serving(**keys):
    config = ServiceConfig(listen="127.0.0.1:0", **keys)
    server = grpc.aio.server(interceptors=[TokenInterceptor(config.token)] if config.token else [])
    servicer = Counting()
    network_pb2_grpc.add_NetworkServiceServicer_to_server(servicer, server)
    telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(servicer, server)
    health_servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    await health_servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    port = add_port(server, config)
    await server.start()
    yield port, servicer
    await server.stop(None)


async def calls(channel, metadata):
    """Try one call of each kind; the status codes."""
    network, telemetry = network_pb2_grpc.NetworkServiceStub(channel), telemetry_pb2_grpc.TelemetryServiceStub(channel)
    codes = []
    for call in (
        network.GetConnections(network_pb2.GetConnectionsRequest(), metadata=metadata),
        network.Watch(network_pb2.WatchRequest(), metadata=metadata),
        telemetry.Publish(iter([]), metadata=metadata),
    ):
        with suppress(grpc.aio.AioRpcError):
            [_ async for _ in call] if hasattr(call, "read") else await call
        codes.append(await call.code())
    return codes


async def test_without_the_token_nothing_gets_through_but_health():
    async with serving(token="s3cret") as (port, servicer):
        async with Connection(f"127.0.0.1:{port}").aio_channel() as channel:
            for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", "s3cret"),)):
                assert await calls(channel, metadata) == [grpc.StatusCode.UNAUTHENTICATED] * 3
            assert servicer.calls == 0
            reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_with_the_token_everything_works():
    async with serving(token="s3cret") as (port, servicer):
        link = Connection(f"127.0.0.1:{port}", token="s3cret")
        async with link.aio_channel() as channel:
            assert await calls(channel, link.metadata) == [grpc.StatusCode.OK] * 3
        assert servicer.calls == 3


async def test_tls_by_config(tmp_path):
    authority, other = trustme.CA(), trustme.CA()
    pair = authority.issue_cert("127.0.0.1", "localhost")
    files = {name: str(tmp_path / name) for name in ("cert", "key", "ca", "other")}
    pair.cert_chain_pems[0].write_to_path(files["cert"])
    pair.private_key_pem.write_to_path(files["key"])
    authority.cert_pem.write_to_path(files["ca"])
    other.cert_pem.write_to_path(files["other"])
    async with serving(tls_certificate=files["cert"], tls_key=files["key"]) as (port, servicer):
        address = f"127.0.0.1:{port}"
        async with Connection(address, files["ca"]).aio_channel() as channel:
            assert await calls(channel, ()) == [grpc.StatusCode.OK] * 3
        for stranger in (Connection(address), Connection(address, files["other"])):
            async with stranger.aio_channel() as channel:
                call = network_pb2_grpc.NetworkServiceStub(channel).GetConnections(network_pb2.GetConnectionsRequest())
                assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert servicer.calls == 3


async def test_an_address_in_use_is_an_error_that_names_it():
    async with serving() as (port, _):
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            add_port(server, ServiceConfig(listen=f"127.0.0.1:{port}"))
