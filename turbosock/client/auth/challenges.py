"""Challenges: what WWW-Authenticate asks for (RFC 9110 sections 11.2, 11.3 and 11.6.1).

Both lists have one separator: a comma stands between the parameters of a challenge and between challenges. What tells
them apart is that a scheme is a token without "=" behind it. Several challenges may share a field, and several fields
a message. The same lists without a scheme are in Authentication-Info (`parse_parameters`).

Invariants: each character is looked at a bounded number of times, so the work is linear in the length; the length, the
challenges and their parameters are bounded. A challenge that breaks the grammar or repeats a parameter is left out
with all that follows in its field, because where the next one begins is then a guess; those before it stand.
"""

from __future__ import annotations

from collections.abc import Iterable

from turbosock import limits
from turbosock.protocol.http1.grammar import DIGITS, LETTERS, TEXT, TOKEN

_TOKEN_CHARACTERS = frozenset(TOKEN.decode("ascii"))
_TOKEN68_CHARACTERS = frozenset((DIGITS + LETTERS + b"-._~+/").decode("ascii"))
_QUOTABLE = frozenset(TEXT.decode("latin-1"))


class Challenge:
    """One challenge.

    Attributes:
        scheme: in lower case.
        token68: the one value that some schemes have in place of parameters, or "".
        parameters: values by name in lower case; quoted strings without their quotes and escapes.
    """

    __slots__ = ("parameters", "scheme", "token68")

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme.lower()
        self.token68 = ""
        self.parameters: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Challenge {self.scheme}: {', '.join(self.parameters)}>"


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """The challenges of the values of all fields of one message, in order; broken ones are left out.

    At most `MAX_CHALLENGES`, from at most `MAX_CHALLENGE_BYTES` of values: a value that goes beyond is not read.
    """
    challenges: list[Challenge] = []
    room = limits.MAX_CHALLENGE_BYTES
    for value in values:
        room -= len(value)
        if room < 0:
            break
        _Reader(value).challenges_into(challenges)
    return challenges[: limits.MAX_CHALLENGES]


def parse_parameters(values: Iterable[str]) -> dict[str, str]:
    """The parameters of a field that has no scheme, as Authentication-Info; empty where any of it is broken."""
    parameters: dict[str, str] = {}
    room = limits.MAX_CHALLENGE_BYTES
    for value in values:
        room -= len(value)
        if room < 0 or not _Reader(value).parameters_into(parameters):
            return {}
    return parameters


class _Reader:
    """A cursor over one field value: `0 <= at <= len(text)`."""

    __slots__ = ("at", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def challenges_into(self, challenges: list[Challenge]) -> None:
        challenge: Challenge | None = None
        while self.next_element() and len(challenges) <= limits.MAX_CHALLENGES:
            start = self.at
            name = self.run(_TOKEN_CHARACTERS)
            if not name:
                break
            if challenge is not None and self.has_equals():
                # A parameter of the challenge that is open, which has one already: a comma never begins them.
                if not challenge.parameters or not self.parameter_into(challenge.parameters, start):
                    challenges.pop()
                    return
                continue
            challenge = Challenge(name)
            challenges.append(challenge)
            spaces = self.skip(" ")
            if self.at_end_of_element():
                continue
            if not spaces or not self.first_into(challenge):
                challenges.pop()
                return
        else:
            return
        # Something that is neither a scheme nor a parameter: the challenge before it may not be whole.
        if challenge is not None:
            challenges.pop()

    def first_into(self, challenge: Challenge) -> bool:
        """What stands behind a scheme: a token68, or the first parameter."""
        start = self.at
        self.run(_TOKEN68_CHARACTERS)
        if self.at > start:
            while self.peek() == "=":
                self.at += 1
            token68 = self.text[start : self.at]
            if self.at_end_of_element():
                challenge.token68 = token68
                return True
        self.at = start
        return bool(self.run(_TOKEN_CHARACTERS)) and self.parameter_into(challenge.parameters, start)

    def parameters_into(self, parameters: dict[str, str]) -> bool:
        while self.next_element():
            start = self.at
            if not self.run(_TOKEN_CHARACTERS) or not self.parameter_into(parameters, start):
                return False
        return True

    def parameter_into(self, parameters: dict[str, str], start: int) -> bool:
        """Take `name BWS "=" BWS value`; the name, from `start`, has been read. False: broken, or a name repeated."""
        name = self.text[start : self.at].lower()
        if not self.has_equals():
            return False
        self.skip(" \t")
        self.at += 1
        self.skip(" \t")
        value = self.quoted() if self.peek() == '"' else (self.run(_TOKEN_CHARACTERS) or None)
        if value is None or name in parameters or len(parameters) >= limits.MAX_CHALLENGE_PARAMETERS:
            return False
        parameters[name] = value
        return self.at_end_of_element()

    def quoted(self) -> str | None:
        """The content of a quoted-string (RFC 9110 section 5.6.4), or None without its end."""
        text = self.text
        at = self.at + 1
        parts: list[str] = []
        while at < len(text):
            character = text[at]
            if character == '"':
                self.at = at + 1
                return "".join(parts)
            if character == "\\":
                at += 1
                character = text[at : at + 1]
            if character not in _QUOTABLE:
                return None
            parts.append(character)
            at += 1
        return None

    def next_element(self) -> bool:
        """Go to the next element of the list, past empty ones (RFC 9110 section 5.6.1.2); False at the end."""
        self.skip(" \t,")
        return self.at < len(self.text)

    def has_equals(self) -> bool:
        """Whether the next character that is no white space is "=", which a scheme never has behind it."""
        at = self.at
        self.skip(" \t")
        found = self.peek() == "="
        self.at = at
        return found

    def at_end_of_element(self) -> bool:
        """Whether a comma or the end is next, past white space."""
        at = self.at
        self.skip(" \t")
        found = self.peek() in ("", ",")
        self.at = at
        return found

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def run(self, characters: frozenset[str]) -> str:
        """Take the longest run of `characters`."""
        text = self.text
        start = at = self.at
        while at < len(text) and text[at] in characters:
            at += 1
        self.at = at
        return text[start:at]

    def skip(self, characters: str) -> bool:
        start = self.at
        text = self.text
        at = start
        while at < len(text) and text[at] in characters:
            at += 1
        self.at = at
        return at > start
