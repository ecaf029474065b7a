"""Check the built pages: every link leads somewhere, and nothing is loaded from another computer.
`python docs/links.py build/docs` prints a sentence for each fault.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """What a page links to, what it loads, and where one can link to in it."""

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
    """A sentence for each link that leads nowhere and each thing that is loaded from elsewhere."""
    folder = folder.resolve()
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = [] if pages else [f"{folder} holds no pages"]
    for path, page in pages.items():
        name = path.relative_to(folder)
        for link in sorted(page.links | page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    found.append(f"{name} loads {link} from another computer")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_relative_to(folder) or not target.is_file():
                found.append(f"{name} links to {link}, which is not there")
            elif target in pages and unquote(parts.fragment) not in {"", *pages[target].anchors}:
                found.append(f"{name} links to {link}, where there is no such place")
    for path in sorted(folder.rglob("*.css")):
        text = path.read_text("utf-8").replace(" ", "")
        for start in ("url(http", "url('http", 'url("http', "url(//", "@import"):
            if start in text:
                found.append(f"{path.relative_to(folder)} loads something by {start}")
    return found


def main() -> int:
    found = problems(Path(sys.argv[1]))
    print("\n".join(found) or "links: every one leads somewhere, nothing is loaded from elsewhere")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
