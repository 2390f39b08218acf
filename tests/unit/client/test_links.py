"""Link fields (RFC 8288): the links by what they are, with absolute targets."""

from __future__ import annotations

import time

import pytest

from turbosock.client.links import parse_links

BASE = "http://host:8080/a/b?page=2"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ('<http://other/x>; rel="next"', {"next": "http://other/x"}),
        ("</c?p=3>; rel=next, <?p=1>;rel=prev", {"next": "http://host:8080/c?p=3", "prev": "http://host:8080/a/b?p=1"}),
        ('<../x>; rel="a B"', {"a": "http://host:8080/x", "b": "http://host:8080/x"}),
        ("<//other/x>; rel=next", {"next": "http://other/x"}),
        ('<x,y;z>; rel="next"; title="a, \\"b\\" <c>; d"', {"next": "http://host:8080/a/x,y;z"}),
        ("<x>;rel=next;rel=prev", {"next": "http://host:8080/a/x"}),
        ("<x>; rel=next, <y>; rel=next", {"next": "http://host:8080/a/x"}),
        ('<x>; rel=next; anchor="#there"', {}),
        ("<x>", {}),
        ("<x>; rel", {}),
        ("x; rel=next", {}),
        ("<x; rel=next", {}),
        ("<x>; ; rel=next", {"next": "http://host:8080/a/x"}),
        ('<x>; rel="next', {"next": "http://host:8080/a/x"}),
        ("<x>nonsense, <y>; rel=next", {"next": "http://host:8080/a/y"}),
        ("", {}),
    ],
)  # fmt: skip
def test_links_are_found_by_relation(field: str, expected: dict[str, str]) -> None:
    assert {relation: link["url"] for relation, link in parse_links([field], BASE).items()} == expected


def test_parameters_are_kept_by_their_names_in_lower_case() -> None:
    links = parse_links(['<x>; Rel=next; TITLE="a \\"b\\""; type=text/html; flag'], BASE)

    assert links["next"] == {
        "url": "http://host:8080/a/x", "rel": "next", "title": 'a "b"', "type": "text/html", "flag": "",
    }  # fmt: skip


def test_several_fields_are_one_list() -> None:
    assert list(parse_links(["<a>; rel=one", "<b>; rel=two"], BASE)) == ["one", "two"]


@pytest.mark.parametrize("piece", ["<", "<>", "<x>;", '<x>;a="', "<x>;a=b,", '"\\', ";,", "<x>; rel=a "])
def test_time_grows_with_the_length_and_not_faster(piece: str) -> None:
    def cost_s(count: int) -> float:
        field = piece * count
        best = 10.0
        for _ in range(3):
            start = time.process_time()
            parse_links([field], BASE)
            best = min(best, time.process_time() - start)
        return best

    cost_s(100)
    assert cost_s(16_000) < 0.2 + 20 * cost_s(2_000)
