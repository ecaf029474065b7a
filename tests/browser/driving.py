"""Helpers over Playwright's `Page`: what a person does with a page, and what a test reads from it.

A page from `watched_page` records every host that it contacts and every error. Selectors name one
element; `plot` is the selector of a `.js-plotly-plot`, or of one element that holds one.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from playwright.sync_api import (
    Browser,
    Locator,
    Page,
    Playwright,
    TimeoutError as PlaywrightTimeoutError,
)
from servers import Server

SIZE = {"width": 1280, "height": 1000}
PROXY_NAME = "viz.example"  # leads to this computer, as the name of a proxy
HERE = ("127.0.0.1", "localhost", PROXY_NAME)
# Seconds to wait for what is computed. The exact scores of a fact and its control take 20 alone on
# two cores, and more than a minute beside another test.
COMPUTED = 180
FLAGS = (
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    # No name but this computer's can be resolved: a request to the network fails at once.
    f"--host-resolver-rules=MAP {PROXY_NAME} 127.0.0.1, MAP * ~NOTFOUND, "
    "EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
# The plot: the element itself, or the first one in it.
PLOT = """
  const root = document.querySelector(selector);
  const gd = root && (root.matches('.js-plotly-plot') ? root
                                                      : root.querySelector('.js-plotly-plot'));
"""


def launch(playwright: Playwright, executable: str) -> Browser:
    return playwright.chromium.launch(executable_path=executable, args=list(FLAGS))


@dataclass
class Watch:
    """What a page did: requests to other computers, errors, and errors in the console."""

    outside: list[str] = field(default_factory=list)
    page_errors: list[str] = field(default_factory=list)
    console_errors: list[str] = field(default_factory=list)

    def attach(self, page: Page) -> None:
        """Record what a page does from now on."""
        page.on("request", lambda request: self._on_request(request.url))
        page.on("websocket", lambda socket: self._on_request(socket.url))
        page.on("pageerror", lambda error: self.page_errors.append(f"{error}\n{error.stack}"))
        page.on(
            "console",
            lambda line: self.console_errors.append(line.text) if line.type == "error" else None,
        )

    def _on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in HERE:
            self.outside.append(url)

    def check(self) -> None:
        """Fail if the page contacted another computer or raised an error."""
        console = "\n".join(self.console_errors)
        assert not self.outside, f"the page contacted other computers: {self.outside}\n{console}"
        assert not self.page_errors, f"errors in the page: {self.page_errors}\n{console}"


@contextlib.contextmanager
def watched_page(
    browser: Browser, screenshot: Path, *, colours: str = "light", size: dict[str, int] = SIZE
) -> Iterator[Page]:
    """Open a page in a fresh session; at the end take a screenshot and run `Watch.check`.

    The screenshot is taken on failure too; `page.watch` holds what the page did so far.
    """
    context = browser.new_context(viewport=size, color_scheme=colours)
    page = context.new_page()
    page.watch = Watch()
    page.watch.attach(page)
    try:
        yield page
    finally:
        with contextlib.suppress(Exception):
            shoot(page, screenshot)
        context.close()
    page.watch.check()


def shoot(page: Page, path: Path) -> None:
    """Save what the window shows as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)


def shown(page: Page, selector: str) -> Locator:
    """Return the first element of a selector that can be seen."""
    return page.locator(selector).locator("visible=true").first


def wait_for_app(page: Page, *, plots: int = 0, seconds: float = 120) -> None:
    """Wait until the app is drawn: nothing is loading, its widgets and `plots` figures are shown.

    Raises at once, with its message, if a cell failed.
    """
    failed = ".jp-RenderedText[data-mime-type$=error], .jupyter-widgets-error-widget"
    page.wait_for_function(
        """failed => document.querySelector(failed)
            || (!document.querySelector('#loading')
                && document.querySelector('main .jupyter-widgets'))""",
        arg=failed,
        timeout=seconds * 1000,
    )
    messages = page.locator(failed).all_inner_texts()
    assert not messages, "\n".join([*messages, *page.watch.console_errors])
    wait_for_plots(page, plots, seconds=seconds)


def wait_for_plots(page: Page, n: int, *, seconds: float = 60) -> None:
    """Wait until at least `n` figures on the page have data."""
    page.wait_for_function(
        """n => [...document.querySelectorAll('.js-plotly-plot')]
            .filter(gd => gd.calcdata && gd.calcdata.length).length >= n""",
        arg=n,
        timeout=seconds * 1000,
    )


def wait_status(
    page: Page, selector: str, text: str | re.Pattern[str], *, seconds: float = COMPUTED
) -> str:
    """Wait until the element's text contains `text` (or matches the pattern); return all of it.

    `selector` is usually a status line: `".lafn-status"`, or that of one explorer. The error gives
    the text that was there instead.
    """
    pattern = text if isinstance(text, re.Pattern) else re.compile(re.escape(text))
    element = page.locator(selector).locator("visible=true").first
    waited = 0.0
    last = ""
    while waited < seconds:
        last = element.inner_text() if element.count() else "(nothing is shown there)"
        if pattern.search(last):
            return last
        page.wait_for_timeout(100)
        waited += 0.1
    raise AssertionError(f"{selector} says {last!r}, not {pattern.pattern!r}, after {seconds} s")


def wait_until_idle(page: Page, *, seconds: float = COMPUTED) -> str:
    """Wait until no status line that is visible reports work under way; return their texts.

    A line that ends in "…" reports work. Lines in tabs that are not open do not count.
    """
    page.wait_for_function(
        """() => {
            const shown = [...document.querySelectorAll('.lafn-status')]
                .filter(line => line.offsetParent !== null).map(line => line.innerText.trim());
            return shown.length && shown.every(text => text && !text.endsWith('…'));
        }""",
        timeout=seconds * 1000,
    )
    lines = page.locator(".lafn-status").locator("visible=true").all_inner_texts()
    return "\n".join(lines)


def plot_data(page: Page, plot: str) -> list[dict]:
    """Return the traces of a figure as the page holds them, typed arrays as lists."""
    return page.evaluate(
        "([selector]) => {"
        + PLOT
        + """
        const plain = value => ArrayBuffer.isView(value) ? Array.from(value)
            : Array.isArray(value) ? value.map(plain)
            : value && typeof value === 'object' ? Object.fromEntries(
                Object.entries(value).filter(([k]) => k[0] !== '_').map(([k, v]) => [k, plain(v)]))
            : value;
        return gd._fullData.map(trace => {
            const kept = {type: trace.type, name: trace.name};
            for (const key of ['x', 'y', 'z', 'customdata', 'text', 'marker'])
                if (trace[key] !== undefined) kept[key] = plain(trace[key]);
            return kept;
        });
    }""",
        [plot],
    )


def plot_title(page: Page, plot: str) -> str:
    """Return the title of a figure as it is drawn."""
    return page.locator(f"{plot} .gtitle").first.text_content() or ""


def click_cell(
    page: Page, plot: str, row: int, column: int, *, trace: int = 0, seconds: float = 10
) -> None:
    """Click one cell of a heatmap as a person does: scroll to it, point at it, press.

    Row and column count from 0 in the trace's `z`. Waits until the figure reports that the pointer
    is on that cell, so that a click fails, rather than misses, if the cell is covered or cut off.
    """
    _click(page, plot, [row, column], trace, seconds)


def click_point(page: Page, plot: str, number: int, *, trace: int = 0, seconds: float = 10) -> None:
    """Click one point or bar of a trace, by its number from 0; see `click_cell`."""
    _click(page, plot, number, trace, seconds)


def _click(page: Page, plot: str, where: list[int] | int, trace: int, seconds: float) -> None:
    wait_for = f"{plot}.js-plotly-plot, {plot} .js-plotly-plot"
    figure = page.locator(wait_for).first
    figure.wait_for()
    # A figure that is drawn again between the pointer's arrival and the press takes no click (the
    # page may just have got a scroll bar); a person then clicks again.
    for _ in range(3):
        figure.scroll_into_view_if_needed()
        _point_at(page, plot, where, trace, seconds)
        page.evaluate(
            "selector => {"
            + PLOT
            + "window.clicks = 0; gd.once('plotly_click', () => { window.clicks += 1; }); }",
            plot,
        )
        page.mouse.down()
        page.mouse.up()
        try:
            page.wait_for_function("() => window.clicks > 0", timeout=4000)
            return
        except PlaywrightTimeoutError:
            continue
    raise AssertionError(f"{plot} took none of three clicks on {where} of trace {trace}")


def _point_at(page: Page, plot: str, where: list[int] | int, trace: int, seconds: float) -> None:
    spot = page.evaluate(
        "([selector, where, number]) => {"
        + PLOT
        + """
        const full = gd._fullLayout, trace = gd._fullData[number];
        const x = full[(trace.xaxis || 'x').replace('x', 'xaxis')];
        const y = full[(trace.yaxis || 'y').replace('y', 'yaxis')];
        const calc = gd.calcdata[number];
        let px, py;
        if (Array.isArray(where)) {
            // Heatmaps keep the edges of their cells; a cell's middle lies between two.
            const [row, column] = where, edges = calc[0];
            const middle = (axis, ends, i) => axis._offset + (axis.c2p(ends[i])
                                                              + axis.c2p(ends[i + 1])) / 2;
            const edge = (values, i) => values.length > i + 1 ? values
                : values.length > 1
                    ? [...values, 2 * values.at(-1) - values.at(-2)] : [i - 0.5, i + 0.5];
            px = middle(x, edge(edges.x, column), column);
            py = middle(y, edge(edges.y, row), row);
        } else {
            px = x._offset + x.c2p(calc[where].x ?? calc[where].p);
            py = y._offset + y.c2p(calc[where].y ?? calc[where].s);
            if (trace.type === 'bar') {
                const flat = trace.orientation === 'h', along = flat ? x : y;
                const end = along._offset + along.c2p(calc[where].s1 ?? calc[where].s);
                const start = along._offset + along.c2p(calc[where].s0 ?? 0);
                const across = flat ? y._offset + y.c2p(calc[where].p)
                                    : x._offset + x.c2p(calc[where].p);
                [px, py] = flat ? [(start + end) / 2, across] : [across, (start + end) / 2];
            }
        }
        const box = gd.getBoundingClientRect();
        return [box.left + px, box.top + py];
    }""",
        [plot, where, trace],
    )
    # Start beside the cell: a figure only notices a pointer that moves.
    page.mouse.move(spot[0] + 3, spot[1] + 2)
    page.mouse.move(spot[0], spot[1], steps=2)
    page.wait_for_function(
        "([selector, where, number]) => {"
        + PLOT
        + """
        return (gd._hoverdata || []).some(point => point.curveNumber === number
            && JSON.stringify(point.pointIndex ?? point.pointNumber) === JSON.stringify(where));
    }""",
        arg=[plot, where, trace],
        timeout=seconds * 1000,
    )


def open_notebook(page: Page, address: str, name: str, *, seconds: float = 90) -> None:
    """Open a notebook in the JupyterLab at `address` and wait until its kernel is ready."""
    page.goto(f"{address}lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=seconds * 1000)
    page.wait_for_function(
        """() => {
            const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
            return kernel?.status === 'idle' && kernel?.connectionStatus === 'connected';
        }""",
        timeout=seconds * 1000,
    )


def run_all_cells(page: Page, *, seconds: float = 300) -> bool:
    """Run all cells of the open notebook; return whether all of them succeeded.

    Raises if they are not done in time.
    """
    done = page.evaluate(
        """seconds => Promise.race([
            window.jupyterapp.commands.execute('notebook:run-all-cells'),
            new Promise(resolve => setTimeout(() => resolve('late'), 1000 * seconds)),
        ])""",
        seconds,
    )
    assert done != "late", f"the notebook was not done after {seconds} s"
    return bool(done)


def run_cell(page: Page, lab: Server, name: str, code: str) -> None:
    """Write a notebook of one cell into the lab's folder, open it and run it."""
    cell = nbformat.v4.new_code_cell(code)
    kernel = {"name": "python3", "display_name": "Python 3"}
    book = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    nbformat.write(book, lab.folder / name)
    open_notebook(page, lab.address, name)
    assert run_all_cells(page)


def end_session(page: Page, address: str) -> None:
    """Stop the kernel of the open notebook, which frees its memory for the next one."""
    session = page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.id")
    page.request.delete(f"{address}api/sessions/{session}")


def notebook_outputs(page: Page) -> list[dict]:
    """Return all outputs of the open notebook, as its file would hold them."""
    cells = page.evaluate("() => window.jupyterapp.shell.currentWidget.context.model.toJSON()")
    return [output for cell in cells["cells"] for output in cell.get("outputs", [])]


def show_whole_notebook(page: Page, *, at_most: int = 16_000) -> None:
    """Make the window as tall as the open notebook, so that a screenshot shows all of it."""
    inside = "document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer')"
    height = int(page.evaluate(f"() => {inside}.scrollHeight")) + 150
    page.set_viewport_size({"width": SIZE["width"], "height": min(height, at_most)})
    page.evaluate(f"() => {{ {inside}.scrollTop = 0; }}")
    page.wait_for_timeout(500)
