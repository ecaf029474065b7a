// Finds pages of the atlas by names in any language. ATLAS, [shown, looked up by, address], stands
// in the file before this one.
const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLocaleLowerCase();
const MOST = 100; // hits shown
const query = document.getElementById("query");
const hits = document.getElementById("hits");
const found = document.getElementById("found");
const keys = ATLAS.map(([shown, names]) => folded(`${shown} ${names}`));

function search() {
  const wanted = folded(query.value.trim()).split(/\s+/).filter(Boolean);
  hits.replaceChildren();
  found.textContent = "";
  if (!wanted.length) return;
  let count = 0;
  keys.forEach((key, number) => {
    if (!wanted.every((word) => key.includes(word)) || ++count > MOST) return;
    const [shown, , address] = ATLAS[number];
    const link = document.createElement("a");
    link.href = address;
    link.textContent = shown;
    link.dir = "auto";
    hits.append(document.createElement("li"));
    hits.lastChild.append(link);
  });
  const more = count > MOST ? `, the first ${MOST} shown` : "";
  found.textContent = count ? `${count} found${more}` : "Nothing has this name.";
}

query.addEventListener("input", search);
search();
