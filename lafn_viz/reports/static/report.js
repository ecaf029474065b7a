// Draws the figures of a report, in the reader's theme and for paper, and copies their tables.
// The functions of plots/drawing.js stand before this text; PACKED_PLOTLY is plotly.js.
async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const module = { exports: {} };
  const code = await new Response(stream).text();
  new Function("module", "exports", "define", code)(module, module.exports, undefined);
  return module.exports;
}

const PAPER = 680; // pixels: the width of a printed page
const places = [...document.querySelectorAll(".draw")];
let library;

function draw(place, printed) {
  const text = (place.dataset.figure ??= place.querySelector("script").textContent);
  const width = printed ? PAPER : place.clientWidth;
  const figure = fitted(themed(JSON.parse(text), !printed && isDark()), width);
  library.purge(place);
  place.replaceChildren();
  place.dataset.width = width;
  return library.newPlot(place, figure.data, figure.layout, figure.config);
}

function drawAll(printed = false) {
  if (library) for (const place of places) draw(place, printed);
}

// The words of a cell; a bar or a hint is none.
const cells = (row) => [...row.cells].map((cell) => cell.textContent.trim()).join("\t");

async function copy(button) {
  const table = document.getElementById(button.dataset.of);
  const text = [...table.rows].map(cells).join("\n");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy the table"), 2000);
}

// What a link points to may be folded away.
function unfold() {
  const id = decodeURIComponent(location.hash.slice(1));
  const folded = document.getElementById(id)?.closest("details");
  if (folded && !folded.open) {
    folded.open = true;
    document.getElementById(id).scrollIntoView();
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) copy(button);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
addEventListener("beforeprint", () => drawAll(true));
addEventListener("afterprint", () => drawAll());
addEventListener("hashchange", unfold);
let late;
addEventListener("resize", () => {
  clearTimeout(late);
  late = setTimeout(() => {
    for (const place of places) {
      if (library && Math.abs(place.clientWidth - place.dataset.width) > 8) draw(place);
    }
  }, 150);
});
unfold();
if (places.length) {
  unpack("PACKED_PLOTLY").then(async (plotly) => {
    library = plotly;
    for (const place of places) {
      await draw(place);
      await new Promise((next) => setTimeout(next));
    }
    document.documentElement.dataset.drawn = places.length;
  }).catch(console.error);
}
