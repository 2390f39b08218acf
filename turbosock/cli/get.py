"""`turbosock get URL`: one request, its body to standard output or to a file.

The body passes through one buffer, from the socket to the output, however long it is. Without `--timeout` no total
deadline applies, so that a long download may take its time; each single wait stays bounded as always.

Everything that can be refused is refused, and every file opened, before anything is sent.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from typing import Final

from turbosock import limits
from turbosock.cli.credentials import credentials
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.get_options import add_options as declare
from turbosock.cli.har_file import HarFile
from turbosock.cli.hop_log import HopLog
from turbosock.cli.input_file import InputFiles
from turbosock.cli.request_body import RequestBody, request_body
from turbosock.cli.sink import FileSink, Sink, StandardOutput
from turbosock.client.client import Client
from turbosock.client.middleware import Middleware
from turbosock.client.progress import StatusLine, transfer_line
from turbosock.client.quantity import bytes_text, time_text
from turbosock.client.redirects import RedirectPolicy
from turbosock.client.response import Response
from turbosock.client.retries import RetryPolicy
from turbosock.config import Config, Timeouts, TlsConfig
from turbosock.errors import InvalidOption
from turbosock.proxy_config import Proxy, proxy_hops

INSECURE: Final = (
    "turbosock: --insecure: the server's certificate is not checked; anybody on the way can read and change all of it\n"
)

EXAMPLES: Final = """\
  turbosock get https://example.com/                      print the body
  turbosock get -v -o page.html https://example.com/      store it, and show what was said on the way
  turbosock get --json '{"name": "Ada"}' https://example.com/players
  turbosock get --http2-prior-knowledge http://127.0.0.1:8080/
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `get`."""
    declare(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Fetch what the arguments ask for.

    Raises:
        TurbosockError: the exchange failed.
        Unreadable: a file to send cannot be read.
        OSError: the output could not be written.
    """
    method = _method(arguments)
    config = _config(arguments)
    auth = credentials(arguments.user, arguments.bearer, arguments.digest, arguments.header)
    redirects = _redirects(arguments)
    # A run is one request: a budget, which protects servers from a crowd of them, would only be in the way.
    retries = RetryPolicy(count=arguments.retry, budget=None) if arguments.retry else None
    log = HopLog(say if arguments.verbose else None)
    links: list[Middleware] = [log] if arguments.verbose or arguments.head else []
    with ExitStack() as stack:
        if arguments.har is not None:
            links.append(stack.enter_context(HarFile(arguments.har, arguments.output)).recorder)
        body = request_body(arguments.data, arguments.json, arguments.form, InputFiles(stack))
        headers = _headers(arguments.header, body)
        sink = None if arguments.resume else stack.enter_context(_sink(arguments.output))
        client = stack.enter_context(Client(config, middleware=links, redirects=redirects, retries=retries))
        if sink is None:
            client.download(arguments.url, arguments.output, progress=True, headers=headers, auth=auth)
        else:
            response = stack.enter_context(
                client.stream(method, arguments.url, headers=headers, auth=auth, **body.options)
            )
            _receive(response, sink, log, arguments)
    return ExitStatus.OK


def _receive(response: Response, sink: Sink, log: HopLog, arguments: argparse.Namespace) -> None:
    """Put the answer where it belongs."""
    head_s = response.elapsed.total_seconds()
    if arguments.fail:
        response.raise_for_status()
    for raw in log.heads if arguments.head else ():
        sink.write(raw)
    line = StatusLine(sys.stderr)
    # Where the body itself goes to the terminal, a bar would run through it; a head alone has nothing to wait for.
    line.live = line.live and isinstance(sink, FileSink) and not arguments.head
    _copy(response, sink, line, _length(response, decoded=arguments.compressed))
    sink.commit()
    if arguments.verbose:
        say(_timing(response, head_s))


def say(text: str) -> None:
    """Write to standard error, if somebody is there."""
    try:
        sys.stderr.write(text)
    except OSError:
        # Nobody is left to be told.
        pass


def _method(arguments: argparse.Namespace) -> str:
    method: str | None = arguments.request
    bodies = [name for name in ("data", "json", "form") if getattr(arguments, name)]
    if arguments.head:
        if bodies:
            option = {"data": "-d", "json": "--json", "form": "-F"}[bodies[0]]
            raise InvalidOption(f"-I, {option}: a HEAD request has no body; give one of them")
        if method not in (None, "HEAD"):
            raise InvalidOption("-I, -X: -I means HEAD; give one of them")
        if arguments.resume:
            raise InvalidOption("-I, --resume: a head has no rest; give one of them")
        return "HEAD"
    if method is None:
        method = "POST" if bodies else "GET"
    if arguments.resume:
        _check_resumable(arguments, method)
    return method


def _check_resumable(arguments: argparse.Namespace, method: str) -> None:
    if arguments.output in (None, "-"):
        raise InvalidOption("--resume without -o: it goes on with a file; give both")
    if method != "GET":
        raise InvalidOption("--resume: a part is there of a GET alone; leave out -X and what is a body")
    if arguments.compressed:
        raise InvalidOption("--resume, --compressed: a part of a coded body is of no use; give one of them")


def _headers(own: list[tuple[str, str]], body: RequestBody) -> list[tuple[str, str]] | None:
    named = {name.lower() for name, _ in own}
    return [*own, *(field for field in body.headers if field[0].lower() not in named)] or None


def _redirects(arguments: argparse.Namespace) -> RedirectPolicy | None:
    count: int | None = arguments.max_redirects
    if arguments.location:
        return RedirectPolicy() if count is None else RedirectPolicy(max_redirects=count)
    if count is not None:
        raise InvalidOption("--max-redirs without -L: no redirect is followed; give both")
    return None


def _config(arguments: argparse.Namespace) -> Config:
    timeouts = Timeouts(total_s=None) if arguments.timeout is None else Timeouts.of(arguments.timeout)
    # As curl does: without --compressed the bytes that the server keeps, whose number is known.
    return Config(
        timeouts=timeouts,
        tls=tls_config(arguments),
        proxy=proxies(arguments.proxy, arguments.url),
        no_proxy=arguments.noproxy,
        decode=arguments.compressed,
        http_versions=arguments.http_versions,
    )


def proxies(urls: list[str], url: str) -> tuple[Proxy, ...] | bool | None:
    """What -x asks for; None: what the environment says."""
    if urls == [""]:
        return False
    if urls and url.lower().startswith("http+unix:"):
        raise InvalidOption("-x, http+unix: a Unix socket is on this machine; leave -x out")
    try:
        return proxy_hops(urls) or None
    except InvalidOption as error:
        raise InvalidOption(f"-x: {str(error).removeprefix('proxy: ')}") from None


def tls_config(arguments: argparse.Namespace) -> TlsConfig:
    """Whom to trust, and what to show; a warning where that is anybody."""
    if arguments.key is not None and arguments.cert is None:
        raise InvalidOption("--key without --cert: a key is nothing without its certificate; give both")
    if arguments.insecure:
        say(INSECURE)
    return TlsConfig(
        verify=not arguments.insecure,
        ca_file=arguments.cacert,
        cert_file=arguments.cert,
        key_file=arguments.key,
        pins=tuple(arguments.pin),
    )


def _sink(output: str | None) -> Sink:
    return StandardOutput() if output is None or output == "-" else FileSink(output)


def _length(response: Response, *, decoded: bool) -> int | None:
    """How much will come, where that is known."""
    head = response.head
    assert head is not None, "stream() returns with a head"
    if head.content_length < 0 or (decoded and "content-encoding" in head.headers):
        return None
    return head.content_length


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
