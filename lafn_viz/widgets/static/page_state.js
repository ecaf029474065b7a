// The address of the page tells what it shows. What would be lost, or is, is said here.

const LOST = {
  disconnected: "The connection to the Python process of this page is lost.",
  autorestarting: "The Python process of this page has ended.",
  restarting: "The Python process of this page has ended.",
  terminating: "The Python process of this page has ended.",
  dead: "The Python process of this page has ended.",
};

const UNSAVED = "This page holds edits that are saved nowhere; “Save” or “Download” keeps them.";

function render({ model, el }) {
  el.classList.add("lafn-page-state");
  const said = document.createElement("span");
  const button = document.createElement("button");
  button.textContent = "Start again";
  button.className = "jupyter-button widget-button";
  button.addEventListener("click", () => location.reload());
  const lost = document.createElement("p");
  lost.className = "lafn-lost";
  lost.setAttribute("role", "alert");
  lost.hidden = true;
  lost.append(said, button);
  const note = document.createElement("p");
  note.setAttribute("role", "status");
  const unsaved = document.createElement("p");
  unsaved.className = "lafn-unsaved";
  unsaved.setAttribute("role", "status");
  el.append(lost, note, unsaved);

  const explain = () => {
    note.textContent = model.get("note");
    unsaved.textContent = model.get("unsaved") ? UNSAVED : "";
  };
  model.on("change:note change:unsaved", explain);
  explain();

  let number = 0;
  const ask = () => {
    const wanted = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    model.set("asked", { ...wanted, number: ++number });
    model.save_changes();
  };
  const write = () => {
    history.replaceState(null, "", `#${new URLSearchParams(model.get("chosen"))}`);
  };
  // What was asked for and is not there leaves the address as well.
  model.on("change:chosen change:answered", write);
  if (location.hash.length > 1) ask();
  else write();
  window.addEventListener("hashchange", ask);

  const kernel = model.widget_manager?.kernel;
  const tell = (_, status) => {
    if (!(status in LOST) || !lost.hidden) return;
    said.textContent =
      `${LOST[status]} What it computed is gone, and the controls do nothing. ` +
      "The page opens again with the same choices. ";
    lost.hidden = false;
  };
  kernel?.statusChanged.connect(tell);
  kernel?.connectionStatusChanged.connect(tell);

  return () => {
    model.off("change:note change:unsaved", explain);
    model.off("change:chosen change:answered", write);
    window.removeEventListener("hashchange", ask);
    kernel?.statusChanged.disconnect(tell);
    kernel?.connectionStatusChanged.disconnect(tell);
  };
}

export default { render };
