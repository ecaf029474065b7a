// A button that asks Python for a file, and hands it to the browser.

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
  const give = () => {
    const link = document.createElement("a");
    link.download = model.get("name");
    link.href = URL.createObjectURL(new Blob([model.get("content")]));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };
  button.addEventListener("click", ask);
  model.on("change:answered", give);
  return () => model.off("change:answered", give);
}

export default { render };
