"""Who may call the service: TLS credentials of the server, and the bearer token that every call must carry."""

import hmac
from pathlib import Path

import grpc

from controller.config import ServiceConfig


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without the right ``authorization: Bearer TOKEN`` with UNAUTHENTICATED.

    Health checks pass, so that a supervisor needs no secret.
    """

    def __init__(self, token: str):
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(self, continuation, handler_call_details):
        if handler_call_details.method.startswith("/grpc.health.v1.Health/"):
            return await continuation(handler_call_details)
        metadata = dict(handler_call_details.invocation_metadata)
        if hmac.compare_digest(str(metadata.get("authorization", "")).encode(), self._expected):
            return await continuation(handler_call_details)
        handler = await continuation(handler_call_details)
        return _refusal(handler) if handler else None


def _refusal(handler: grpc.RpcMethodHandler) -> grpc.RpcMethodHandler:
    """A handler of the same kind that only refuses."""
    text = "send metadata 'authorization: Bearer TOKEN' with the token of the service's configuration"

    async def refuse(request, context):
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, text)

    async def refuse_stream(request, context):
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, text)
        yield

    kind = ("stream" if handler.request_streaming else "unary", "stream" if handler.response_streaming else "unary")
    make = getattr(grpc, "{}_{}_rpc_method_handler".format(*kind))
    behaviour = refuse_stream if handler.response_streaming else refuse
    return make(behaviour, handler.request_deserializer, handler.response_serializer)


def add_port(server: grpc.aio.Server, config: ServiceConfig) -> int:
    """Bind the server as configured; returns the port. Raises OSError when a file or the address can't be used."""
    try:
        if not config.tls_certificate:
            return server.add_insecure_port(config.listen)
        pair = (Path(config.tls_key).read_bytes(), Path(config.tls_certificate).read_bytes())
        return server.add_secure_port(config.listen, grpc.ssl_server_credentials([pair]))
    except RuntimeError as error:
        raise OSError(f"service.listen: cannot listen on {config.listen}: {error}") from None
