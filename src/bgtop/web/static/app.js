"use strict";
// The page as it was rendered, kept up to date. Every text of a watched system goes into the page by
// textContent, never as markup.
(function () {
  const main = document.querySelector("main[data-events]");
  const SPARK_AFTER = { queues: "depth", workers: "running", readers: "running" };

  function make(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // ---- light and dark: remembered in a cookie, so that the server renders the right one at once

  function toggleTheme() {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const now = document.documentElement.dataset.theme || system;
    const next = now === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    document.cookie = `bgtop_theme=${next}; path=/; max-age=31536000; SameSite=Lax`;
  }
  document.getElementById("theme").addEventListener("click", toggleTheme);
  if (!main) return;

  const root = main.dataset.root;
  let model = { tables: {} };
  let params = new URLSearchParams(location.search);
  let stream = null;
  let heardAt = 0;
  const acting = window.bgtopActing(main, make);
  const marking = window.bgtopMarking(main, make, acting, (row) => {
    const table = model.tables[row.closest("section").dataset.table];
    const shown = table && table.rows[row.dataset.id];
    return shown && shown.offer;
  });
  params.delete("ask");  // a page that is loaded again does not ask again

  // ---- from the model to the page

  function showFacts(facts) {
    document.getElementById("facts").replaceChildren(...facts.map(([label, text, tone]) => {
      const box = make("div");
      box.append(make("dt", "", label), make("dd", `t-${tone}`, text));
      return box;
    }));
  }

  function showStatuses(statuses) {
    document.getElementById("statuses").replaceChildren(...statuses.map(([tag, tone, text]) => {
      const line = make("li", `s-${tone}`);
      line.append(make("b", "", tag), document.createTextNode(` ${text}`));
      return line;
    }));
  }

  function showCharts(charts) {
    document.getElementById("charts").replaceChildren(...charts.map(window.bgtopCharts.figure));
  }

  function showHeadings(section, table) {
    const key = section.dataset.table;
    const order = params.get(`s-${key}`) || "";
    const row = section.querySelector("thead tr");
    const cells = [];
    for (const [column, title, words, right, rank] of table.columns) {
      const cell = make("th", `r${rank}${right ? " num" : ""}`);
      cell.scope = "col";
      cell.title = words;
      cell.dataset.column = column;
      if (order.replace("!", "") === column) cell.setAttribute("aria-sort", order[0] === "!" ? "ascending" : "descending");
      const button = make("button", "", title);
      button.type = "button";
      button.addEventListener("click", () => sort(key, column));
      cell.append(button);
      cells.push(cell);
      if (column === SPARK_AFTER[key]) {
        const trend = make("th", "r7");
        trend.title = "over the last minutes";
        const word = make("button", "", "TREND");
        word.type = "button";
        word.disabled = true;
        trend.append(word);
        cells.push(trend);
      }
    }
    if (Object.values(table.rows).some((shown) => shown.offer)) cells.push(make("th", "acts"));
    row.replaceChildren(...cells);
  }

  function rowOf(section, table, id, shown) {
    const key = section.dataset.table;
    const row = make("tr", shown.stale ? "stale" : "");
    row.dataset.id = id;
    const offers = section.querySelector("thead .acts");
    table.columns.forEach(([column, , , right, rank], at) => {
      const [text, tone] = shown.cells[at];
      const cell = make("td", `t-${tone} r${rank}${right ? " num" : ""}`);
      cell.dataset.column = column;
      if (at === 0 && shown.href !== undefined) {
        const link = make("a", "", text);
        link.href = root + shown.href;
        cell.append(link);
      } else cell.textContent = text;
      row.append(cell);
      if (column === SPARK_AFTER[key]) {
        const picture = make("td", "r7");
        if (shown.spark) picture.append(window.bgtopCharts.draw(shown.spark, "spark", `trend of ${shown.cells[0][0]}`));
        row.append(picture);
      }
    });
    if (offers) {
      const cell = make("td", "acts");
      cell.append(...acting.buttons(shown.offer));
      row.append(cell);
    }
    return row;
  }

  function showTable(section, table, changed) {
    const body = section.querySelector("tbody");
    const chosen = body.querySelector("tr.chosen");
    const kept = chosen && chosen.dataset.id;
    const rows = new Map([...body.children].map((row) => [row.dataset.id, row]));
    const needsColumn = !section.querySelector("thead .acts") && Object.values(changed.rows || {}).some((row) => row.offer);
    if (changed.all || needsColumn) { showHeadings(section, table); rows.clear(); }
    const fresh = changed.all || needsColumn ? table.rows : changed.rows || {};
    for (const [id, shown] of Object.entries(fresh)) {
      const made = rowOf(section, table, id, shown);
      const before = rows.get(id);
      if (before && before.isConnected && before.contains(document.activeElement)) {
        const link = made.querySelector("a");
        before.replaceWith(made);
        if (link) link.focus({ preventScroll: true });
      } else if (before && before.isConnected && !changed.order) before.replaceWith(made);
      rows.set(id, made);
    }
    if (changed.all || changed.order || needsColumn) body.replaceChildren(...table.order.map((id) => rows.get(id)));
    if (kept) { const again = body.querySelector(`tr[data-id="${kept}"]`); if (again) again.classList.add("chosen"); }
    section.querySelector(".count").textContent = String(table.total);
    const empty = section.querySelector(".empty"), more = section.querySelector(".more");
    empty.textContent = table.empty;
    empty.hidden = !table.empty;
    more.textContent = `${table.hidden} more are not shown; a filter finds them`;
    more.hidden = !table.hidden;
  }

  function show(changes) {
    if (changes.facts) showFacts(changes.facts);
    if (changes.statuses) showStatuses(changes.statuses);
    if (changes.charts) showCharts(changes.charts);
    if ("offer" in changes) acting.offer(changes.offer);
    for (const [key, changed] of Object.entries(changes.tables || {})) {
      const section = main.querySelector(`section[data-table="${key}"]`);
      const table = model.tables[key];
      for (const id of Object.keys(table.rows)) if (!table.order.includes(id)) delete table.rows[id];
      showTable(section, table, changed);
    }
    if (changes.tables) marking.draw();
  }

  function learn(changes) {
    for (const [key, value] of Object.entries(changes)) {
      if (key !== "tables") { model[key] = value; continue; }
      for (const [name, changed] of Object.entries(value)) {
        const table = changed.all ? {} : model.tables[name];
        const rows = changed.all ? changed.rows : { ...table.rows, ...(changed.rows || {}) };
        model.tables[name] = { ...table, ...changed, rows };
        delete model.tables[name].all;
      }
    }
  }

  // ---- the stream

  function connect() {
    if (stream) stream.close();
    const query = new URLSearchParams(params);
    query.set("page", main.dataset.page);
    stream = new EventSource(`${main.dataset.events}?${query}`);
    stream.addEventListener("page", (event) => {
      model = JSON.parse(event.data);
      for (const table of Object.values(model.tables)) table.all = true;
      fault("");
      heard();
      show(model);
      for (const table of Object.values(model.tables)) delete table.all;
    });
    stream.addEventListener("change", (event) => {
      const changes = JSON.parse(event.data);
      learn(changes);
      heard();
      show(changes);
    });
    stream.addEventListener("fault", (event) => { stream.close(); fault(JSON.parse(event.data)); });
    stream.onopen = heard;
    stream.onerror = () => {
      tell();
      // A browser does not come again by itself when it was refused, as after the end of a session.
      if (stream.readyState === EventSource.CLOSED) setTimeout(again, 3000);
    };
  }

  async function again() {
    const answer = await fetch(`${root}api/v1/me`).catch(() => null);
    if (answer && answer.status === 401) location.assign(`${root}login?next=${encodeURIComponent(location.pathname + location.search)}`);
    else connect();
  }

  function heard() { heardAt = Date.now(); tell(); }

  function tell() {
    const sign = document.getElementById("live");
    const open = stream && stream.readyState === EventSource.OPEN;
    sign.className = open ? "live on" : "live off";
    sign.textContent = open ? "live" : `no connection${heardAt ? `, ${Math.round((Date.now() - heardAt) / 1000)}s old` : ""}`;
    for (const row of main.querySelectorAll("tbody tr")) {
      const table = model.tables[row.closest("section").dataset.table];
      const shown = table && table.rows[row.dataset.id];
      row.classList.toggle("stale", Boolean(shown && shown.stale) || !open && Date.now() - heardAt > 3000);
    }
  }
  setInterval(() => { if (!stream || stream.readyState !== EventSource.OPEN) tell(); }, 1000);

  function fault(words) {
    for (const place of main.querySelectorAll(".fault")) { place.textContent = words; place.hidden = !words; }
  }

  function go(changed) {
    params = changed;
    const text = params.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
    connect();
  }

  function sort(key, column) {
    const changed = new URLSearchParams(params), name = `s-${key}`, now = changed.get(name);
    if (now === column) changed.set(name, `!${column}`);
    else if (now === `!${column}`) changed.delete(name);
    else changed.set(name, column);
    go(changed);
  }

  // ---- filters

  for (const form of main.querySelectorAll("form.bar")) {
    const input = form.querySelector("input[type=search]");
    let timer = 0;
    const apply = () => {
      clearTimeout(timer);
      const changed = new URLSearchParams(params);
      if (input.value) changed.set(input.name, input.value); else changed.delete(input.name);
      if (changed.toString() !== params.toString()) go(changed);
    };
    input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, 250); });
    form.addEventListener("submit", (event) => { event.preventDefault(); apply(); input.blur(); });
  }

  // ---- keys

  function chosen() { return main.querySelector("tr.chosen"); }

  function choose(step) {
    const now = chosen();
    const rows = [...main.querySelectorAll("tbody tr")];
    if (!rows.length) return;
    const at = now ? Math.min(Math.max(rows.indexOf(now) + step, 0), rows.length - 1) : 0;
    if (now) now.classList.remove("chosen");
    rows[at].classList.add("chosen");
    rows[at].scrollIntoView({ block: "nearest" });
  }

  const help = document.getElementById("help");
  document.getElementById("help-open").addEventListener("click", () => help.showModal());

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const field = event.target.closest("input, select, textarea");
    if (field) {
      if (event.key === "Escape") { field.value = ""; field.dispatchEvent(new Event("input")); field.blur(); event.preventDefault(); }
      return;
    }
    const tab = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
    const row = chosen();
    if (tab) tab.click();
    else if (event.key === "j" || event.key === "ArrowDown") choose(1);
    else if (event.key === "k" || event.key === "ArrowUp") choose(-1);
    else if (event.key === "/") { const list = row ? row.closest("section") : main; list.querySelector("input[type=search]").select(); }
    else if (event.key === "Enter" && row && event.target === document.body) { const link = row.querySelector("a"); if (link) link.click(); }
    else if (event.key === "Escape") history.length > 1 ? history.back() : location.assign(root);
    else if (event.key === "i" && document.getElementById("ask-worker")) document.getElementById("ask-worker").click();
    else if (event.key === " ") {
      if (!row || event.target.closest("a, button, summary")) return;
      marking.toggle(row);
      choose(1);
    }
    else if (event.key === "*") { const list = (row || main.querySelector("tbody tr"))?.closest("section"); if (list) marking.all(list); }
    else if (event.key === "U") marking.clear();
    else if (event.key === "m") { const more = new URLSearchParams(params); more.set("limit", "1000"); go(more); }
    else if (event.key === "t") toggleTheme();
    else if (event.key === "?") help.showModal();
    else return;
    event.preventDefault();
  });
  main.addEventListener("click", (event) => {
    const row = event.target.closest("tbody tr");
    if (!row || event.target.closest("a, button")) return;
    if (chosen()) chosen().classList.remove("chosen");
    row.classList.add("chosen");
    if (event.ctrlKey || event.metaKey) marking.toggle(row);
  });

  connect();
})();
