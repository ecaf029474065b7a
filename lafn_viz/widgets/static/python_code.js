// A button that asks for Python code, copies it, and shows it to be selected where copying fails.

function render({ model, el }) {
  el.classList.add("lafn-python");
  const button = document.createElement("button");
  button.className = "jupyter-button widget-button lafn-copy-python";
  button.textContent = "Copy as Python";
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  const shown = document.createElement("pre");
  shown.tabIndex = 0;
  shown.dir = "ltr";
  shown.setAttribute("role", "region");
  shown.setAttribute("aria-label", "Python that shows the same");
  shown.hidden = true;
  const line = document.createElement("div");
  line.className = "lafn-row";
  line.append(button, said);
  el.append(line, shown);

  const ask = () => {
    said.textContent = "";
    model.set("asked", model.get("asked") + 1);
    model.save_changes();
  };
  const show = async () => {
    shown.textContent = model.get("code");
    shown.hidden = false;
    try {
      await navigator.clipboard.writeText(model.get("code"));
      said.textContent = "Copied.";
    } catch {
      // Browsers refuse on pages that are not secure, or unless the page has the focus.
      getSelection().selectAllChildren(shown);
      said.textContent = "The browser does not let the page copy; the code is selected.";
    }
  };
  button.addEventListener("click", ask);
  model.on("change:answered", show);
  return () => model.off("change:answered", show);
}

export default { render };
