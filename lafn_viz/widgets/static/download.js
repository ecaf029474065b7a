// A button that asks Python for a file, and hands it to the browser (saving.js stands before this).

function render({ model, el }) {
  el.classList.add("lafn-download");
  const button = document.createElement("button");
  button.className = "jupyter-button widget-button";
  button.textContent = model.get("label");
  el.append(button);
  const ask = () => {
    model.set("asked", model.get("asked") + 1);
    model.save_changes();
  };
  const give = () => download(model.get("name"), new Blob([model.get("content")]));
  button.addEventListener("click", ask);
  model.on("change:answered", give);
  return () => model.off("change:answered", give);
}

export default { render };
