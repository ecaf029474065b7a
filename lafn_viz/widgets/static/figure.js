// Draws a plotly figure whose state lives in Python; only the place of a click goes back.

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

const isDark = () => {
  const named = document.body.dataset.jpThemeLight;
  return named === undefined
    ? matchMedia("(prefers-color-scheme: dark)").matches
    : named === "false";
};

// Moves a colour that is too dark for dark paper half way to white.
function lighter(colour) {
  const parts = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  const [red, green, blue] = parts;
  if (0.21 * red + 0.72 * green + 0.07 * blue > 95) return colour;
  return "#" + parts.map((x) => ((x + 255) >> 1).toString(16).padStart(2, "0")).join("");
}

function lightened(value, key) {
  if (typeof value === "string") return /^#[0-9a-f]{6}$/i.test(value) ? lighter(value) : value;
  if (!value || typeof value !== "object" || key === "colorscale") return value;
  if (Array.isArray(value)) return value.map((item) => lightened(item));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, lightened(item, name)]));
}

// Draws in the page's colours instead of those for white paper.
function themed(figure) {
  if (!isDark()) return figure;
  figure.data = figure.data.map((trace) => lightened(trace));
  figure.layout.shapes = lightened(figure.layout.shapes ?? []);
  const layout = figure.layout;
  const [ink, faint, line] = ["#e8e8e8", "#bdbdbd", "#4a4a4a"];
  layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
  layout.font = { ...layout.font, color: ink };
  if (layout.title?.subtitle) layout.title.subtitle.font = { ...layout.title.subtitle.font, color: faint };
  for (const note of layout.annotations ?? []) note.font = { ...note.font, color: ink };
  for (const part of [layout.template?.layout ?? {}, layout]) {
    for (const [name, axis] of Object.entries(part)) {
      if (!/^[xy]axis\d*$/.test(name)) continue;
      Object.assign(axis, { gridcolor: line, linecolor: line, zerolinecolor: faint });
    }
  }
  layout.hoverlabel = { bgcolor: "#222222", font: { color: ink } };
  return figure;
}

// Breaks lines that are longer than a number of characters; tags have no length.
function wrapped(text, longest) {
  const lines = [];
  for (const line of text.split("<br>")) {
    let last = "";
    for (const word of line.split(" ")) {
      const longer = last ? `${last} ${word}` : word;
      if (last && longer.replace(/<[^>]*>/g, "").length > longest) {
        lines.push(last);
        last = word;
      } else last = longer;
    }
    lines.push(last);
  }
  return lines;
}

// Draws a figure as wide as its place, within bounds; text of a narrow one takes more lines.
function fitted(figure, place) {
  const { layout } = figure;
  const base = layout.width ?? 840;
  layout.width = Math.round(Math.min(1.5 * base, Math.max(0.55 * base, place || base)));
  let more = 0;
  for (const [part, pixels] of [[layout.title, 9], [layout.title?.subtitle, 6.6]]) {
    if (!part?.text) continue;
    const before = part.text.split("<br>").length;
    const lines = wrapped(part.text, Math.floor((layout.width - 24) / pixels));
    part.text = lines.join("<br>");
    more += (lines.length - before) * (pixels > 8 ? 23 : 17);
  }
  if (more > 0) {
    layout.height += more;
    layout.margin = { ...layout.margin, t: (layout.margin?.t ?? 100) + more };
  }
  return figure;
}

function cellOf(point) {
  const at = point.pointIndex ?? point.pointNumber ?? 0;
  const [row, column] = Array.isArray(at) ? at : [0, at];
  return { curve: point.curveNumber, row, column };
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
  el.append(note, plot);
  const dim = () => {
    note.textContent = model.get("outdated");
    el.classList.toggle("lafn-outdated", Boolean(note.textContent));
  };
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
    page.plotly?.then((drawer) => drawer.purge(plot)).catch(() => {});
  };
}

export default { render };
