"""Answers of a cassette as a peer in memory sends them: framed anew, since bodies may have been edited."""

from __future__ import annotations

from typing import Final

from turbosock.testing.cassettes.bodies import content_of
from turbosock.testing.cassettes.entry import RecordedAnswer, TextField, values_of
from turbosock.testing.http_peer import HttpAnswer

_BODILESS: Final = (204, 304)
_FRAMING: Final = ("content-length", "transfer-encoding", "keep-alive")


def http1_answer(answer: RecordedAnswer, method: str) -> HttpAnswer:
    """What HTTP/1.1 sends.

    Raises:
        CassetteError: the file of the body is not what was recorded.
    """
    headers: list[TextField] = answer.headers
    if method == "HEAD" or answer.status_code in _BODILESS:
        return HttpAnswer(answer.status_code, headers)
    content = content_of(answer.body)
    chunked = bool(answer.trailers) or "chunked" in ",".join(values_of(headers, "transfer-encoding")).lower()
    length = values_of(headers, "content-length")[:1]
    kept = [field for field in headers if field[0].lower() not in _FRAMING]
    if answer.cut:
        return _cut(answer.status_code, kept, content, length)
    if chunked:
        trailers = "".join(f"{name}: {value}\r\n" for name, value in answer.trailers).encode("latin-1")
        chunk = b"%x\r\n%b\r\n" % (len(content), content) if content else b""
        kept.append(("Transfer-Encoding", "chunked"))
        return HttpAnswer(answer.status_code, kept, b"%b0\r\n%b\r\n" % (chunk, trailers))
    kept.append(("Content-Length", str(len(content))))
    return HttpAnswer(answer.status_code, kept, content)


def _cut(status_code: int, headers: list[TextField], content: bytes, length: list[str]) -> HttpAnswer:
    """An answer that breaks off: the connection ends where its body was left."""
    if length and length[0].isascii() and length[0].isdigit() and int(length[0]) > len(content):
        framed = [*headers, ("Content-Length", length[0])]
        sent = content
    else:
        framed = [*headers, ("Transfer-Encoding", "chunked")]
        sent = b"%x\r\n%b\r\n" % (len(content), content) if content else b""
    answer = HttpAnswer(status_code, framed, sent)
    return HttpAnswer(status_code, framed, sent, cut_after=len(answer.serialized("GET")))
