// The status line; it also adds to the controls around it the labels that ipywidgets leaves out.

function mend(root) {
  for (const input of root.querySelectorAll("input[type=text], textarea")) input.dir = "auto";
  for (const slider of root.querySelectorAll(".widget-slider")) {
    const name = slider.querySelector(".widget-label")?.textContent ?? "";
    for (const handle of slider.querySelectorAll(".noUi-handle")) {
      handle.setAttribute("aria-label", name);
    }
    const readout = slider.querySelector(".widget-readout");
    readout?.setAttribute("aria-label", `${name}, as a number`);
    readout?.setAttribute("role", "textbox");
  }
}

function render({ model, el }) {
  el.classList.add("lafn-status");
  const show = () => {
    el.textContent = model.get("text");
    el.setAttribute("role", model.get("is_error") ? "alert" : "status");
    el.classList.toggle("lafn-error", model.get("is_error"));
  };
  model.on("change:text change:is_error", show);
  show();
  let watcher;
  // While the explorer is being built it is not on the page yet.
  const start = setTimeout(() => {
    const root = el.closest(".lafn-explorer") ?? el.parentElement;
    if (!root) return;
    mend(root);
    watcher = new MutationObserver(() => mend(root));
    watcher.observe(root, { childList: true, subtree: true });
  }, 0);
  return () => {
    clearTimeout(start);
    watcher?.disconnect();
    model.off("change:text change:is_error", show);
  };
}

export default { render };
