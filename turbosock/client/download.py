"""Downloads: a body into a file that appears when it is whole, and that an earlier attempt may have begun.

What is there already is asked for no more: Range names the rest, and If-Range the version that it must be of (RFC 9110
§13.1.5, §14.2), so that a server whose file has changed sends all of the new one. A server that answers with another
part than was asked for, or with none, is asked once more for everything. Bodies are asked for as they are (identity): a
part of a coded representation is of no use.

Left to others: the file (`partial_file.py`), following, retries and time limits, which are those of any request.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from turbosock import limits
from turbosock.client.exchange import status_error
from turbosock.client.partial_file import PartialFile
from turbosock.client.progress import TransferBar
from turbosock.client.url import Url
from turbosock.errors import BodyTruncated, InvalidOption, ProtocolError
from turbosock.protocol.http1.headers import HeaderList

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool
    from turbosock.client.cancel_token import CancelToken
    from turbosock.client.client import Client
    from turbosock.client.request import Headers
    from turbosock.client.request_options import DownloadOptions
    from turbosock.client.response import Response
    from turbosock.client.response_body import ResponseBody
    from turbosock.client.timeout_argument import TimeoutArgument

# Bytes received so far, those of an earlier attempt included, and of all, or None where that is not known.
Received = Callable[[int, int | None], object]
# True: a bar on standard error, where that is a terminal.
ProgressArgument = Received | Literal[True] | None

_PARTIAL: Final = 206
_UNSATISFIABLE: Final = 416


def download(
    client: Client,
    url: str,
    path: str | os.PathLike[str],
    resume: bool,
    progress: ProgressArgument,
    timeout: TimeoutArgument,
    cancel: CancelToken | None,
    options: DownloadOptions,
) -> Path:
    """See `Client.download`."""
    if not isinstance(resume, bool):
        raise InvalidOption(f"resume={resume!r}: give True or False")
    told = _told(progress)
    fields = _fields(options.pop("headers", None))
    if not isinstance(url, str):
        raise InvalidOption(f"url: a {type(url).__name__} was given; give a str such as 'http://host/path'")
    # What is asked for, and not only where: a part of another query is no part of this.
    asked = Url(url, options.get("params")).full
    with PartialFile(_checked(path), asked, keeps=resume) as file, told:
        while not _fetch(client, url, file, told, timeout, cancel, fields, options):
            # Once: what was there is gone, and the next request asks for everything.
            file.begin("")
        file.commit()
    return Path(path)


def save(body: ResponseBody, buffers: BufferPool, path: str | os.PathLike[str], progress: ProgressArgument) -> Path:
    """See `Response.download`."""
    told = _told(progress)
    with PartialFile(_checked(path), body.url, keeps=False) as file, told:
        _copy(body, buffers, file, told, _announced(body, 0))
        file.commit()
    return Path(path)


def _checked(path: object) -> str | os.PathLike[str]:
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise InvalidOption(f"path: a {type(path).__name__} was given; give a str or a Path")
    return path


def _fields(headers: Headers | None) -> list[tuple[str, str]]:
    """The caller's fields, with what a download needs besides."""
    if isinstance(headers, (str, bytes)) or not isinstance(headers, (Mapping, Iterable, type(None))):
        raise InvalidOption("headers: give a mapping, or pairs of name and value")
    fields = HeaderList(headers or ())
    for name in ("range", "if-range"):
        if name in fields:
            raise InvalidOption(f"headers: {name!r} is set by the download itself; leave it out")
    pairs = fields.items()
    if "accept-encoding" not in fields:
        pairs.append(("Accept-Encoding", "identity"))
    return pairs


def _fetch(
    client: Client,
    url: str,
    file: PartialFile,
    told: TransferBar,
    timeout: TimeoutArgument,
    cancel: CancelToken | None,
    fields: list[tuple[str, str]],
    options: DownloadOptions,
) -> bool:
    """Have all of the body in `file`; False: what is there is of no use, ask for everything."""
    start = file.size
    if start:
        fields = [*fields, ("Range", f"bytes={start}-"), ("If-Range", file.validator)]
    asked: DownloadOptions = {**options, "headers": fields}
    with client.stream("GET", url, timeout=timeout, cancel=cancel, **asked) as response:
        status = response.status_code
        total: int | None
        if status == _PARTIAL:
            if not start:
                raise ProtocolError("the server sent a part (206) of what was asked for as a whole", code="bad_range")
            first, total = _content_range(response.headers.get("content-range"))
            if first != start or not _is_same_version(response, file.validator):
                return False
        elif status == _UNSATISFIABLE and start:
            _, total = _content_range(response.headers.get("content-range"))
            # All of it was there already, and only its name was not.
            return total == start
        elif 200 <= status < 300:
            file.begin(_validator(response))
            total = _announced(response, 0)
        else:
            raise status_error(response, f"status {status} {response.reason}")
        _copy(response, client.buffers, file, told, total)
        if total is not None and file.size != total:
            raise BodyTruncated(f"{file.size} of {total} bytes came; download it again to go on from there")
    return True


def _copy(body: ResponseBody, buffers: BufferPool, file: PartialFile, told: TransferBar, total: int | None) -> None:
    with buffers.rent(limits.DOWNLOAD_BLOCK_BYTES) as lease:
        view = lease.view
        told.update(file.size, total)
        while count := body.readinto(view):
            # Released, since the frames of an error would hold it beyond the lease.
            with view[:count] as block:
                file.write(block)
            told.update(file.size, total)


def _announced(body: ResponseBody, start: int) -> int | None:
    """How long the whole is, if the head of the answer tells."""
    head = body.head
    if head is None or head.coded or head.content_length < 0:
        return None
    return start + head.content_length


def _content_range(value: str | None) -> tuple[int, int | None]:
    """Where the part begins (-1: nowhere), and how long the whole is, or None (RFC 9110 §14.4)."""
    unit, _, rest = (value or "").strip().partition(" ")
    part, slash, whole = rest.strip().partition("/")
    if unit.lower() != "bytes" or not slash:
        return -1, None
    total = _number(whole)
    first, _, last = part.partition("-")
    begin, end = _number(first), _number(last)
    if begin is None or end is None or end < begin or (total is not None and end >= total):
        return -1, total
    return begin, total


def _number(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= limits.MAX_CONTENT_LENGTH_DIGITS:
        return int(text)
    return None


def _is_same_version(response: Response, validator: str) -> bool:
    """Whether nothing in the answer says that it is part of another version than was asked for."""
    if response.headers.get("content-encoding"):
        return False
    own = response.headers.get("etag" if validator.startswith('"') else "last-modified")
    return own is None or own == validator


def _validator(response: Response) -> str:
    """What this version may be asked for by, strongly (RFC 9110 §8.8, §13.1.5); "": by nothing."""
    headers = response.headers
    if headers.get("content-encoding") or (headers.get("accept-ranges") or "").lower() == "none":
        return ""
    etag = headers.get("etag") or ""
    if etag:
        # A weak one says that versions are alike, not the same.
        return etag if etag.startswith('"') and len(etag) <= limits.MAX_VALIDATOR_LENGTH else ""
    modified = headers.get("last-modified") or ""
    try:
        # A file that changed within the second of its date may have changed again in it.
        age = parsedate_to_datetime(headers.get("date") or "") - parsedate_to_datetime(modified)
    except (TypeError, ValueError):
        return ""
    return modified if age.total_seconds() >= 1 else ""


def _told(progress: object) -> TransferBar:
    if progress is not None and progress is not True and not callable(progress):
        raise InvalidOption(f"progress={progress!r}: give a function of two numbers, True for a bar, or None")
    return TransferBar(progress)
