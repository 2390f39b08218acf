"""The benchmarks of pools, limits and lifecycle: their arithmetic, and each contestant run briefly, end to end."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support import peers
from support.bench import Load
from turbosock.tls.selfsigned import make_self_signed

BODY = "x" * 100
LOCATIONS = f"""
location = /fixed {{ return 200 "{BODY}"; }}
location = /session {{ return 200 "{BODY}"; }}
"""


class Answers:
    """Stands where a Bench does: runs nothing, and answers what it is told to."""

    def __init__(self, answer: object) -> None:
        self.rounds = 1
        self.seconds = 0.1
        self.quick = True
        self.connections = 0
        self.failures: list[str] = []
        self._answer = answer
        self.tasks: list[object] = []

    def attempt(self, task: object, notes: list[str]) -> object:
        """The answer, whoever asks."""
        self.tasks.append(task)
        return self._answer


def states(waiting: float, answering: float, idle: float) -> dict[str, float]:
    return {"waiting": waiting, "answering": answering, "idle": idle, "seconds": 1.0, "open": 1000}


@pytest.mark.parametrize(
    ("traced", "peer", "active", "idle"),
    [
        (states(3000, 70_000, 4000), 0, "met", "met"),
        (states(3000, 103_000, 5000), 0, "NOT MET", "NOT MET"),
        (states(103_000, 3000, 4500), 500, "NOT MET", "met"),
        (states(102_500, 3000, 4500), 300, "met", "NOT MET"),
    ],
)
def test_memory_of_connections_is_judged_by_the_dearest_state_without_the_peers_part(
    load: Load, traced: dict[str, float], peer: float, active: str, idle: str
) -> None:
    bench = Answers({"resident": states(1, 2, 3), "traced": traced, "peer": peer})
    tables = load("hardening").concurrent_10000(bench)
    assert len(tables) == 2
    assert str(tables[0].notes[-2]).endswith(f" {active}.")
    assert str(tables[0].notes[-1]).endswith(f" {idle}.")


def test_what_a_chain_adds_is_the_median_of_the_rounds_differences(load: Load) -> None:
    assert load("hardening").added_s([10e-6, 40e-6, 20e-6], [5e-6, 10e-6, 12e-6]) == pytest.approx(8e-6)


def test_times_is_the_median_of_the_rounds_ratios(load: Load) -> None:
    rounds = [{"full": 100.0, "ready": 1.0}, {"full": 90.0, "ready": 3.0}, {"full": 80.0, "ready": 2.0}]
    assert load("hardening").times(rounds, "full", "ready") == 40.0


@pytest.mark.parametrize("chain", ["", ", chain"])
@pytest.mark.parametrize("face", ["turbosock get", "turbosock stream", "turbosock loop"])
def test_pipeline_runs_on_every_face_with_and_without_links(load: Load, face: str, chain: str) -> None:
    task = load("task").Task("mock_pipeline", face + chain, "time", "", 0, 0.1, 0, 10, -1)
    load("workloads.mock_pipeline").CONTESTANTS[face + chain](task)(50)


def test_requests_at_once_end_well_and_cost_most_inside_an_answer(load: Load) -> None:
    task = load("task").Task("concurrent_10000", "sockets", "report", "", 0, 0.1, 50, 1, -1)
    answer = load("workloads.concurrent_10000").REPORTS["sockets"](task)
    traced = answer["traced"]
    assert traced["open"] == 50
    assert 0 < traced["waiting"] < traced["answering"]
    # A receive ring of 64 KiB is what tells them apart, and an idle connection holds none.
    assert traced["answering"] > 65_536 > traced["idle"] > 0


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    with peers.nginx(tmp_path_factory.mktemp("plain") / "nginx", big_bytes=1000, locations=LOCATIONS) as peer:
        yield peer


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    directory = tmp_path_factory.mktemp("tls")
    make_self_signed("127.0.0.1").write(directory)
    with peers.nginx(directory / "nginx", big_bytes=1000, locations=LOCATIONS, tls=directory) as peer:
        yield peer


def test_taking_a_ready_connection_is_sooner_than_dialling_one(load: Load, secure: peers.Peer) -> None:
    ca_file = os.fspath(secure.ca_file or "")
    task = load("task").Task("acquire", "turbosock", "report", secure.host, secure.port, 0.1, 64, 1, -1, ca_file)
    answer = load("workloads.acquire").REPORTS["turbosock"](task)
    assert answer.keys() == {"full", "resumed", "ready", "asked"}
    assert 0 < answer["ready"] < answer["resumed"]
    assert answer["asked"] < answer["full"]


def test_contention_counts_the_requests_of_every_thread(load: Load, plain: peers.Peer) -> None:
    task = load("task").Task("pool_contention", "turbosock", "report", plain.host, plain.port, 0.1, 0, 16, -1)
    answer = load("workloads.pool_contention").REPORTS["turbosock"](task)
    assert len(answer["counts"]) == 16
    assert min(answer["counts"]) > 0
    assert answer["connections"] <= 8


def test_contention_whose_requests_fail_is_no_result(load: Load) -> None:
    task = load("task").Task("pool_contention", "turbosock", "report", "127.0.0.1", peers.unused_port(), 0.1, 0, 4, -1)
    with pytest.raises(Exception, match="ECONNREFUSED"):
        load("workloads.pool_contention").REPORTS["turbosock"](task)


def test_churn_opens_a_connection_for_each_request_and_ends_where_it_began(
    load: Load, plain: peers.Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    contestant = "turbosock loop"
    churn = load("workloads.churn")
    for module in (churn, load("work")):
        monkeypatch.setattr(module, "GROWTH_WARM_UP", 20)
    task = load("task").Task("churn", contestant, "report", plain.host, plain.port, 0.1, 40, 1, -1)
    answer = churn.REPORTS[contestant](task)
    assert answer["before"] == answer["after"]
    # A kept ring alone would be 64 KiB for each of the 20; a heap of timers holds closed connections for a while.
    assert answer["traced"] < 100_000
