"""The options of `turbosock get`: their names, their help, and the types that they become.

Names are curl's wherever an option does what curl's does. Which of them exclude each other is said by the files that
know why.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from turbosock import limits
from turbosock.cli.arguments import count_up_to, header, seconds, text
from turbosock.cli.form_part import form_part, form_string
from turbosock.cli.request_body import Data, DataKind
from turbosock.client.form import FORM_TYPE
from turbosock.config import HTTP_VERSIONS


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare all of them."""
    parser.add_argument(
        "url", metavar="URL", type=text, help="https://host/path, http://…, or http+unix://%%2Fpath%%2Fto.sock/path"
    )
    _add_output(parser)
    _add_request(parser)
    _add_way(parser)
    add_version(parser)
    add_tls(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write the body to FILE, which appears when it is whole; - is stdout"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true",
        help="show TLS, all heads and the timing on stderr, credentials hidden",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="keep in FILE.part what came of a failed -o FILE, and go on"
    )
    parser.add_argument("--har", metavar="FILE", help="record the run in FILE (HAR 1.2), however it ends")
    parser.add_argument(
        "-f", "--fail", action="store_true", help="print no body, and fail, for a status of 400 or above"
    )
    parser.add_argument("--compressed", action="store_true", help="ask for content codings, and undo them")


def _add_request(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-H", "--header", metavar="'Name: value'", type=header, action="append", default=[],
        help="send this header; may be repeated",
    )  # fmt: skip
    parser.add_argument("-X", "--request", metavar="METHOD", help="the method; GET, or POST with a body, if not given")
    parser.add_argument("-I", "--head", action="store_true", help="ask for the head alone (HEAD), and print it")
    _add_data(
        parser, "data", DataKind.DATA, "-d", "--data",
        help=f"send DATA, or @FILE without its line ends (@-: stdin), as {FORM_TYPE}; repeated ones are joined by &",
    )  # fmt: skip
    _add_data(parser, "data", DataKind.RAW, "--data-raw", help="as -d, and a leading @ means nothing")
    _add_data(parser, "data", DataKind.BINARY, "--data-binary", help="as -d, and @FILE is sent as it is, and streamed")
    _add_data(
        parser, "json", DataKind.JSON, "--json",
        help="send DATA, or @FILE as it is, as application/json, and ask for that; repeated ones are put together",
    )  # fmt: skip
    parser.add_argument(
        "-F", "--form", metavar="NAME=VALUE", type=form_part, action="append", default=[], dest="form",
        help="send a field of a form, or a file by NAME=@FILE[;type=T][;filename=N]; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--form-string", metavar="NAME=VALUE", type=form_string, action="append", dest="form",
        help="as -F, and nothing in VALUE has a meaning",
    )  # fmt: skip
    parser.add_argument(
        "-u", "--user", metavar="USER[:PASSWORD]", help="basic authentication; asks for a password that is not given"
    )
    parser.add_argument("--digest", action="store_true", help="prove the password of -u instead of sending it")
    parser.add_argument("--bearer", "--oauth2-bearer", metavar="TOKEN", help="send this bearer token")


def _add_data(parser: argparse.ArgumentParser, dest: str, kind: DataKind, *names: str, help: str) -> None:
    parser.add_argument(*names, metavar="DATA", dest=dest, action="append", default=[], type=_data(kind), help=help)


def _data(kind: DataKind) -> Callable[[str], Data]:
    return lambda argument: Data(kind, argument)


def _add_way(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-L", "--location", action="store_true", help="follow redirects")
    parser.add_argument(
        "--max-redirs", metavar="N", type=count_up_to(limits.MAX_REDIRECTS), dest="max_redirects",
        help=f"with -L: follow N redirects at most; {limits.REDIRECTS} if not given",
    )  # fmt: skip
    parser.add_argument(
        "--retry", metavar="N", type=count_up_to(limits.MAX_ATTEMPTS - 1), default=0,
        help="try up to N times more, with pauses, what may be sent twice",
    )  # fmt: skip
    parser.add_argument(
        "-m", "--timeout", "--max-time", metavar="SECONDS", type=seconds,
        help="give up after this time, whatever the reason",
    )  # fmt: skip
    add_proxy(parser)


def add_proxy(parser: argparse.ArgumentParser) -> None:
    """Declare those of proxies."""
    parser.add_argument(
        "-x", "--proxy", metavar="URL", action="append", default=[], type=text,
        help="go through this proxy: http, https, socks4, socks4a, socks5 or socks5h; repeated: a chain, the nearest "
        "first; empty: none, whatever the environment says",
    )  # fmt: skip
    parser.add_argument(
        "--noproxy", metavar="HOSTS", default="", help="hosts to reach without a proxy, as NO_PROXY has them; * is all"
    )


def add_version(parser: argparse.ArgumentParser) -> None:
    """Declare those that choose a version of HTTP."""
    versions = parser.add_mutually_exclusive_group()
    versions.add_argument(
        "--http2", action="store_const", dest="http_versions", const=HTTP_VERSIONS, default=HTTP_VERSIONS,
        help="HTTP/2 over https where the server agrees, which is the default",
    )  # fmt: skip
    versions.add_argument(
        "--http2-prior-knowledge", action="store_const", dest="http_versions", const=("HTTP/2",),
        help="HTTP/2 and nothing else, also over http, to a server that is known to speak it",
    )  # fmt: skip
    versions.add_argument(
        "--http1.1", action="store_const", dest="http_versions", const=("HTTP/1.1",), help="HTTP/1.1 and nothing else"
    )


def add_tls(parser: argparse.ArgumentParser) -> None:
    """Declare those of TLS."""
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
        "-k", "--insecure", action="store_true",
        help="do not check the server's certificate: anybody may answer in its place",
    )  # fmt: skip
