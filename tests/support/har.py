"""check_har(): that a HAR has what version 1.2 of the format demands, and nothing of a kind that it does not know.

The tables are those of the specification (http://www.softwareishard.com/blog/har-12-spec/): what each object must have,
what it may have, and of which type. Names that begin with an underscore are anybody's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

NUMBER = (int, float)

# Object: member: (its types, whether it must be there).
TABLES: dict[str, dict[str, tuple[type | tuple[type, ...], bool]]] = {
    "log": {
        "version": (str, True),
        "creator": (dict, True),
        "browser": (dict, False),
        "pages": (list, False),
        "entries": (list, True),
        "comment": (str, False),
    },
    "creator": {"name": (str, True), "version": (str, True), "comment": (str, False)},
    "entry": {
        "pageref": (str, False),
        "startedDateTime": (str, True),
        "time": (NUMBER, True),
        "request": (dict, True),
        "response": (dict, True),
        "cache": (dict, True),
        "timings": (dict, True),
        "serverIPAddress": (str, False),
        "connection": (str, False),
        "comment": (str, False),
    },
    "request": {
        "method": (str, True),
        "url": (str, True),
        "httpVersion": (str, True),
        "cookies": (list, True),
        "headers": (list, True),
        "queryString": (list, True),
        "postData": (dict, False),
        "headersSize": (int, True),
        "bodySize": (int, True),
        "comment": (str, False),
    },
    "response": {
        "status": (int, True),
        "statusText": (str, True),
        "httpVersion": (str, True),
        "cookies": (list, True),
        "headers": (list, True),
        "content": (dict, True),
        "redirectURL": (str, True),
        "headersSize": (int, True),
        "bodySize": (int, True),
        "comment": (str, False),
    },
    "pair": {"name": (str, True), "value": (str, True), "comment": (str, False)},
    # Either `params` or `text`; see below.
    "postData": {
        "mimeType": (str, True),
        "params": (list, False),
        "text": (str, False),
        "comment": (str, False),
    },
    "content": {
        "size": (int, True),
        "compression": (int, False),
        "mimeType": (str, True),
        "text": (str, False),
        "encoding": (str, False),
        "comment": (str, False),
    },
    "timings": {
        "blocked": (NUMBER, False),
        "dns": (NUMBER, False),
        "connect": (NUMBER, False),
        "send": (NUMBER, True),
        "wait": (NUMBER, True),
        "receive": (NUMBER, True),
        "ssl": (NUMBER, False),
        "comment": (str, False),
    },
}


def check_har(har: dict[str, Any]) -> list[dict[str, Any]]:
    """Its entries; fails where it is no HAR 1.2."""
    assert list(har) == ["log"]
    log = har["log"]
    _check("log", log)
    assert log["version"] == "1.2"
    _check("creator", log["creator"])
    entries: list[dict[str, Any]] = log["entries"]
    for entry in entries:
        _check_entry(entry)
    started = [datetime.fromisoformat(entry["startedDateTime"]) for entry in entries]
    assert started == sorted(started)
    assert all(time.tzinfo is not None for time in started)
    return entries


def _check(table: str, thing: dict[str, Any]) -> None:
    known = TABLES[table]
    missing = [name for name, (_, needed) in known.items() if needed and name not in thing]
    unknown = [name for name in thing if name not in known and not name.startswith("_")]
    assert not missing and not unknown, (table, missing, unknown)
    for name, value in thing.items():
        if name in known:
            assert isinstance(value, known[name][0]) and not isinstance(value, bool), (table, name, value)


def _check_entry(entry: dict[str, Any]) -> None:
    _check("entry", entry)
    for side in ("request", "response"):
        message = entry[side]
        _check(side, message)
        for pair in (*message["cookies"], *message["headers"], *message.get("queryString", ())):
            _check("pair", pair)
        assert message["headersSize"] >= -1 and message["bodySize"] >= -1
    assert "://" in entry["request"]["url"] and "#" not in entry["request"]["url"]
    post = entry["request"].get("postData")
    if post is not None:
        _check("postData", post)
        assert ("params" in post) != ("text" in post)
    content = entry["response"]["content"]
    _check("content", content)
    assert content["size"] >= 0
    timings = entry["timings"]
    _check("timings", timings)
    assert all(
        value >= 0 or (value == -1 and name not in ("send", "wait", "receive")) for name, value in timings.items()
    )
    whole = sum(value for name, value in timings.items() if name != "ssl" and value != -1)
    assert abs(entry["time"] - whole) < 1e-6
    if timings.get("ssl", -1) != -1:
        assert timings["ssl"] <= timings["connect"]
