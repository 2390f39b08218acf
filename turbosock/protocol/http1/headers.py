"""HeaderList: the fields of one message, in order, with case and duplicates kept, found without regard to case.

RFC 9110 §5. Fields stay bytes until somebody asks for text; text is Latin-1, which loses nothing.

Invariants: `len(keys) == len(raw)`, and `keys[i]` is `raw[i][0]` in lower case. Every field of every HeaderList is
valid by `grammar.py`, whoever made it: the constructor checks what users give, `fields.py` what peers send. So the
serializer writes a HeaderList as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias, overload

from turbosock.errors import InvalidHeader
from turbosock.protocol.http1.grammar import checked_name, checked_value

Field: TypeAlias = tuple[bytes, bytes]
HeaderItems: TypeAlias = (
    "HeaderList | Mapping[str, str] | Mapping[str, bytes] | Mapping[bytes, bytes] | Mapping[str, str | bytes]"
    " | Iterable[tuple[str | bytes, str | bytes]]"
)

# Values that `repr` hides: they are, or may hold, credentials.
SECRET_KEYS = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"))


class HeaderList:
    """The fields of a message: ordered, duplicates kept, looked up without case; read-only.

    Behaves as a mapping of str to str for reading: `headers["content-type"]`, `get`, `in`, `items()`, `keys()`.
    The length, the iteration and `items()` count every field, duplicates too.

    Args:
        items: a mapping, or an iterable of (name, value) pairs, of str or bytes; text values are sent as Latin-1.

    Raises:
        InvalidHeader: a name or value is not valid by RFC 9110 §5; the message names the field, not its value.
    """

    __slots__ = ("_keys", "_raw")

    def __init__(self, items: HeaderItems = ()) -> None:
        if isinstance(items, HeaderList):
            self._raw: tuple[Field, ...] = items._raw
            self._keys: list[bytes] = items._keys
            return
        raw: list[Field] = []
        pairs: Iterable[object] = items.items() if isinstance(items, Mapping) else items
        for pair in pairs:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise InvalidHeader("headers: must be a mapping or pairs of a name and a value")
            name = checked_name(pair[0])
            raw.append((name, checked_value(name, pair[1])))
        self._raw = tuple(raw)
        self._keys = [field[0].lower() for field in raw]

    @classmethod
    def of_valid(cls, raw: Iterable[Field], keys: list[bytes]) -> HeaderList:
        """A list of fields that were checked already; `keys` are their names in lower case, owned by the list."""
        headers = cls.__new__(cls)
        headers._raw = tuple(raw)
        headers._keys = keys
        return headers

    @property
    def raw(self) -> tuple[Field, ...]:
        """Every field as (name, value) bytes, in order, in its own case."""
        return self._raw

    def joined(self, key: bytes) -> bytes | None:
        """The values of the field `key`, in lower case, joined with ", ", or None without it (RFC 9110 §5.3)."""
        keys = self._keys
        count = keys.count(key)
        if count == 0:
            return None
        if count == 1:
            return self._raw[keys.index(key)][1]
        return b", ".join([field[1] for field, own in zip(self._raw, keys, strict=True) if own == key])

    def count(self, key: bytes) -> int:
        """How many fields are named `key`, which is in lower case."""
        return self._keys.count(key)

    def get_all(self, name: str) -> list[str]:
        """The value of every field of this name, in order; an empty list without one."""
        key = _key(name)
        return [field[1].decode("latin-1") for field, own in zip(self._raw, self._keys, strict=True) if own == key]

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    @overload
    def get(self, name: str, default: None) -> str | None: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of the field, joined as by `headers[name]`, or `default` without it."""
        key = _key(name)
        if key == b"set-cookie":
            return self._raw[self._keys.index(key)][1].decode("latin-1") if key in self._keys else default
        value = self.joined(key)
        return default if value is None else value.decode("latin-1")

    def __getitem__(self, name: str) -> str:
        """The value of the field; duplicates are joined with ", ", but of several Set-Cookie the first is returned.

        A cookie's date holds a comma, so that joined cookies cannot be told apart (RFC 6265 §3): use `get_all`.
        Raises KeyError without such a field.
        """
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _key(name) in self._keys

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        """The name of every field, in order, in its own case."""
        return [name.decode("latin-1") for name, _ in self._raw]

    def values(self) -> list[str]:
        """The value of every field, in order."""
        return [value.decode("latin-1") for _, value in self._raw]

    def items(self) -> list[tuple[str, str]]:
        """Every field as (name, value), in order, in its own case."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._raw]

    def __eq__(self, other: object) -> bool:
        """Whether the other list has the same fields in the same order; names are compared without case."""
        if not isinstance(other, HeaderList):
            return NotImplemented
        return self._keys == other._keys and [v for _, v in self._raw] == [v for _, v in other._raw]

    def __hash__(self) -> int:
        return hash((tuple(self._keys), tuple(value for _, value in self._raw)))

    def __repr__(self) -> str:
        parts = [
            f"({name.decode('latin-1')!r}, {'<hidden>' if key in SECRET_KEYS else value.decode('latin-1')!r})"
            for (name, value), key in zip(self._raw, self._keys, strict=True)
        ]
        return f"HeaderList([{', '.join(parts)}])"


def _key(name: str) -> bytes:
    """A name as `keys` holds it; one that cannot be a field's name finds nothing."""
    return name.lower().encode("latin-1", "replace")
