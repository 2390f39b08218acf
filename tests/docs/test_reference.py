"""The reference says what the code says: every public name, its signature, every error, every limit."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import turbosock
from support.tool import load_tool
from turbosock import buffers, errors
from turbosock.buffers import PooledBuffer
from turbosock.observe import HarRecorder, Observer, OpenTelemetry, PrometheusCollector
from turbosock.protocol.http1.headers import HeaderList
from turbosock.server.options import HttpOptions, TcpOptions, UdpOptions, WebSocketOptions
from turbosock.testing import (
    Answer,
    Fault,
    FaultTransport,
    LeakTracker,
    MockTransport,
    Network,
    Recorder,
    VirtualClock,
)

ROOT = Path(__file__).parents[2]
NAMES_PAGE = ROOT / "docs" / "reference" / "api.md"
ERRORS = {
    name for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, errors.TurbosockError)
}
# The errors stand in one table, and the functions in another.
FUNCTIONS = {
    name: getattr(turbosock, name) for name in turbosock.__all__ if inspect.isfunction(getattr(turbosock, name))
}
CLASSES = {
    name: getattr(turbosock, name)
    for name in turbosock.__all__
    if name not in ERRORS | FUNCTIONS.keys() | {"__version__"}
}
OBSERVE = (HarRecorder, Observer, OpenTelemetry, PrometheusCollector)
TESTING = (Answer, Fault, FaultTransport, LeakTracker, MockTransport, Network, Recorder, VirtualClock)
CLASSES |= {each.__name__: each for each in (*OBSERVE, HeaderList, PooledBuffer, *TESTING)}
FROM_DOCSTRINGS = re.compile(r"^\.\. auto(?:class|function):: (\w+)$", re.MULTILINE)
SIGNATURE = re.compile(r"^\| `(\w+)(\(.*?\))` \|", re.MULTILINE)


def section(title: str) -> str:
    """The text under one heading of the page of names."""
    return NAMES_PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def plain_signature(function: Callable[..., object]) -> str:
    """A signature without annotations and without `self`."""
    signature = inspect.signature(function)
    parameters = [each.replace(annotation=each.empty) for each in signature.parameters.values() if each.name != "self"]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_section_of_each_public_class_is_there(name: str) -> None:
    assert section(name)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_signatures_of_a_class_are_those_of_the_code(name: str) -> None:
    documented = dict(SIGNATURE.findall(section(name)))

    actual = {
        method: plain_signature(CLASSES[name] if method == name else getattr(CLASSES[name], method))
        for method in documented
    }

    assert documented == actual


def test_signatures_of_the_functions_are_those_of_the_code() -> None:
    documented = dict(SIGNATURE.findall(section("Functions")))

    assert documented == {name: plain_signature(function) for name, function in FUNCTIONS.items()}


@pytest.mark.parametrize("name", ["Client", "Loop", "Response", "Exchange"])
def test_attributes_that_a_class_is_said_to_have_exist(name: str) -> None:
    sentence = section(name).partition("\nAttributes: ")[2].partition("\n\n")[0]
    attributes = re.findall(r"`(\w+)`", sentence)
    with turbosock.Client() as client, turbosock.Loop() as loop:
        instances = {"Client": client, "Loop": loop}
        owner = instances.get(name, CLASSES[name])

        assert attributes
        assert not [attribute for attribute in attributes if not hasattr(owner, attribute)]


def test_options_of_listen_are_all_named() -> None:
    text = section("HttpListener")

    assert not [option for option in HttpOptions.__annotations__ if f"`{option}`" not in text]

    text = section("TcpListener")

    assert not [option for option in TcpOptions.__annotations__ if f"`{option}`" not in text]

    text = section("WebSocketListener")

    assert not [option for option in WebSocketOptions.__annotations__ if f"`{option}`" not in text]

    text = section("UdpListener")

    assert not [option for option in UdpOptions.__annotations__ if f"`{option}`" not in text]


@pytest.mark.parametrize("name", ["Config", "TlsConfig", "TlsServerConfig", "TlsCertificate"])
def test_fields_of_settings_are_all_named(name: str) -> None:
    text = section(name)

    assert not [field for field in inspect.signature(CLASSES[name]).parameters if not re.search(rf"\b{field}\b", text)]


@pytest.mark.parametrize("name", sorted(name for name, each in CLASSES.items() if issubclass(each, enum.Enum)))
def test_members_of_enumerations_are_all_named(name: str) -> None:
    assert not [member for member in CLASSES[name].__members__ if f"`{member}`" not in section(name)]


def test_errors_are_all_named_and_no_others() -> None:
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", section("Errors"), re.MULTILINE)
        for name in re.findall(r"\w+", row)
    }
    assert named == ERRORS


def test_errors_are_all_public() -> None:
    assert set(turbosock.__all__) >= ERRORS


def test_each_public_name_has_one_place_in_the_reference_from_docstrings() -> None:
    pages = "".join(page.read_text() for page in sorted((NAMES_PAGE.parent / "python").glob("*.rst")))

    # These have pages of all that is theirs.
    assert ".. automodule:: turbosock.errors" in pages
    assert ".. automodule:: turbosock.buffers" in pages
    assert sorted(FROM_DOCSTRINGS.findall(pages)) == sorted(
        set(turbosock.__all__) - ERRORS - {"__version__", *buffers.__all__}
    )


@pytest.fixture(scope="module")
def limits_table() -> ModuleType:
    return load_tool("limits_table.py")


def test_limits_page_is_what_limits_py_says(limits_table: ModuleType) -> None:
    assert limits_table.PAGE.read_text() == limits_table.render(), "run: python3 tools/limits_table.py --write"


def test_limits_page_has_every_bound_with_a_reason(limits_table: ModuleType) -> None:
    rows = limits_table.sections(limits_table.SOURCE.read_text(), limits_table.load(limits_table.SOURCE))
    bounds = {bound.name: bound.reason for each in rows.values() for bound in each}

    public = {name for name in vars(turbosock.limits) if name.isupper()} - limits_table.UNITS

    assert set(bounds) == public
    assert not [name for name, reason in bounds.items() if not reason]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("RETRY_BUDGET_MIN_PER_S", 1.0, "1 a second"),
        ("MAX_RETRY_BUDGET_PER_S", 1000.0, "1,000 a second"),
        ("MAX_IDLE_S", 60.0, "60 s"),
        ("TIMEOUT_SLACK_NS", 20_000_000, "20,000,000 ns"),
        ("MAX_HEAD_BYTES", 65536, "64 KiB"),
        ("MAX_HEAD_FIELDS", 256, "256"),
    ],
)
def test_value_of_a_bound_has_the_unit_that_its_name_says(
    limits_table: ModuleType, name: str, value: float, expected: str
) -> None:
    assert limits_table.shown(name, value) == expected
