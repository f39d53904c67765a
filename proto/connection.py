"""How a client reaches the links service: address, TLS and bearer token, for blocking and asyncio callers alike."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

# A frozen or vanished peer is noticed within seconds, also on streams that are silent.
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)


@dataclass(frozen=True)
class Connection:
    """Where and how to connect. ``tls_ca`` is a PEM file; empty means plain text, for loopback."""

    address: str = "127.0.0.1:50551"
    tls_ca: str = ""
    token: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Connection":
        """From $LINKS_SERVICE or $LINKS_SERVICE_LISTEN, $LINKS_SERVICE_TLS_CA and $LINKS_SERVICE_TOKEN."""
        return cls(
            environment.get("LINKS_SERVICE") or environment.get("LINKS_SERVICE_LISTEN") or cls.address,
            environment.get("LINKS_SERVICE_TLS_CA", ""),
            environment.get("LINKS_SERVICE_TOKEN", ""),
        )

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata that every call must carry."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def channel(self, options: Sequence[tuple[str, int]] = ()) -> grpc.Channel:
        """A blocking channel; pass ``metadata`` with every call. Raises OSError when tls_ca cannot be read."""
        return self._open(grpc, (*KEEPALIVE, *options))

    def aio_channel(self, options: Sequence[tuple[str, int]] = ()) -> grpc.aio.Channel:
        """The same for asyncio."""
        return self._open(grpc.aio, (*KEEPALIVE, *options))

    def _open(self, library, options):
        if not self.tls_ca:
            return library.insecure_channel(self.address, options)
        credentials = grpc.ssl_channel_credentials(Path(self.tls_ca).read_bytes())
        return library.secure_channel(self.address, credentials, options)
