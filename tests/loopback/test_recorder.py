"""Recorder: a suite recorded against a real server passes from its cassette, and a cassette tells no secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cassettes import finished, handler, run, suite
from support.in_thread import InThread
from support.running_listener import RunningListener
from turbosock import (
    CassetteError,
    Client,
    Config,
    InvalidOption,
    Loop,
    ProtocolError,
    TlsConfig,
    TlsServerConfig,
    limits,
)
from turbosock.testing import Network, Recorder
from turbosock.tls.selfsigned import make_self_signed

KINDS = ("client", "stream", "loop")
VERSIONS = {"HTTP/1.1": {}, "HTTP/2": {"http_versions": ("HTTP/2",)}}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with RunningListener(handler) as listener:
        yield listener.url().rstrip("/")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassettes" / "suite.json"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_suite_that_was_recorded_passes_from_its_cassette_on_every_face(
    server: str, path: Path, kind: str, version: str
) -> None:
    config: dict[str, Any] = VERSIONS[version]
    with Recorder(path, mode="record") as recorder:
        expected = run(kind, server, recorder, **config)
    assert expected[0] == {"a": 1, "b": "ä"}
    assert {entry["answer"]["http_version"] for entry in json.loads(path.read_text())["entries"]} == {version}
    for other in KINDS:
        with Recorder(path, mode="replay") as recorder:
            assert run(other, server, recorder, **config) == expected
            assert recorder.unused == []


def test_answers_that_come_together_over_tls_are_recorded_whole(path: Path, tmp_path: Path) -> None:
    certificate = make_self_signed("127.0.0.1").write(tmp_path)
    config = Config(tls=TlsConfig(ca_file=str(tmp_path / "ca.pem")))
    with RunningListener(handler, TlsServerConfig(certificate)) as listener, Recorder(path) as recorder:
        url = listener.url("/echo")
        with Loop(config, connector=recorder) as loop:
            finished(loop, "GET", url)
            # Several answers in flight: their records are received together.
            exchanges = [loop.request("PUT", url, content=b"%d" % number * 1000) for number in range(50)]
            while not all(exchange.done for exchange in exchanges):
                loop.poll(1.0)
                for _ in loop.events:
                    pass
            answers = [exchange.content for exchange in exchanges]
    with Recorder(path, mode="replay") as recorder, Client(connector=recorder) as client:
        client.get(url)
        assert [client.put(url, content=b"%d" % number * 1000).content for number in range(50)] == answers


@pytest.mark.parametrize("versions", [("HTTP/1.1",), ("HTTP/2", "HTTP/1.1")])
@pytest.mark.parametrize("kind", ["stream", "loop"])
def test_suite_over_tls_is_replayed_without_it(
    path: Path, tmp_path: Path, kind: str, versions: tuple[str, ...]
) -> None:
    certificate = make_self_signed("127.0.0.1").write(tmp_path)
    tls = TlsConfig(ca_file=str(tmp_path / "ca.pem"))
    with RunningListener(handler, TlsServerConfig(certificate)) as listener, Recorder(path) as recorder:
        base = listener.url().rstrip("/")
        expected = run(kind, base, recorder, tls=tls, http_versions=versions)
    assert {entry["answer"]["http_version"] for entry in json.loads(path.read_text())["entries"]} == {versions[0]}
    with Recorder(path, mode="replay") as recorder:
        assert run(kind, base, recorder) == expected
    with Recorder(path, mode="replay", match="lenient") as recorder, Client(connector=recorder) as client:
        assert client.get(f"{base}/coded").http_version == versions[0]


def test_suite_says_the_same_on_a_network_in_memory_and_can_be_recorded_there(server: str, path: Path) -> None:
    expected = run("client", server, None)
    host, _, port = server.removeprefix("http://").partition(":")
    with Network() as network:
        network.listen((host, int(port)), handler=handler)
        with Recorder(path, inner=network) as recorder:
            assert run("client", server, recorder) == expected
    with Recorder(path, mode="replay") as recorder:
        assert run("stream", server, recorder) == expected


def test_cassette_shows_text_and_keeps_long_bodies_aside(server: str, path: Path) -> None:
    with Recorder(path) as recorder:
        run("client", server, recorder)
    entries = json.loads(path.read_text())["entries"]
    bodies = {entry["request"]["url"].removeprefix(server): entry["answer"].get("body") for entry in entries}
    assert bodies["/coded"] == "coded text"
    assert bodies["/pieces"] == "one two"
    assert bodies["/json?token=(hidden)"] == ['{"a": 1,', ' "b": "ä"}', ""]
    assert entries[-3]["request"]["body"] == "in pieces"
    # One file for each: what was put and what came of it differ, and /long is what was put.
    files = sorted(file.name for file in (path.parent / "suite.bodies").iterdir())
    assert len(files) == 2
    assert entries[4]["answer"]["body"]["file"] in files


@pytest.mark.parametrize("secret", ["pa55word", "bWU6cGE1NXdvcmQ=", "k3y", "s3cret", "t0p"])
def test_cassette_holds_no_secrets_unless_told(server: str, path: Path, secret: str) -> None:
    def ask(recorder: Recorder) -> None:
        with Client(connector=recorder) as client:
            suite(client.request, server)
            client.post(f"{server}/echo?door=t0p", headers={"Door": "t0p"}, json={"door": "t0p", "window": "open"})

    with Recorder(path, mode="record", secrets=["door"]) as recorder:
        ask(recorder)
    text = path.read_text()
    assert secret not in text
    assert "window" in text
    with Recorder(path, mode="replay", secrets=["door"]) as recorder:
        ask(recorder)
    with Recorder(path, mode="record", redact=False) as recorder:
        ask(recorder)
    assert secret in path.read_text() or secret == "pa55word"


def test_once_records_what_is_missing_and_replays_the_rest(server: str, path: Path) -> None:
    with Recorder(path) as recorder, Client(connector=recorder) as client:
        assert recorder.recording
        first = client.get(f"{server}/json").headers["date"]
    with Recorder(path) as recorder, Client(connector=recorder) as client:
        assert client.post(f"{server}/echo", content=b"new").text == "POST new"
        assert client.get(f"{server}/json").headers["date"] == first
    with Recorder(path, mode="replay", match="lenient") as recorder, Loop(connector=recorder) as loop:
        assert finished(loop, "POST", f"{server}/echo", content=b"new").text == "POST new"
        assert len(recorder.unused) == 1


@pytest.mark.parametrize("kind", ["client", "loop"])
def test_request_that_was_not_recorded_is_told_with_the_nearest_entries(server: str, path: Path, kind: str) -> None:
    with Recorder(path) as recorder, Client(connector=recorder) as client:
        client.get(f"{server}/json")
        client.post(f"{server}/echo", content=b"a")
    with (
        Recorder(path, mode="replay") as recorder,
        Client(connector=recorder) as client,
        Loop(connector=recorder) as loop,
    ):
        asks = {"client": client.request, "loop": lambda *args, **options: finished(loop, *args, **options)}
        with pytest.raises(CassetteError) as caught:
            asks[kind]("POST", f"{server}/echo?x=1", content=b"a")
        assert caught.value.code == "cassette_mismatch"
        message = str(caught.value)
        assert f"POST {server}/echo?x=1 was not recorded" in message
        assert f"entry 1 (GET {server}/json), which differs in method and URL" in message
        assert f"entry 2 (POST {server}/echo), by URL" in message
        # The cassette goes on where it was.
        assert client.get(f"{server}/json").status_code == 200


@pytest.mark.parametrize(
    ("options", "wrong"),
    [({"content": b"b"}, "body"), ({"content": b"a", "headers": {"X-Kind": "2"}}, "field 'x-kind'")],
)
def test_strict_match_looks_at_body_and_chosen_fields(
    server: str, path: Path, options: dict[str, Any], wrong: str
) -> None:
    with Recorder(path) as recorder, Client(connector=recorder) as client:
        client.post(f"{server}/echo", content=b"a", headers={"X-Kind": "1"})
    with (
        Recorder(path, mode="replay", match_headers=["X-Kind"]) as recorder,
        Client(connector=recorder) as client,
        pytest.raises(CassetteError, match=wrong),
    ):
        client.post(f"{server}/echo", **{"headers": {"X-Kind": "1"}, **options})


def test_lenient_match_answers_in_turn_and_the_last_entry_goes_on(server: str, path: Path) -> None:
    with Recorder(path) as recorder, Client(connector=recorder) as client:
        for content in (b"a", b"b"):
            client.post(f"{server}/echo", content=content)
    with Recorder(path, mode="replay", match="lenient") as recorder, Client(connector=recorder) as client:
        assert [client.post(f"{server}/echo").text for _ in range(4)] == ["POST a", "POST b", "POST b", "POST b"]


@pytest.mark.parametrize("version", VERSIONS)
def test_body_that_was_left_early_is_cut_in_the_replay(server: str, path: Path, version: str) -> None:
    config: dict[str, Any] = VERSIONS[version]
    upload = bytes(8 * limits.MIB)
    with (
        Recorder(path) as recorder,
        Client(Config(**config), connector=recorder) as client,
        client.stream("PUT", f"{server}/echo", content=upload) as response,
    ):
        first = response.read(1000)
    assert json.loads(path.read_text())["entries"][0]["answer"]["cut"] is True
    with (
        Recorder(path, mode="replay", match="lenient") as recorder,
        Client(Config(**config), connector=recorder) as client,
        client.stream("PUT", f"{server}/echo") as response,
    ):
        assert response.read(1000) == first
        with pytest.raises(ProtocolError):
            response.read(len(upload))


def test_recorder_of_a_block_that_fails_writes_nothing(server: str, path: Path) -> None:
    def ask() -> None:
        with Recorder(path) as recorder, Client(connector=recorder) as client:
            client.get(f"{server}/json")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask()
    assert not path.exists()


def test_threads_record_into_one_cassette(server: str, path: Path) -> None:
    with Recorder(path) as recorder, Client(connector=recorder) as client:

        def ask(name: str) -> list[str]:
            return [client.post(f"{server}/{name}", content=f"{name}{n}").text for n in range(20)]

        threads = [InThread(lambda name=name: ask(name)) for name in "abcd"]  # type: ignore[misc]  # its default
        assert [len(thread.outcome()) for thread in threads] == [20] * 4
    with Recorder(path, mode="replay", match="lenient") as recorder, Client(connector=recorder) as client:
        assert [client.post(f"{server}/b").text for _ in range(20)] == [f"POST b{n}" for n in range(20)]
        assert len(recorder.unused) == 60


def test_notes_beyond_memory_are_put_aside_and_lose_nothing(
    server: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECORDED_MEMORY_BYTES", 3000)
    with Recorder(path) as recorder:
        expected = run("client", server, recorder)
    with Recorder(path, mode="replay") as recorder:
        assert run("client", server, recorder) == expected


def test_file_that_is_uploaded_is_recorded(server: str, path: Path, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(200_000))
    with Recorder(path) as recorder, Client(connector=recorder) as client, upload.open("rb") as file:
        assert len(client.put(f"{server}/echo", content=file).content) == 200_004
    assert json.loads(path.read_text())["entries"][0]["request"]["body"]["bytes"] == 200_000


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "often"},
        {"match": "loose"},
        {"match_headers": [1]},
        {"match_headers": 1},
        {"redact": 1},
        {"secrets": [""]},
        {"config": 1},
    ],
)
def test_option_that_cannot_work_is_named(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(options))):
        Recorder(path, **options)


def test_path_that_is_none_is_named() -> None:
    with pytest.raises(InvalidOption, match="path"):
        Recorder(5)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InvalidOption, match="path"):
        Recorder("list\0.json")


def test_replay_of_a_cassette_that_is_not_there_says_so(path: Path) -> None:
    with pytest.raises(CassetteError, match=r"suite\.json: cannot be read"):
        Recorder(path, mode="replay")
