"use strict";
// Doing something: what has to be filled in is asked first, then the server says what it would be,
// and it is done after a yes. And asking a worker, which also sends something. Every text of a
// watched system goes into the page by textContent, or comes escaped in a page of ours.
window.bgtopActing = function (main, make) {
  const deeds = JSON.parse(main.dataset.deeds);  // name: [label, danger, [[field, words, kind, usual, needed]]]
  const part = (id) => document.getElementById(id);
  const fill = part("fill");
  const MOST_NAMED = 3;
  let filling = null;
  let asking = null;

  function requestOf(name, target) {
    const request = { verb: name === "terminate" ? "cancel" : name, ...target };
    if (name === "terminate") request.terminate = true;
    return request;
  }

  // To each of these; what has to be filled in is asked once for all.
  function button(name, targets, done) {
    const [label, danger, blanks] = deeds[name];
    const made = make("button", danger ? "danger" : "", blanks.length ? `${label}…` : label);
    made.type = "button";
    made.addEventListener("click", (event) => {
      event.stopPropagation();
      const requests = targets.map((target) => requestOf(name, target));
      if (blanks.length) ask(name, blanks, requests, done); else confirm(name, requests, done);
    });
    return made;
  }

  function buttons(offer) {
    if (!offer) return [];
    const [names, target] = offer;
    return names.map((name) => button(name, [target]));
  }

  function offer(found) {
    const made = buttons(found);
    const place = part("deeds");
    // What has the focus must keep it while numbers change.
    const at = [...place.children].indexOf(document.activeElement);
    if (found && found[2]) made.push(make("span", "cannot", found[2]));
    place.replaceChildren(...made);
    if (at >= 0 && made[at]) made[at].focus({ preventScroll: true });
  }

  function notice(words, tone) {
    const place = part("notice");
    place.textContent = words;
    place.className = `notice s-${tone}`;
    place.hidden = !words;
  }

  async function send(request) {
    const headers = { "Content-Type": "application/json" };
    if (main.dataset.guard) headers["X-Bgtop-Guard"] = main.dataset.guard;
    const answer = await fetch(`${main.dataset.root}api/v1/actions`, { method: "POST", headers, body: JSON.stringify(request) });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.detail || answer.statusText);
    return said;
  }

  // ---- first what has to be filled in

  function known(field) {
    // What the worker said, and of queues also what was seen; limits stand behind the name of a task.
    const cells = [...main.querySelectorAll(`[data-names="${field}"] td:first-child`)];
    if (field === "queue") cells.push(...main.querySelectorAll('[data-table="reads"] tbody td:first-child'));
    return [...new Set(cells.map((cell) => field === "task" ? cell.textContent.split(" [")[0] : cell.textContent))];
  }

  function blank([field, words, kind, usual, needed]) {
    const label = make("label", "", `${words} `);
    const input = make("input");
    input.name = field;
    input.value = usual;
    input.required = needed;
    input.autocomplete = "off";
    input.maxLength = 1000;
    if (kind !== "text") { input.type = "number"; input.min = 0; input.step = kind === "count" ? 1 : "any"; }
    const names = known(field);
    if (names.length) {
      const list = make("datalist");
      list.id = `known-${field}`;
      list.append(...names.map((name) => { const one = make("option"); one.value = name; return one; }));
      input.setAttribute("list", list.id);
      label.append(list);
    }
    label.append(input);
    return label;
  }

  function ask(name, blanks, requests, done) {
    filling = { name, requests, done };
    const [{ worker, queue, source }] = requests;
    const object = requests.length > 1 ? `${requests.length} rows` : worker || queue || source;
    part("fill-words").textContent = `${deeds[name][0]}: ${object}`;
    // What the row or the page says already is not asked.
    part("fill-fields").replaceChildren(...blanks.filter(([field]) => !(field in requests[0])).map(blank));
    fill.showModal();
    fill.querySelector("input").select();
  }

  part("fill-no").addEventListener("click", () => fill.close());
  part("fill-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const { name, requests, done } = filling;
    const filled = {};
    for (const input of fill.querySelectorAll("input")) {
      if (input.value !== "") filled[input.name] = input.type === "number" ? Number(input.value) : input.value;
    }
    fill.close();
    confirm(name, requests.map((request) => ({ ...request, ...filled })), done);
  });

  // ---- then whether it is meant

  async function confirm(name, requests, done) {
    notice("", "info");
    try {
      const said = [];
      for (const request of requests.slice(0, MOST_NAMED)) said.push(await send({ ...request, dry_run: true }));
      const questions = said.map(({ question }) => question[0].toUpperCase() + question.slice(1));
      const more = requests.length - said.length;
      const one = requests.length === 1;
      part("ask-words").textContent = one ? questions[0] : `${deeds[name][0]}: ${requests.length} rows?`;
      const able = said.every((each) => each.able) ? [] : ["This system will refuse it."];
      part("ask-more").textContent = [...(one ? [] : questions), ...(more ? [`And ${more} more.`] : []), ...able].join(" ");
      part("ask-yes").textContent = deeds[name][0];
      asking = { requests, done };
      part("ask").showModal();
      part("ask-no").focus();
    } catch (fault) { notice(fault.message, "bad"); }
  }

  // One after the other: what is refused for one row says nothing of the next.
  async function carryOut(requests) {
    let words = "";
    const faults = [];
    for (const request of requests) {
      try { words = (await send(request)).words; } catch (fault) { faults.push(fault.message); }
    }
    const well = requests.length - faults.length;
    if (requests.length === 1) notice(faults[0] || words, faults.length ? "bad" : "good");
    else notice(`${well} of ${requests.length} done${faults.length ? `; ${faults[0]}` : ""}`, faults.length ? "bad" : "good");
  }

  part("ask").addEventListener("close", async (event) => {
    const meant = asking;
    asking = null;
    if (event.target.returnValue !== "yes" || !meant) return;
    event.target.returnValue = "";
    notice("working…", "info");
    if (meant.done) meant.done();
    await carryOut(meant.requests);
    const told = main.querySelector("#told .panel");
    if (told) inquire();
  });

  // ---- asking a worker: the same page once more, of which the part it says is taken

  async function inquire() {
    const link = part("ask-worker");
    if (link.getAttribute("aria-busy")) return;
    link.setAttribute("aria-busy", "true");
    link.textContent = "asking…";
    const had = document.activeElement === link;
    const open = new Map([...main.querySelectorAll("#told details")].map((one) => [one.firstElementChild.firstChild.data, one.open]));
    try {
      const answer = await fetch(link.href);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const told = page.getElementById("told");
      if (!told) throw new Error(`the server answered ${answer.status}`);
      for (const one of told.querySelectorAll("details")) {
        const before = open.get(one.firstElementChild.firstChild.data);
        if (before !== undefined) one.open = before;
      }
      part("told").replaceWith(document.adoptNode(told));
      listen();
      if (had && part("ask-worker")) part("ask-worker").focus();
    } catch (fault) {
      link.removeAttribute("aria-busy");
      link.textContent = "Ask again";
      notice(fault.message, "bad");
    }
  }

  function listen() {
    const link = part("ask-worker");
    if (link) link.addEventListener("click", (event) => { event.preventDefault(); inquire(); });
    for (const table of main.querySelectorAll("#told table[data-deeds]")) {
      const names = JSON.parse(table.dataset.deeds);
      table.tHead.rows[0].append(make("th", "acts"));
      for (const row of table.tBodies[0].rows) {
        const target = { source: table.dataset.source, id: row.cells[0].textContent };
        const cell = make("td", "acts");
        cell.append(...buttons([names, target]));
        row.append(cell);
      }
    }
  }
  listen();

  return { button, buttons, offer };
};
