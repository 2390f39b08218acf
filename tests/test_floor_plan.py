"""The floor plan, enforced: a file imports from its own package and from lower floors only.

The table below is the only copy of the plan that a machine reads. Every import statement of the package is walked,
those inside functions and under TYPE_CHECKING included: a hidden import is a dependency all the same. The examples
alone import from the front page, as their readers will.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "turbosock"

FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "limits",
        "version",
        "logs",
        "forks",
        "serializer",
        "host_port",
        "host_map",
        "local_address",
        "tls_config",
        "proxy_config",
        "config",
    ),
    ("buffers",),
    ("reactor",),
    ("tls", "protocol"),
    ("transport",),
    ("connection",),
    ("pool",),
    ("client", "server"),
    ("loop_stats", "poll_result", "tick_clock", "loop", "api"),
    ("observe", "testing", "audit", "integrations", "cli", "examples"),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
TOP_FLOOR = len(FLOORS) - 1

# Floor 0 imports nothing of ours, but its settings are checked against its bounds and refused with its errors.
WITHIN_FLOOR_0 = {
    "limits": set[str](),
    "errors": set[str](),
    "version": set[str](),
    "logs": set[str](),
    "forks": set[str](),
    "tls_config": {"errors", "limits"},
    "serializer": set[str](),
    "host_port": {"errors", "limits"},
    "host_map": {"errors", "limits", "host_port"},
    "local_address": {"errors"},
    "proxy_config": {"errors", "host_port", "limits", "tls_config"},
    "config": {"errors", "limits", "host_map", "local_address", "tls_config", "proxy_config", "serializer"},
}
# The Loop's own files, and the clock that lets it wait.
WITHIN_FLOOR_8 = {"loop": {"loop_stats", "poll_result"}, "tick_clock": {"poll_result"}}

# A protocol knows no input or output: bytes and the present time are its arguments.
FORBIDDEN_IN_PROTOCOL = frozenset(
    {"socket", "time", "threading", "_thread", "ssl", "asyncio", "selectors", "select", "concurrent", "multiprocessing"}
)


def imported_modules(tree: ast.Module, module: tuple[str, ...], is_package: bool) -> Iterator[tuple[int, str]]:
    """Each (line, dotted name) that a module imports; relative names are made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module if is_package else module[:-1]
                parents = parents[: len(parents) - (node.level - 1)]
                base = ".".join([*parents, *([base] if base else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def violations(package: Path) -> list[str]:
    """Every broken rule in the package directory `package`, as "path:line: what"."""
    found = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        tree = ast.parse(path.read_text(), str(path))
        is_package = path.name == "__init__.py"
        module = ("turbosock", *relative.with_suffix("").parts)
        if is_package:
            module = module[:-1]
        if not (ast.get_docstring(tree) or "").strip():
            found.append(f"{relative}:1: no docstring that says what the file is for")
        if len(module) == 1:
            found += [f"{relative}:{line}: {what}" for line, what in front_page_violations(tree)]
        for line, name in imported_modules(tree, module, is_package):
            what = broken_rule(module, name)
            if what:
                found.append(f"{relative}:{line}: {what}")
    return found


def broken_rule(module: tuple[str, ...], imported: str) -> str:
    """What is wrong with `module` importing `imported`; empty if nothing is."""
    parts = imported.split(".")
    # The front page and __main__ stand above all floors.
    own = module[1] if len(module) > 1 and module[1] != "__main__" else ""
    if own and own not in FLOOR_OF:
        return f"{own} has no floor in the plan"
    if parts[0] != "turbosock":
        if own == "protocol" and parts[0] in FORBIDDEN_IN_PROTOCOL:
            return f"protocol imports {parts[0]}"
        return ""
    target = parts[1] if len(parts) > 1 else ""
    if own == "examples":
        # They show what the front page can do, so they have nothing else.
        return "" if target == own or target not in FLOOR_OF else f"examples import {imported}, not the front page"
    if not own:
        if len(module) == 1 and FLOOR_OF.get(target) == TOP_FLOOR:
            return f"the front page imports {target}, of the top floor"
        return ""
    if target not in FLOOR_OF:
        return f"{own} imports {imported}, which is on no floor (the front page is for users)"
    if target == own:
        return ""
    if own in WITHIN_FLOOR_0:
        return "" if target in WITHIN_FLOOR_0[own] else f"{own} imports {target}"
    if target in WITHIN_FLOOR_8.get(own, ()):
        return ""
    if FLOOR_OF[target] >= FLOOR_OF[own] and not (FLOOR_OF[own] == TOP_FLOOR and FLOOR_OF[target] == TOP_FLOOR):
        return f"{own} (floor {FLOOR_OF[own]}) imports {target} (floor {FLOOR_OF[target]})"
    return ""


def front_page_violations(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What stands in turbosock/__init__.py beside a docstring, imports and one sorted list of the public names.

    Names that are imported for type checkers alone are given out by `__getattr__` and `__dir__`, which they do not see.
    """
    names: list[str] | None = None
    imported: set[str] = set()
    lazy: set[str] = set()
    for index, node in enumerate(tree.body):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imported |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for each in node.body:
                if isinstance(each, ast.ImportFrom):
                    lazy |= {alias.asname or alias.name for alias in each.names}
                else:
                    yield each.lineno, "only imports are for type checkers alone"
            given = {each.name for each in node.orelse if isinstance(each, ast.FunctionDef)}
            if len(given) != len(node.orelse) or given != {"__getattr__", "__dir__"}:
                yield node.lineno, "what type checkers import is given out by __getattr__ and __dir__"
        elif isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            names = ast.literal_eval(node.value)
        elif isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__version__"]:
            imported.add("__version__")
        elif not (index == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield node.lineno, "the front page holds imports and __all__ only"
    if names is None:
        yield 1, "no explicit __all__"
        return
    if list(names) != sorted(set(names)):
        yield 1, "__all__ is not sorted, or repeats a name"
    for name in sorted(set(names) - imported - lazy):
        yield 1, f"__all__ names {name}, which is not imported"


def test_package_imports_keep_to_the_floor_plan() -> None:
    assert violations(PACKAGE) == []


def test_floor_plan_top_level_entries_all_have_a_floor() -> None:
    entries = {
        path.stem
        for path in PACKAGE.iterdir()
        if (path.suffix == ".py" and not path.name.startswith("__")) or (path / "__init__.py").exists()
    }
    assert entries <= FLOOR_OF.keys()


def write_tree(root: Path, **sources: str) -> Path:
    """A small package in `root` that keeps to the plan, with `sources` over it: a__b is the file a/b.py."""
    files = {
        "__init__": '"""Front."""\nfrom turbosock.errors import Broken\n\n__all__ = ["Broken"]\n',
        "errors": '"""Errors."""\n\n\nclass Broken(Exception):\n    pass\n',
        "limits": '"""Limits."""\nimport math\n',
        "buffers/ring": '"""Ring."""\nfrom turbosock import errors\n',
        "protocol/head": '"""Head."""\nfrom turbosock.buffers.ring import Ring\nimport enum\n',
        "examples/game": '"""Game."""\nfrom turbosock import Broken\nfrom turbosock.examples.rules import SIZE\n',
        "client/client": '"""Client."""\nfrom turbosock.protocol import head\nimport socket\n',
    }
    files.update({name.replace("__", "/") if name != "__init__" else name: text for name, text in sources.items()})
    for name, text in files.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_floor_plan_sound_tree_reports_nothing(tmp_path: Path) -> None:
    assert violations(write_tree(tmp_path)) == []


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"buffers__ring": '"""R."""\nfrom turbosock.client import client\n'}, "imports client (floor 7)"),
        ({"buffers__ring": '"""R."""\nimport turbosock.reactor.clock\n'}, "imports reactor (floor 2)"),
        ({"buffers__ring": '"""R."""\nfrom ..loop import Loop\n'}, "imports loop (floor 8)"),
        ({"buffers__ring": '"""R."""\nfrom .. import loop\n'}, "imports loop (floor 8)"),
        ({"buffers__ring": '"""R."""\ndef late():\n    from turbosock.pool import Pool\n'}, "imports pool (floor 6)"),
        ({"buffers__ring": '"""R."""\nfrom turbosock import Broken\n'}, "on no floor"),
        ({"buffers__ring": '"""R."""\nimport turbosock\n'}, "on no floor"),
        ({"errors": '"""E."""\nfrom turbosock import limits\nclass Broken(Exception): ...\n'}, "errors imports limits"),
        ({"config": '"""C."""\nfrom turbosock.buffers import ring\n'}, "config imports buffers"),
        ({"tls__system": '"""T."""\nfrom turbosock.protocol import head\n'}, "tls (floor 3) imports protocol"),
        ({"protocol__head": '"""H."""\nimport socket\n'}, "protocol imports socket"),
        ({"protocol__http1__head": '"""H."""\nfrom time import monotonic\n'}, "protocol imports time"),
        ({"protocol__head": '"""H."""\nimport concurrent.futures\n'}, "protocol imports concurrent"),
        ({"client__client": '"""C."""\nfrom turbosock.observe import metrics\n'}, "imports observe (floor 9)"),
        ({"attic__old": '"""A."""\nimport os\n'}, "attic has no floor"),
        ({"examples__game": '"""G."""\nfrom turbosock.loop import Loop\n'}, "examples import turbosock.loop.Loop"),
        ({"examples__game": '"""G."""\nfrom turbosock import loop\n'}, "examples import turbosock.loop"),
        ({"client__client": "import socket\n"}, "no docstring"),
        ({"__init__": '"""F."""\nfrom turbosock.cli import main\n\n__all__ = ["main"]\n'}, "imports cli"),
        ({"__init__": '"""F."""\nfrom turbosock.errors import Broken\n'}, "no explicit __all__"),
        ({"__init__": '"""F."""\nimport os, re\n\n__all__ = ["re", "os"]\n'}, "not sorted"),
        ({"__init__": '"""F."""\nimport os\n\n__all__ = ["os", "re"]\n'}, "names re"),
        ({"__init__": '"""F."""\nimport os\n\n__all__ = ["os"]\nos.umask(0)\n'}, "imports and __all__ only"),
    ],
)
def test_floor_plan_broken_tree_reports_the_one_violation(
    tmp_path: Path, sources: dict[str, str], expected: str
) -> None:
    found = violations(write_tree(tmp_path, **sources))
    assert len(found) == 1
    assert expected in found[0]
