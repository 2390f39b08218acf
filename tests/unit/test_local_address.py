"""local_address: one address, one for each family, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from turbosock.errors import InvalidOption
from turbosock.local_address import checked_local_addresses


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        (None, ()),
        ("192.0.2.7", (("192.0.2.7", 0),)),
        ("2001:db8::7", (("2001:db8::7", 0),)),
        ("fe80::1%eth0", (("fe80::1%eth0", 0),)),
        (("192.0.2.7", 4000), (("192.0.2.7", 4000),)),
        (["192.0.2.7"], (("192.0.2.7", 0),)),
        (("192.0.2.7", "2001:db8::7"), (("192.0.2.7", 0), ("2001:db8::7", 0))),
        ([("2001:db8::7", 1), "192.0.2.7"], (("2001:db8::7", 1), ("192.0.2.7", 0))),
        ("0.0.0.0", (("0.0.0.0", 0),)),
        ([], ()),
    ],
)
def test_local_address_is_brought_into_one_form(given: Any, addresses: object) -> None:
    assert checked_local_addresses(given) == addresses
    # Which means the same again.
    assert checked_local_addresses(addresses) == addresses


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("eth0", "'eth0'"),
        ("localhost", "'localhost'"),
        ("host.example", "'host.example'"),
        ("127.1", "'127.1'"),
        ("[::1]", "::1"),
        ("::1%", "::1%"),
        ("192.0.2.7%eth0", "192"),
        ("", "''"),
        (5, "an? int"),
        (True, "a bool"),
        (b"192.0.2.7", "a bytes"),
        (("192.0.2.7", -1), "port -1"),
        (("192.0.2.7", 65_536), "port 65536"),
        (("192.0.2.7", True), "port True"),
        (("192.0.2.7", None), "port None"),
        (("192.0.2.7", 1, 2), "a int"),
        (("192.0.2.7", "192.0.2.8"), "family"),
        (["192.0.2.7", "eth0"], "'eth0'"),
        (object(), "an? object"),
    ],
)
def test_what_is_no_local_address_is_refused_by_name(given: Any, reason: str) -> None:
    with pytest.raises(InvalidOption, match=f"^local_address: .*{reason}"):
        checked_local_addresses(given)
