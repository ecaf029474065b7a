// The status line; it also adds to the controls around it the labels that ipywidgets leaves out.

const ROOTS = ".lafn-explorer, .lafn-tools"; // what a status line is in
const FIELDS = "input, select, textarea, button, .noUi-handle";

// Gives each control its help text: for the pointer, for screen readers, and by the keyboard (tip).
function explain(root, help) {
  for (const element of root.querySelectorAll('[title="null"]')) element.removeAttribute("title");
  for (const [name, text] of Object.entries(help)) {
    for (const control of root.querySelectorAll(`.${name}`)) {
      const fields = control.matches(FIELDS) ? [control] : control.querySelectorAll(FIELDS);
      if (!fields.length || control.dataset.lafnHelp === text + fields.length) continue;
      control.dataset.lafnHelp = text + fields.length;
      control.title = text;
      for (const field of fields) {
        field.removeAttribute("title");
        field.setAttribute("aria-description", text);
      }
      for (const label of control.querySelectorAll("label")) label.title = text;
    }
  }
}

// Shows the help text of the control that the keyboard has reached.
function tips(root) {
  const tip = document.createElement("div");
  tip.className = "lafn-tip";
  tip.setAttribute("aria-hidden", "true"); // screen readers have it as a description
  tip.hidden = true;
  root.append(tip);
  const show = (event) => {
    const text = event.target.getAttribute?.("aria-description");
    tip.hidden = !text || !event.target.matches(":focus-visible");
    if (tip.hidden) return;
    const [own, all] = [event.target.getBoundingClientRect(), root.getBoundingClientRect()];
    tip.textContent = text;
    tip.style.left = `${Math.max(0, Math.min(own.left - all.left, all.width - 330))}px`;
    tip.style.top = `${own.bottom - all.top + 6}px`;
  };
  const hide = (event) => {
    if (event.type === "focusout" || event.key === "Escape") tip.hidden = true;
  };
  root.addEventListener("focusin", show);
  root.addEventListener("focusout", hide);
  root.addEventListener("keydown", hide);
  return () => {
    root.removeEventListener("focusin", show);
    root.removeEventListener("focusout", hide);
    root.removeEventListener("keydown", hide);
    tip.remove();
  };
}

function mend(root, help) {
  explain(root, help);
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
  let watcher, forget;
  // While the explorer is being built it is not on the page yet.
  const start = setTimeout(() => {
    const root = el.closest(ROOTS) ?? el.parentElement;
    if (!root) return;
    const help = model.get("help");
    mend(root, help);
    if (root.matches(ROOTS) && !root.querySelector(".lafn-tip")) forget = tips(root);
    watcher = new MutationObserver(() => mend(root, help));
    watcher.observe(root, { childList: true, subtree: true });
  }, 0);
  return () => {
    clearTimeout(start);
    watcher?.disconnect();
    forget?.();
    model.off("change:text change:is_error", show);
  };
}

export default { render };
