"""Arguments: what is refused is refused by name, and no value is repeated."""

from __future__ import annotations

import argparse

import pytest

from turbosock.cli.arguments import Parser, count_up_to, header, seconds, seconds_or_zero, seconds_up_to, text


def make_parser() -> Parser:
    parser = Parser("prog", "A program.")
    parser.add_argument("--header", type=header)
    parser.add_argument("url", nargs="?")
    return parser


@pytest.mark.parametrize("argument", ["0.25", "1e-3", "31536000"])
def test_seconds_of_a_usable_time_are_that_time(argument: str) -> None:
    assert seconds(argument) == float(argument)


@pytest.mark.parametrize("argument", ["", "soon", "0", "-1", "nan", "inf", "31536001", "1_0_"])
def test_seconds_of_anything_else_are_refused(argument: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="seconds"):
        seconds(argument)


def test_seconds_or_zero_take_both_and_nothing_below() -> None:
    assert [seconds_or_zero("0"), seconds_or_zero("1.5")] == [0.0, 1.5]
    with pytest.raises(argparse.ArgumentTypeError, match="more than 0"):
        seconds_or_zero("-1")


def test_seconds_up_to_a_maximum_take_it_and_no_more() -> None:
    bounded = seconds_up_to(12.0)
    assert bounded("12") == 12.0
    with pytest.raises(argparse.ArgumentTypeError, match="at most 12 seconds"):
        bounded("12.1")


@pytest.mark.parametrize(
    ("argument", "field"),
    [
        ("Accept: text/html", ("Accept", "text/html")),
        ("Accept:text/html", ("Accept", "text/html")),
        ("X-Time: 10:30 \t", ("X-Time", "10:30")),
        ("X-Empty:", ("X-Empty", "")),
    ],
)
def test_header_with_a_colon_is_split_at_the_first(argument: str, field: tuple[str, str]) -> None:
    assert header(argument) == field


@pytest.mark.parametrize("argument", ["", "secret", ":secret"])
def test_header_without_a_name_is_refused_without_its_value(argument: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as raised:
        header(argument)
    assert "Name: value" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_text_with_bytes_that_are_not_utf_8_is_refused() -> None:
    assert text("http://host/ü") == "http://host/ü"
    with pytest.raises(argparse.ArgumentTypeError, match="UTF-8"):
        text("http://host/\udcff")


def test_parser_stray_option_is_named_without_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        make_parser().parse_strictly(["--heade=token:secret", "url"])
    assert raised.value.code == 2
    said = capsys.readouterr().err
    assert "--heade" in said
    assert "secret" not in said


def test_parser_stray_option_is_named_without_what_is_glued_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_strictly(["-Uuser:secret", "url"])
    said = capsys.readouterr().err
    assert ": not an option here: -U; " in said
    assert "secret" not in said


@pytest.mark.parametrize(("argument", "count"), [("0", 0), ("7", 7), ("10", 10), ("03", 3)])
def test_count_up_to_a_maximum_takes_it_and_no_more(argument: str, count: int) -> None:
    assert count_up_to(10)(argument) == count


@pytest.mark.parametrize("argument", ["", "11", "-1", "1.5", "many", "²", "1" * 5000])
def test_count_of_anything_else_is_refused_without_it(argument: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as raised:
        count_up_to(10)(argument)
    assert str(raised.value) == "give a number from 0 to 10"


def test_count_below_its_minimum_is_refused() -> None:
    assert count_up_to(10, 1)("1") == 1
    with pytest.raises(argparse.ArgumentTypeError, match="give a number from 1 to 10"):
        count_up_to(10, 1)("0")


def test_parser_stray_word_is_counted_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        make_parser().parse_strictly(["url", "Authorization: secret", "other"])
    assert raised.value.code == 2
    said = capsys.readouterr().err
    assert "2 argument(s) too many" in said
    assert "secret" not in said


def test_parser_sound_arguments_are_parsed() -> None:
    arguments = make_parser().parse_strictly(["--header", "A: b", "http://host/"])
    assert (arguments.header, arguments.url) == (("A", "b"), "http://host/")
