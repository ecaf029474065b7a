"""What a page holds, for tests that read it."""

from html.parser import HTMLParser

VOID = {"meta", "br", "img", "hr", "link", "input"}
HOSTILE = '</td><script>alert("1")</script><img src=x onerror=alert(2)> & "quoted" \u202eevil'


class Page(HTMLParser):
    """A page's tags with attributes, its text, what is marked, and the content of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self.marked, self._open = "", [], [], []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")
        if tag == "mark":
            self.marked.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "script" in self._open:
            self.scripts[-1] += data
        elif "style" not in self._open:
            self.text += data
        if "mark" in self._open:
            self.marked[-1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]
