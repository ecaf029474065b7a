// Draws a plotly figure whose state lives in Python; only the place of a click goes back.
// The functions of plots/drawing.js and of saving.js stand before this text.

// plotly.js is sent once per page; this module is evaluated again for every figure.
const page = (globalThis.lafnViz ??= { plotly: null });

function plotly(model) {
  page.plotly ??= new Promise((resolve, reject) => {
    const receive = (message) => {
      if (message?.kind !== "plotly") return;
      model.off("msg:custom", receive);
      // As a module of its own: the page may hold another plotly, or RequireJS.
      const module = { exports: {} };
      new Function("module", "exports", "define", message.code)(module, module.exports, undefined);
      page.code = message.code;
      resolve(module.exports);
    };
    model.on("msg:custom", receive);
    model.send({ kind: "plotly" });
    // The widget that was asked may be gone: the next figure asks again.
    const late = setTimeout(() => {
      page.plotly = null;
      reject(new Error("plotly.js did not come"));
    }, 20000);
    model.on("msg:custom", () => clearTimeout(late));
  });
  return page.plotly;
}

function cellOf(point) {
  const at = point.pointIndex ?? point.pointNumber ?? 0;
  const [row, column] = Array.isArray(at) ? at : [0, at];
  return { curve: point.curveNumber, row, column };
}

// A page of its own that draws the figure without a network.
function asPage({ data, layout, config }, title) {
  const text = (value) => value.replace(/[&<]/g, (x) => (x === "&" ? "&amp;" : "&lt;"));
  // No text in the data may end the script.
  const json = JSON.stringify([data, layout, config]).replaceAll("<", "\\u003c");
  return (
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${text(title)}</title>` +
    `<style>body { margin: 0; background: #fff; }</style><div id="figure"></div>` +
    `<script>${page.code}</script>\n<script>Plotly.newPlot("figure", ...${json})</script></html>\n`
  );
}

// As it is in Python, light and of its own width, whatever the page looks like.
async function save(model, kind) {
  const figure = JSON.parse(model.get("figure"));
  const { filename, scale } = figure.config.toImageButtonOptions;
  const drawer = await plotly(model);
  const name = `${filename}.${kind}`;
  if (kind === "html") {
    download(name, new Blob([asPage(figure, model.get("label"))], { type: "text/html" }));
    return;
  }
  const { width, height } = figure.layout;
  const image = await drawer.toImage(figure, { format: kind, width, height, scale });
  download(name, await (await fetch(image)).blob());
}

function saveButtons(model) {
  const line = document.createElement("div");
  line.className = "lafn-save-figure";
  line.setAttribute("role", "group");
  line.setAttribute("aria-label", "Save the figure");
  for (const kind of ["svg", "png", "html"]) {
    const button = document.createElement("button");
    button.textContent = kind.toUpperCase();
    button.title = `Save the figure as ${kind === "html" ? "a page" : "a picture"}`;
    button.setAttribute("aria-description", button.title);
    button.addEventListener("click", () => save(model, kind).catch(console.error));
    line.append(button);
  }
  return line;
}

// In a tab that is not open text has no size, and titles would be drawn over captions.
function untilShown(element) {
  if (element.offsetParent) return Promise.resolve();
  return new Promise((resolve) => {
    const watcher = new ResizeObserver(() => {
      if (!element.offsetParent) return;
      watcher.disconnect();
      resolve();
    });
    watcher.observe(element);
  });
}

async function render({ model, el }) {
  el.classList.add("lafn-figure");
  const plot = document.createElement("div");
  plot.setAttribute("role", "group");
  const note = document.createElement("p");
  note.className = "lafn-outdated-note";
  el.append(note, plot, saveButtons(model));
  const dim = () => {
    note.textContent = model.get("outdated");
    el.classList.toggle("lafn-outdated", Boolean(note.textContent));
  };
  // anywidget gives an element the classes of its first moment, and none that follow.
  const mark = () =>
    el.classList.toggle("lafn-marked", model.get("_dom_classes").includes("lafn-marked"));
  let gone = false;
  let drawing = Promise.resolve();
  let clicks = 0;
  let width = 0; // of the place when the figure was drawn

  // With a kernel, the copies for exported pages (widgets/exported.py) are hidden.
  const hideCopies = () => {
    if (gone) return;
    if (!el.isConnected) setTimeout(hideCopies, 100);
    else (el.closest(".jp-Notebook") ?? document.body).classList.add("lafn-live");
  };

  const draw = async (anew) => {
    const text = model.get("figure");
    plot.setAttribute("aria-label", model.get("label"));
    el.hidden = !text;
    if (gone || !text) return;
    const drawer = await plotly(model);
    hideCopies(); // a kernel has sent it
    await untilShown(el);
    if (gone || text !== model.get("figure")) return;
    width = el.clientWidth;
    const figure = fitted(themed(JSON.parse(text)), width);
    if (anew) drawer.purge(plot); // react() draws a title in a new colour over its subtitle
    await drawer.react(plot, figure.data, figure.layout, figure.config);
    plot.dataset.revision = model.get("revision");
    plot.removeAllListeners("plotly_click");
    plot.on("plotly_click", (event) => {
      model.set("clicked", { ...cellOf(event.points[0]), click: ++clicks });
      model.save_changes();
    });
  };
  const manager = model.widget_manager;
  if (manager?.kernel || manager?.comm_manager) hideCopies();

  // One drawing after the other: of two at a time in one plot the first is lost.
  const next = (anew) => {
    drawing = drawing
      .then(() => draw(anew))
      .catch((error) => {
        console.error(error);
        if (!plot.dataset.revision) setTimeout(() => gone || next(anew), 1000);
      });
  };
  const redraw = () => next(false);
  const repaint = () => next(true);

  model.on("change:revision", redraw);
  model.on("change:outdated", dim);
  model.on("change:_dom_classes", mark);
  dim();
  const watcher = new MutationObserver(repaint);
  watcher.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", repaint);
  let late;
  const sizes = new ResizeObserver(() => {
    clearTimeout(late);
    late = setTimeout(() => {
      if (width && el.clientWidth && Math.abs(el.clientWidth - width) > 8) redraw();
    }, 150);
  });
  sizes.observe(el);
  redraw();

  return () => {
    gone = true;
    watcher.disconnect();
    sizes.disconnect();
    clearTimeout(late);
    scheme.removeEventListener("change", repaint);
    model.off("change:revision", redraw);
    model.off("change:outdated", dim);
    model.off("change:_dom_classes", mark);
    page.plotly?.then((drawer) => drawer.purge(plot)).catch(() => {});
  };
}

export default { render };
