#!/usr/bin/env python3
"""Check a built site: it loads nothing from elsewhere, and every link inside it leads to a page and a place there.

Usage: python3 tools/site_check.py DIRECTORY
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself to show a page, by element and attribute.
LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
SHEET_LOAD = re.compile(r"(?:url\(|@import )\s*[\"']?((?:https?:)?//[^\"')\s]+)")


class Page(HTMLParser):
    """What one page offers and asks for.

    Attributes:
        places: the ids in it.
        links: where its anchors lead.
        loads: what a browser fetches to show it.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.places.add(value)
            elif (tag, name) in LOADS:
                self.loads.append(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)


def wrong(root: Path) -> list[str]:
    """A line for each thing that is wrong with the site below `root`."""
    pages = {path: Page(path.read_text()) for path in sorted(root.resolve().rglob("*.html"))}
    found = [] if pages else [f"{root}: no page"]
    for path, page in pages.items():
        name = path.relative_to(root.resolve())
        found += [f"{name}: loads {url}" for url in page.loads if urlsplit(url).netloc]
        for url in page.links + page.loads:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{name}: {url} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                found.append(f"{name}: {url} leads to no place of that page")
    for sheet in sorted(root.rglob("*.css")):
        found += [f"{sheet.relative_to(root)}: loads {url}" for url in SHEET_LOAD.findall(sheet.read_text())]
    return found


if __name__ == "__main__":
    lines = wrong(Path(sys.argv[1]))
    print("\n".join(lines) or "nothing is loaded from elsewhere, and no link is broken")
    sys.exit(bool(lines))
