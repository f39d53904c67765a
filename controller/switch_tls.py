"""TLS to the switches, for a process that eventlet has monkey-patched."""

import logging
import ssl
from collections.abc import Callable

import eventlet

from controller.config import ConfigError, OpenFlowConfig

_HANDSHAKE_S = 5.0
_AT_ONCE = 64  # handshakes; more connections wait in the kernel's queue

log = logging.getLogger("links.tls")


def context_of(settings: OpenFlowConfig) -> ssl.SSLContext:
    """The context in which switches must show a certificate of ``tls_ca``. Raises ConfigError."""
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings.tls_ca)
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"openflow: tls_certificate, tls_key and tls_ca must name PEM files that can be read and fit: {error}"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class TlsServer:
    """Takes the place of Ryu's own server, which uses up its context with the first connection."""

    def __init__(self, context: ssl.SSLContext, address: tuple[str, int], handle: Callable):
        self._context, self._handle = context, handle
        self._socket = eventlet.listen(address)
        self._handshakes = eventlet.GreenPool(_AT_ONCE)

    def serve_forever(self) -> None:
        while True:
            connection, address = self._socket.accept()
            self._handshakes.spawn_n(self._shake_hands, connection, address)

    def _shake_hands(self, connection, address: tuple) -> None:
        with eventlet.Timeout(_HANDSHAKE_S, False):
            try:
                secured = self._context.wrap_socket(connection, server_side=True)
            except OSError as error:  # ssl.SSLError among them
                log.error("switch at %s: no TLS: %s", address[0], getattr(error, "reason", None) or error)
                connection.close()
                return
            eventlet.spawn_n(self._handle, secured, address)
            return
        log.error("switch at %s: no TLS: its handshake took more than %g s", address[0], _HANDSHAKE_S)
        connection.close()
