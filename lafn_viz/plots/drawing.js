// How a figure of plotly fits its page: its colours on dark paper, and its width.

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
function themed(figure, dark = isDark()) {
  if (!dark) return figure;
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
