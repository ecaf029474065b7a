"""Check the built pages: every link has a target, and nothing is loaded from another computer.
`python docs/links.py build/docs` prints a sentence for each problem.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """A page: what it links to, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag in LOADED and LOADED[tag] in given:
            self.loads.add(given[LOADED[tag]])
        elif "href" in given:
            self.links.add(given["href"])


def problems(folder: Path) -> list[str]:
    """Return a sentence for each link without a target and each thing loaded from elsewhere."""
    folder = folder.resolve()
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    faults = [] if pages else [f"{folder} holds no pages"]
    for path, page in pages.items():
        name = path.relative_to(folder)
        for link in sorted(page.links | page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    faults.append(f"{name} loads {link} from another computer")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_relative_to(folder) or not target.is_file():
                faults.append(f"{name} links to {link}, which is not there")
            elif target in pages and unquote(parts.fragment) not in {"", *pages[target].anchors}:
                faults.append(f"{name} links to {link}, where there is no such place")
    for path in sorted(folder.rglob("*.css")):
        text = path.read_text("utf-8").replace(" ", "")
        for start in ("url(http", "url('http", 'url("http', "url(//", "@import"):
            if start in text:
                faults.append(f"{path.relative_to(folder)} loads something by {start}")
    return faults


def main() -> int:
    faults = problems(Path(sys.argv[1]))
    print("\n".join(faults) or "links: every one has a target, nothing is loaded from elsewhere")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
