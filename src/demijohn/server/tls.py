"""TLS: contexts made of files, made anew when those change, and sockets that never block.

A TLS socket behaves as a plain one that does not block: what needs the other side raises BlockingIOError, the
handshake too, which the first `recv` begins.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
from typing import Any

from .kinds import SettingError
from .settings import Configuration, Settings

log = logging.getLogger("demijohn.server")

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_REQUIREMENTS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
# OpenSSL writes a record of at most 16 KiB at a time (RFC 8446 §5.1).
_RECORD_BYTES = 1 << 14
_RECORDS_BYTES = 1 << 16

_SENTENCE = b"This port speaks HTTPS, and the request came without TLS.\n"
_TO_PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(_SENTENCE), _SENTENCE)
)


class TLSSocket(ssl.SSLSocket):
    """The server's end of a connection with TLS."""

    _is_plain = True  # nothing is encrypted yet, or any more

    def begin(self) -> None:
        """Speak TLS from now on. Raises ConnectionAbortedError when there is nobody to speak to."""
        if self._sslobj is None:  # type: ignore[attr-defined]  # the peer has gone, which SSLSocket keeps to itself
            self.close()
            raise ConnectionAbortedError("the peer has gone before it could speak TLS")
        self._is_plain = False

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return what has arrived, b"" at the end. Raises BlockingIOError when there is nothing yet."""
        if self._is_plain:
            return socket.socket.recv(self, buflen)  # to be dropped: no need to decrypt it
        try:
            # As `recv` of SSLSocket, without its checks. bench/tls.py: with one write in `send`, 11.0 -> 10.0 us.
            return self.read(buflen)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLError as error:
            self._fail(error)
            raise

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Put what has arrived into a buffer with room for several records, and return how much; 0 at the end.

        All of a record is taken or none, for nobody is told of what OpenSSL keeps. Raises BlockingIOError when there
        is nothing yet. bench/tls.py: 5 MB in 2.7 ms, a record at a time in 3.1, and the poller is asked less often.
        """
        view = memoryview(buffer)[:nbytes]
        received = 0
        try:
            while len(view) - received >= _RECORD_BYTES:
                count: int = self.read(len(view) - received, view[received:])  # type: ignore[assignment]
                if not count:
                    break
                received += count
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if not received:
                raise BlockingIOError from None
        except ssl.SSLError as error:
            self._fail(error)
            raise
        return received

    def _fail(self, error: ssl.SSLError) -> None:
        """Say what went wrong: to the log, and to a peer that speaks HTTP without TLS."""
        self._is_plain = True
        log.info("TLS with %s failed: %s", self._peer(), _cause(error))
        if getattr(error, "reason", None) == "HTTP_REQUEST":
            with contextlib.suppress(OSError):
                socket.socket.send(self, _TO_PLAIN_HTTP)
                socket.socket.recv(self, _RECORDS_BYTES)  # what is unread at the end would cost it the answer

    def send(self, data: Any, flags: int = 0) -> int:
        """Return how much was taken. Raises BlockingIOError when that is nothing."""
        sent = 0
        try:
            if len(data) <= _RECORDS_BYTES:
                return super().send(data, flags)
            view = memoryview(data)
            while sent < len(view):
                sent += super().send(view[sent : sent + _RECORDS_BYTES], flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if not sent:
                raise BlockingIOError from None
        return sent

    def shutdown(self, how: int) -> None:
        """Say that nothing more will come (RFC 9112 §9.8), without waiting for the peer to say it too."""
        self._say_goodbye()
        socket.socket.shutdown(self, how)

    def close(self) -> None:
        self._say_goodbye()
        super().close()

    def reset(self) -> None:
        """Have the connection end without a goodbye, so that what was sent cannot be taken for complete."""
        self._is_plain = True

    def _say_goodbye(self) -> None:
        if not self._is_plain:
            self._is_plain = True
            with contextlib.suppress(OSError, ValueError):  # it waits for the peer's, or the handshake was not done
                self.unwrap()

    def _peer(self) -> str:
        try:
            name = self.getpeername()
        except OSError:
            return "a peer that is gone"
        return str(name[0]) if isinstance(name, tuple) else "a peer on a Unix socket"

    def environ(self) -> dict[str, str]:
        """Return what the environ tells of the connection, under the names of Apache's mod_ssl."""
        told = {"HTTPS": "on", "SSL_PROTOCOL": self.version() or "", "SSL_CLIENT_VERIFY": "NONE"}
        cipher = self.cipher()
        if cipher is not None:
            told["SSL_CIPHER"] = cipher[0]
        certificate = self.getpeercert()
        encoded = self.getpeercert(binary_form=True)
        if certificate and encoded:
            told["SSL_CLIENT_VERIFY"] = "SUCCESS"
            told["SSL_CLIENT_S_DN"] = _name(certificate["subject"])
            told["SSL_CLIENT_I_DN"] = _name(certificate["issuer"])
            told["SSL_CLIENT_M_SERIAL"] = str(certificate["serialNumber"])
            told["SSL_CLIENT_CERT"] = ssl.DER_cert_to_PEM_cert(encoded)
        return told


_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}


def _name(parts: Any) -> str:
    """Return a distinguished name as text (RFC 4514), most special part first."""
    pairs = [f"{_SHORT.get(kind, kind)}={_escaped(value)}" for part in reversed(parts) for kind, value in part]
    return ",".join(pairs)


def _escaped(value: str) -> str:
    return "".join(f"\\{char}" if char in '\\,+"<>;=' else char for char in value)


class TLS:
    """The TLS of all listeners of a server."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingError when the files cannot be used."""
        self._settings = settings
        self._files = [
            path
            for path in (settings.certificate, settings.private_key, settings.client_authorities)
            if path is not None
        ]
        self._state = self._state_of_files()
        try:
            self._context = self._new_context()
        except (OSError, ValueError) as error:
            raise SettingError(f"TLS cannot be served with {' and '.join(self._files)}: {_cause(error)}.") from None

    def wrap(self, sock: socket.socket) -> TLSSocket:
        """Return the TLS socket of a connection that was accepted; `sock` is used up. Raises OSError."""
        sock.getpeername()  # raises when the peer has gone; `wrap_socket` may not, or lose the descriptor
        wrapped = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        assert isinstance(wrapped, TLSSocket)
        wrapped.begin()
        return wrapped

    def renew(self) -> None:
        """Use what is in the files now, for new connections; when that is no good, what was in them before."""
        state = self._state_of_files()
        if state == self._state:
            return
        self._state = state  # so that each change is tried, and told, once
        try:
            self._context = self._new_context()
        except (OSError, ValueError) as error:
            log.error(
                "The files of TLS have changed and cannot be used, so the old ones go on: %s. Key and certificate must"
                " both be there, belong together, and be readable for the workers.",
                _cause(error),
            )
        else:
            log.info("Serving TLS with the renewed %s", self._files[0])

    def _state_of_files(self) -> list[tuple[int, int, int] | None]:
        states: list[tuple[int, int, int] | None] = []
        for path in self._files:
            try:
                status = os.stat(path)
            except OSError:
                states.append(None)
            else:
                states.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return states

    def _new_context(self) -> ssl.SSLContext:
        settings = self._settings
        if settings.ssl_context is None:
            context = self._default_context()
        else:
            made = settings.ssl_context(Configuration(settings), self._default_context)
            if not isinstance(made, ssl.SSLContext):
                raise ValueError("the hook ssl_context returned no SSLContext")
            context = made
        context.sslsocket_class = TLSSocket
        return context

    def _default_context(self) -> ssl.SSLContext:
        settings = self._settings
        assert settings.certificate is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[settings.tls_min_version]
        # RFC 9325 §3.5: a client that renegotiates makes the server work, again and again.
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(["http/1.1"])
        if settings.ciphers is not None:
            context.set_ciphers(settings.ciphers)
        context.load_cert_chain(settings.certificate, settings.private_key, _no_password)
        context.verify_mode = _REQUIREMENTS[settings.client_certificates]
        if settings.client_authorities is not None:
            context.load_verify_locations(settings.client_authorities)
        elif context.verify_mode != ssl.CERT_NONE:
            raise ValueError("--cert-reqs needs --ca-certs, which says whose certificates count")
        return context


def _no_password() -> str:
    raise ValueError("the key is encrypted, and a server cannot be asked for its password")


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None)  # of some SSLErrors
    if reason:
        return str(reason).replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error.args[-1])
