"use strict";
// Several rows at once: which are marked, and what can be done to all of them. A row that is shown
// no longer is marked no longer, so nothing is done to what nobody sees.
window.bgtopMarking = function (main, make, acting, offerOf) {
  const bar = document.getElementById("marked");
  const marked = new Set();  // rows by "table id"

  const keyOf = (row) => `${row.closest("section").dataset.table} ${row.dataset.id}`;
  const rows = () => [...main.querySelectorAll("tbody tr[data-id]")];

  function draw() {
    const here = rows();
    const shown = new Set(here.map(keyOf));
    for (const key of marked) if (!shown.has(key)) marked.delete(key);
    for (const row of here) row.classList.toggle("marked", marked.has(keyOf(row)));
    const requests = new Map();  // by the name of what can be done
    for (const row of here.filter((one) => marked.has(keyOf(one)))) {
      const [names, target] = offerOf(row) || [[], {}];
      for (const name of names) requests.set(name, [...(requests.get(name) || []), target]);
    }
    const had = [...bar.children].indexOf(document.activeElement);
    bar.hidden = !marked.size;
    bar.replaceChildren(make("b", "", `${marked.size} marked`));
    for (const [name, targets] of requests) bar.append(acting.button(name, targets, clear));
    const none = make("button", "", "Unmark");
    none.type = "button";
    none.addEventListener("click", clear);
    bar.append(none);
    if (had >= 0 && bar.children[had]) bar.children[had].focus({ preventScroll: true });
  }

  function toggle(row) {
    if (!marked.delete(keyOf(row))) marked.add(keyOf(row));
    draw();
  }

  function all(section) {
    for (const row of rows()) if (row.closest("section") === section) marked.add(keyOf(row));
    draw();
  }

  function clear() {
    marked.clear();
    draw();
  }

  return { draw, toggle, all, clear };
};
