"""Cassette: a file of exchanges, as JSON that people read, edit and compare.

    {
     "turbosock_cassette": 1,
     "entries": [
      {
       "request": {"method": "GET", "url": "http://host/", "headers": ["Accept: */*"]},
       "answer": {"http_version": "HTTP/1.1", "status_code": 200, "reason": "OK",
                  "headers": ["Content-Type: text/plain"], "body": "text"}
      }
     ]
    }

Bodies that are no short text are in a folder beside it (`bodies.py`), which is named as the cassette, with `.bodies`.

Invariants: a cassette is read strictly, and what is wrong with it is told with its line, or its entry; a file is
written whole or not at all, and its bodies before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from turbosock import limits
from turbosock.errors import CassetteError, InvalidHeader, InvalidOption
from turbosock.observe.hidden import shown_url
from turbosock.protocol.http1.headers import HeaderList
from turbosock.testing.cassettes.bodies import body_as_json, body_of_json, write_whole
from turbosock.testing.cassettes.entry import Entry, RecordedAnswer, RecordedRequest, TextField
from turbosock.testing.cassettes.redaction import Redaction

_MARK: Final = "turbosock_cassette"
_VERSION: Final = 1
_HTTP_VERSIONS: Final = ("HTTP/2", "HTTP/1.1", "HTTP/1.0")
_MEND: Final = "; mend it, or record it again"

_REQUEST: Final = {"method", "url"}
_REQUEST_MAY: Final = {"headers", "body"}
_ANSWER: Final = {"http_version", "status_code"}
_ANSWER_MAY: Final = {"reason", "headers", "body", "trailers", "cut"}

_Part = TypeVar("_Part")


def folder_of(path: Path) -> Path:
    """Where the bodies of the cassette `path` are that are no short text."""
    return path.with_name(f"{path.stem}.bodies")


def save(path: Path, entries: list[Entry], redaction: Redaction) -> None:
    """Write a cassette, and remove the files of bodies that it does not need any more.

    Raises:
        OSError: it cannot be written; an older one stays as it was.
    """
    folder = folder_of(path)
    said = {_MARK: _VERSION, "entries": [_entry_as_json(entry, redaction, folder) for entry in entries]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(said, ensure_ascii=False, indent=1).encode() + b"\n")
    if folder.is_dir():
        needed = {body.path for entry in entries for body in (entry.request.body, entry.answer.body)}
        for file in folder.glob("*.bin"):
            if file not in needed:
                file.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def load(path: Path) -> list[Entry]:
    """The entries of a cassette.

    Raises:
        CassetteError: it cannot be read, or is damaged; with the line, or the entry and what is wrong in it.
    """
    try:
        if path.stat().st_size > limits.MAX_CASSETTE_BYTES:
            raise CassetteError(f"{path}: is longer than {limits.MAX_CASSETTE_BYTES} bytes, and no cassette of ours")
        text = path.read_bytes().decode()
    except OSError as error:
        raise CassetteError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CassetteError(f"{path}: is no UTF-8 at byte {error.start}{_MEND}") from error
    try:
        said = json.loads(text)
    except json.JSONDecodeError as error:
        raise CassetteError(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}{_MEND}") from error
    except ValueError as error:
        # An integer of thousands of digits.
        raise CassetteError(f"{path}: {error}{_MEND}") from error
    except RecursionError as error:
        raise CassetteError(f"{path}: is nested too deep for a cassette") from error
    if not isinstance(said, dict) or _MARK not in said:
        raise CassetteError(f"{path}: is no cassette: it has no {_MARK!r}")
    if said[_MARK] != _VERSION:
        raise CassetteError(f"{path}: has version {said[_MARK]!r}; this turbosock reads version {_VERSION}")
    listed = said.get("entries")
    if not isinstance(listed, list):
        raise CassetteError(f"{path}: has no list of entries{_MEND}")
    folder = folder_of(path)
    entries = []
    for number, each in enumerate(listed, 1):
        try:
            entries.append(_entry_of_json(each, folder, number))
        except ValueError as error:
            raise CassetteError(f"{path}, entry {number}{_told(each)}: {error}{_MEND}") from error
    return entries


def _told(each: Any) -> str:
    """What an entry calls itself, as far as it does."""
    request = each.get("request") if isinstance(each, dict) else None
    if not isinstance(request, dict):
        return ""
    return f" ({request.get('method')} {shown_url(str(request.get('url')))})"


def _entry_as_json(entry: Entry, redaction: Redaction, folder: Path) -> dict[str, Any]:
    request, answer = entry.request, entry.answer
    asked: dict[str, Any] = {"method": request.method, "url": redaction.url(request.url)}
    answered: dict[str, Any] = {
        "http_version": answer.http_version,
        "status_code": answer.status_code,
        "reason": answer.reason,
    }
    for said, message in ((asked, request), (answered, answer)):
        assert isinstance(message, (RecordedRequest, RecordedAnswer)), "the two sides"
        said["headers"] = [f"{name}: {value}" for name, value in redaction.headers(message.headers)]
        body = body_as_json(message.body, message.headers, redaction, folder)
        if body is not None:
            said["body"] = body
    if answer.trailers:
        answered["trailers"] = [f"{name}: {value}" for name, value in redaction.headers(answer.trailers)]
    if answer.cut:
        answered["cut"] = True
    return {"request": asked, "answer": answered}


def _entry_of_json(said: Any, folder: Path, number: int) -> Entry:
    parts = _members(said, "the entry", {"request", "answer"}, set())
    asked = _members(parts["request"], "request", _REQUEST, _REQUEST_MAY)
    answered = _members(parts["answer"], "answer", _ANSWER, _ANSWER_MAY)
    headers = _part("request.headers", _fields, asked.get("headers", []))
    request = RecordedRequest(
        _text("request.method", asked["method"]),
        _text("request.url", asked["url"]),
        headers,
        _part("request.body", lambda body: body_of_json(body, headers, folder), asked.get("body")),
    )
    fields = _part("answer.headers", _fields, answered.get("headers", []))
    version, status_code, cut = answered["http_version"], answered["status_code"], answered.get("cut", False)
    if version not in _HTTP_VERSIONS:
        raise ValueError(f"answer.http_version is {version!r}, and none of {', '.join(_HTTP_VERSIONS)}")
    if isinstance(status_code, bool) or not isinstance(status_code, int) or not 200 <= status_code <= 999:
        raise ValueError(f"answer.status_code is {status_code!r}, and no number from 200 to 999")
    if not isinstance(cut, bool):
        raise ValueError(f"answer.cut is {cut!r}, and neither true nor false")
    answer = RecordedAnswer(
        version,
        status_code,
        _text("answer.reason", answered.get("reason", ""), empty=True),
        fields,
        _part("answer.body", lambda body: body_of_json(body, fields, folder), answered.get("body")),
        _part("answer.trailers", _fields, answered.get("trailers", [])),
        cut,
    )
    return Entry(request, answer, number)


def _members(said: Any, what: str, needed: set[str], allowed: set[str]) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise ValueError(f"{what} is no object")
    missing, odd = needed - said.keys(), said.keys() - needed - allowed
    if missing or odd:
        raise ValueError(f"{what} has no {min(missing)!r}" if missing else f"{what} has {min(odd)!r}, which is unknown")
    return said


def _text(what: str, said: Any, *, empty: bool = False) -> str:
    if not isinstance(said, str) or not (said or empty):
        raise ValueError(f"{what} is {said!r}, and no text")
    return said


def _part(what: str, read: Callable[[Any], _Part], said: Any) -> _Part:
    try:
        return read(said)
    except (ValueError, InvalidOption) as error:
        raise ValueError(f"{what} {error}") from error


def _fields(said: Any) -> list[TextField]:
    if not isinstance(said, list):
        raise ValueError("is no list of 'Name: value'")
    found = []
    for line in said:
        if not isinstance(line, str) or ":" not in line:
            raise ValueError(f"has {line!r}, which is no 'Name: value'")
        name, _, value = line.partition(":")
        found.append((name, value.strip()))
    try:
        return HeaderList(found).items()
    except InvalidHeader as error:
        raise ValueError(f"cannot be sent: {error}") from error
