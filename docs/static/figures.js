// Draws the figures of a page when they come into view; plotly.js is loaded with the first of them.
(() => {
  const source = new URL("plotly.min.js", document.currentScript.src).href;
  const config = { displaylogo: false, showSendToCloud: false, responsive: true };
  let library;
  const load = () => (library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = source;
    script.onload = resolve;
    script.onerror = () => reject(new Error("plotly.min.js is not beside this page"));
    document.head.append(script);
  }));
  const draw = async (place) => {
    const data = place.querySelector('script[type="application/json"]');
    if (!data) return;
    const { data: traces, layout } = JSON.parse(data.textContent);
    data.remove();
    try {
      await load();
      await Plotly.newPlot(place, traces, layout, config);
    } catch (error) {
      place.textContent = `This figure could not be drawn: ${error.message}`;
    }
  };
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      draw(target);
    }
  }, { rootMargin: "600px" });
  const all = () => document.querySelectorAll(".figure > div");
  all().forEach((place) => seen.observe(place));
  addEventListener("beforeprint", () => all().forEach(draw));
})();
