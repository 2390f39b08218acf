"""`turbosock get URL`: one request, its body to standard output or to a file.

The body passes through one buffer, from the socket to the output, however long it is. Without `--timeout` no total
deadline applies, so that a long download may take its time; each single wait stays bounded as always.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Final

from turbosock import limits
from turbosock.cli.arguments import header, seconds, text
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.shown_head import shown_head
from turbosock.cli.sink import FileSink, Sink, StandardOutput
from turbosock.client.client import Client
from turbosock.client.progress import StatusLine, transfer_line
from turbosock.client.quantity import bytes_text, time_text
from turbosock.client.response import Response
from turbosock.config import Config, Timeouts, TlsConfig
from turbosock.errors import InvalidOption
from turbosock.proxy_config import ProxyHops
from turbosock.tls import TlsInfo

FORM_TYPE: Final = "application/x-www-form-urlencoded"

INSECURE: Final = (
    "turbosock: --insecure: the server's certificate is not checked; anybody on the way can read and change all of it\n"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `get`."""
    parser.add_argument(
        "url", metavar="URL", type=text, help="https://host/path, http://…, or http+unix://%%2Fpath%%2Fto.sock/path"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write the body to FILE, which appears when it is whole; - is stdout"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show TLS, both heads and the timing on stderr, credentials hidden"
    )
    parser.add_argument(
        "-H", "--header", metavar="'Name: value'", type=header, action="append", default=[],
        help="send this header; may be repeated",
    )  # fmt: skip
    parser.add_argument("-X", "--request", metavar="METHOD", help="the method; GET, or POST with -d, if not given")
    parser.add_argument(
        "-d", "--data", metavar="DATA", action="append",
        help=f"send DATA as the body, as {FORM_TYPE} unless -H says otherwise; repeated ones are joined with &",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, help="give up after this time, whatever the reason"
    )
    parser.add_argument("-I", "--head", action="store_true", help="ask for the head alone (HEAD), and print it")
    parser.add_argument("--fail", action="store_true", help="print no body, and fail, for a status of 400 or above")
    parser.add_argument("--cacert", metavar="FILE", help="trust the authorities in this PEM file, and not the system's")
    parser.add_argument(
        "--cert",
        metavar="FILE",
        help="show the client certificate in this PEM file, which holds its key, too, without --key",
    )
    parser.add_argument("--key", metavar="FILE", help="the key of --cert, PEM, not encrypted")
    parser.add_argument(
        "--pin", metavar="SHA256", action="append", default=[],
        help="accept no public key of the server's but this one: sha256/ and base64, or hex; repeated, one of them",
    )  # fmt: skip
    parser.add_argument(
        "--insecure", action="store_true", help="do not check the server's certificate: anybody may answer in its place"
    )
    parser.add_argument(
        "-x", "--proxy", metavar="URL", action="append", default=[],
        help="go through this proxy: http, https, socks4, socks4a, socks5 or socks5h; repeated: a chain, the nearest "
        "first; empty: none, whatever the environment says",
    )  # fmt: skip
    parser.add_argument("--noproxy", metavar="LIST", default="", help="hosts that are reached without it, with commas")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Fetch what the arguments ask for.

    Raises:
        TurbosockError: the exchange failed.
        OSError: the output could not be written.
    """
    method = _method(arguments)
    headers: list[tuple[str, str]] = arguments.header
    content = None
    if arguments.data is not None:
        # The bytes that the shell gave, whatever their encoding.
        content = os.fsencode("&".join(arguments.data))
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers = [*headers, ("Content-Type", FORM_TYPE)]
    tls = _tls(arguments)
    proxy = _proxy(arguments.proxy)
    timeouts = Timeouts(total_s=None) if arguments.timeout is None else Timeouts.of(arguments.timeout)
    # As curl does: the bytes that the server keeps, whose number is known.
    config = Config(timeouts=timeouts, tls=tls, proxy=proxy, no_proxy=arguments.noproxy, decode=False)
    # The sink first: an output that cannot be written is known before anything is sent.
    with (
        _sink(arguments.output) as sink,
        Client(config) as client,
        client.stream(method, arguments.url, headers=headers or None, content=content) as response,
    ):
        head_s = response.elapsed.total_seconds()
        head = response.head
        assert head is not None, "stream() returns with a head"
        if arguments.verbose:
            if response.tls is not None:
                sys.stderr.write(_agreement(response.tls))
            sys.stderr.write(shown_head(response.prepared.head, ">") + shown_head(head.raw, "<"))
        if arguments.fail:
            response.raise_for_status()
        if arguments.head:
            sink.write(head.raw)
        line = StatusLine(sys.stderr)
        # Where the body itself goes to the terminal, a bar would run through it; a head alone has nothing to wait for.
        line.live = line.live and isinstance(sink, FileSink) and not arguments.head
        _copy(response, sink, line, head.content_length if head.content_length >= 0 else None)
        sink.commit()
        if arguments.verbose:
            sys.stderr.write(_timing(response, head_s))
    return ExitStatus.OK


def _method(arguments: argparse.Namespace) -> str:
    method: str | None = arguments.request
    if arguments.head:
        if arguments.data is not None:
            raise InvalidOption("-I, -d: a HEAD request has no body; give one of them")
        if method not in (None, "HEAD"):
            raise InvalidOption("-I, -X: -I means HEAD; give one of them")
        return "HEAD"
    if method is not None:
        return method
    return "GET" if arguments.data is None else "POST"


def _proxy(urls: list[str]) -> ProxyHops | bool | None:
    """What -x asks for; None: what the environment says."""
    if urls == [""]:
        return False
    return tuple(urls) or None


def _tls(arguments: argparse.Namespace) -> TlsConfig:
    """Whom to trust, and what to show; a warning where that is anybody."""
    if arguments.key is not None and arguments.cert is None:
        raise InvalidOption("--key without --cert: a key is nothing without its certificate; give both")
    if arguments.insecure:
        sys.stderr.write(INSECURE)
    return TlsConfig(
        verify=not arguments.insecure,
        ca_file=arguments.cacert,
        cert_file=arguments.cert,
        key_file=arguments.key,
        pins=tuple(arguments.pin),
    )


def _agreement(tls: TlsInfo) -> str:
    """What was agreed on with the server, in one line."""
    session = "resumed" if tls.resumed else "new session"
    alpn = f"ALPN {tls.alpn}" if tls.alpn else "no ALPN"
    return f"* {tls.version}, {tls.cipher}, {alpn}, {session}, by {tls.provider} ({tls.library})\n"


def _sink(output: str | None) -> Sink:
    return StandardOutput() if output is None or output == "-" else FileSink(output)


def _copy(response: Response, sink: Sink, line: StatusLine, total: int | None) -> None:
    """Pass the body on, piece by piece, through one buffer."""
    view = memoryview(bytearray(limits.SEGMENT_BYTES))
    start_s = time.monotonic()
    done = 0
    try:
        while count := response.readinto(view):
            sink.write(view[:count])
            done += count
            if line.is_due():
                line.draw(transfer_line(done, total, time.monotonic() - start_s))
    except BaseException:
        line.keep()
        raise
    line.draw(transfer_line(done, total, time.monotonic() - start_s))
    line.keep()


def _timing(response: Response, head_s: float) -> str:
    whole_s = response.elapsed.total_seconds()
    rate = f", {bytes_text(response.nbytes / whole_s)}/s" if whole_s > 0 and response.nbytes else ""
    return (
        f"* head after {time_text(head_s)}, all after {time_text(whole_s)}: "
        f"{bytes_text(response.nbytes)} of body{rate}\n"
    )
