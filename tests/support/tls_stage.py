"""Clients of a TLS listener on a stage (`support.http_stage`): the standard library's engine in memory, in steps."""

from __future__ import annotations

import ssl

from support.http_stage import Answer, Peer, Stage, read_answers
from support.tls import HOST, Files, Leaf

MAX_STEPS = 100


def trusting(ca_pem: bytes, *, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """A client's context that trusts this authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca_pem.decode())
    context.set_alpn_protocols(list(alpn))
    return context


def showing(context: ssl.SSLContext, leaf: Leaf, files: Files) -> ssl.SSLContext:
    """The context, which now shows a client certificate."""
    context.load_cert_chain(files.write(leaf.pem()))
    return context


class TlsPeer:
    """A client over TLS.

    Attributes:
        wire: the bare client, whose bytes are records.
        engine: the standard library's.
        received: what was decrypted.
        ended: the listener has said close_notify.
        error: why the engine gave up.
    """

    def __init__(self, stage: Stage, context: ssl.SSLContext, host: str = HOST) -> None:
        self.wire: Peer = stage.connect()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.engine = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._fed = 0
        self.received = b""
        self.ended = False
        self.error: ssl.SSLError | None = None

    def hello(self) -> bytes:
        """The first flight, which is not sent."""
        try:
            self.engine.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()

    def flush(self) -> None:
        """Send what the engine has made."""
        data = self._outgoing.read()
        if data:
            self.wire.send(data)

    def feed(self) -> bool:
        """Hand what has come to the engine; whether there was something."""
        data = self.wire.look()[self._fed :]
        self._fed += len(data)
        if data:
            self._incoming.write(data)
        if self.wire.ended:
            self._incoming.write_eof()
        return bool(data)

    def shake(self) -> bool:
        """Take the handshake to its end; False: the engine gave up, or the listener did."""
        for _ in range(MAX_STEPS):
            try:
                self.engine.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                if not self.feed() and self.wire.ended:
                    return False
            except ssl.SSLError as error:
                self.error = error
                self.flush()
                return False
            else:
                self.flush()
                return True
        raise AssertionError("the handshake does not end")

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        self.engine.write(data)
        self.flush()

    def look(self) -> bytes:
        """Take what has come, with turns, until nothing more does; everything that was decrypted so far."""
        for _ in range(MAX_STEPS * MAX_STEPS):
            try:
                data = self.engine.read(1 << 16)
                self.ended = self.ended or not data
                self.received += data
                if data:
                    continue
            except ssl.SSLWantReadError:
                self.wire.stage.turn()
                if self.feed():
                    continue
            except ssl.SSLZeroReturnError:
                self.ended = True
            except ssl.SSLError as error:
                self.error = error
            return self.received
        raise AssertionError("the answer has no end")

    def answers(self, *methods: str) -> list[Answer]:
        """What was answered so far to requests of these methods (GET without any)."""
        return read_answers(self.look(), list(methods) or ["GET"], ended=self.ended)
