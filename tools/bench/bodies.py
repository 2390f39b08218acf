"""Workloads of large bodies: what decoding costs, and what memory a body takes."""

from __future__ import annotations

import importlib
import random
import statistics
import zlib
from pathlib import Path

import promises
from bench import Bench
from promises import SAME_CORE
from report import Table
from task import BIG_BYTES

MIB = 1024 * 1024


def write_coded(path: Path) -> int:
    """Write BIG_BYTES of words as gzip; how many bytes that are."""
    chooser = random.Random(1)
    words = [bytes(chooser.choices(b"abcdefghijklmnopqrstuvwxyz", k=chooser.randrange(2, 10))) for _ in range(5000)]
    text = b" ".join(chooser.choices(words, k=MIB // 4))[:MIB]
    coder = zlib.compressobj(6, wbits=31)
    with path.open("wb") as file:
        for _ in range(BIG_BYTES // MIB):
            file.write(coder.compress(text))
        file.write(coder.flush())
    return path.stat().st_size


def reports(bench: Bench, workload: str, table: Table, *, coded: bool = False) -> dict[str, dict[str, float]]:
    """The median report of each contestant, over the rounds."""
    names = importlib.import_module(f"workloads.{workload}").REPORTS
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    placement = bench.placements()[-1]
    with bench.server(placement) as peer:
        if coded:
            size = write_coded(peer.root / "coded")
            table.notes.append(f"{size / MIB:.1f} MiB of gzip for {BIG_BYTES // MIB} MiB of words.")
        for _ in range(bench.rounds):
            for name in list(answers):
                answer = bench.attempt(bench.task(peer, workload, name, "report"), table.notes)
                if answer is None:
                    del answers[name]
                else:
                    answers[name].append(answer)
    table.title += f"; server and client on {'the ' if placement == SAME_CORE else ''}{placement}"
    return {
        name: {key: statistics.median(answer[key] for answer in rounds) for key in rounds[0]}
        for name, rounds in answers.items()
        if rounds
    }


def draw_rates(table: Table, answers: dict[str, dict[str, float]]) -> None:
    """The medians, as bars."""
    table.draw("MB/s", {name: [BIG_BYTES / answer["seconds"] / 1e6] for name, answer in answers.items()})


def gzip_download(bench: Bench) -> list[Table]:
    """100 MB of content that come as gzip; by isal, the extra `fast-gzip`, unless zlib is named."""
    table = Table(
        "gzip_download: 100 MB of content that come as gzip", ["", "MB/s of content", "zlib / it", "peak above idle"]
    )
    answers = reports(bench, "gzip_download", table, coded=True)
    for name, answer in answers.items():
        share = f"{answer['seconds'] / answers['zlib']['seconds']:.2f}" if "zlib" in answers else ""
        rate = f"{BIG_BYTES / answer['seconds'] / 1e6:,.0f}"
        table.rows.append([name, rate, share, f"{answer['peak'] / MIB:.2f} MiB"])
    draw_rates(table, answers)
    floor = answers.get("zlib")
    for name in ("turbosock stream", "turbosock stream, zlib"):
        ours = answers.get(name)
        if ours is None or floor is None:
            continue
        speed = floor["seconds"] / ours["seconds"]
        met = speed >= promises.DECODING_RATE and ours["peak"] < promises.DECODING_PEAK_BYTES
        table.judge(
            f"{name} ≥ {promises.DECODING_RATE:g} × zlib, and memory < {promises.DECODING_PEAK_BYTES // MIB} MiB above"
            " idle",
            f"{speed:.2f}, {ours['peak'] / MIB:.2f} MiB",
            met,
        )
    return [table]


def large_body(bench: Bench) -> list[Table]:
    """100 MB of body in memory."""
    table = Table("large_body: 100 MB in memory", ["", "MB/s", "peak / body", "largest allocation"])
    answers = reports(bench, "large_body", table)
    for name, answer in answers.items():
        rate = f"{BIG_BYTES / answer['seconds'] / 1e6:,.0f}"
        table.rows.append([name, rate, f"{answer['peak'] / BIG_BYTES:.3f}", f"{answer['largest']:,.0f}"])
    draw_rates(table, answers)
    content, segments = answers.get("turbosock content"), answers.get("turbosock segments")
    if content is not None:
        share = content["peak"] / BIG_BYTES
        table.judge(
            f"turbosock content peaks at < {promises.CONTENT_PEAK:g} × the body",
            f"{share:.3f}",
            share < promises.CONTENT_PEAK,
        )
    if segments is not None:
        largest = segments["largest"]
        table.judge(
            f"turbosock segments make no allocation above one segment, {promises.SEGMENT_ALLOCATION_BYTES:,} bytes with"
            " CPython's own",
            f"{largest:,.0f}",
            largest <= promises.SEGMENT_ALLOCATION_BYTES,
        )
    return [table]
