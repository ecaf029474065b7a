// Draws the figures of an exported page. plotly.js is unpacked for the first that can be seen.
(() => {
  if (window.lafnKept?.draws) return; // another copy of this script does it
  const packed = "PACKED_PLOTLY";
  let library;

  async function unpack() {
    const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const code = await new Response(stream).text();
    // As a module of its own: the page may hold another plotly, or RequireJS.
    const module = { exports: {} };
    new Function("module", "exports", "define", code)(module, module.exports, undefined);
    return module.exports;
  }

  // On a slide that is not shown text has no size, and titles would be drawn over captions.
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

  async function draw(place) {
    const { data, layout, config } = JSON.parse(place.querySelector("script").textContent);
    await untilShown(place);
    const plotly = await (library ??= unpack());
    place.replaceChildren();
    await plotly.newPlot(place, data, layout, config);
  }

  function drawNew() {
    for (const place of document.querySelectorAll(".lafn-kept:not([data-seen])")) {
      place.dataset.seen = "";
      draw(place).catch(console.error);
    }
  }

  // Each figure reports itself. Some front ends run its script before they attach its output.
  const push = () => {
    drawNew();
    setTimeout(drawNew, 500);
  };
  window.lafnKept = { push, draws: true };
  push();
})();
