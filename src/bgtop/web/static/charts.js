"use strict";
// Pictures of numbers as SVG: a line over an area, from zero to the largest value.
(function () {
  const SPACE = "http://www.w3.org/2000/svg";

  function part(name, attributes) {
    const made = document.createElementNS(SPACE, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
    return made;
  }

  // Pieces of the line: what is not known is a gap, not a zero.
  function pieces(values, wide, high, most) {
    const step = values.length > 1 ? wide / (values.length - 1) : wide;
    const found = [];
    let piece = [];
    values.forEach((value, at) => {
      if (value === null) { if (piece.length) found.push(piece); piece = []; return; }
      piece.push([at * step, high - (value / most) * (high - 2) - 1]);
    });
    if (piece.length) found.push(piece);
    return found;
  }

  function draw(values, className, label) {
    const wide = 240, high = 60;
    const picture = part("svg", { viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: "none", class: className, role: "img" });
    picture.setAttribute("aria-label", label);
    const known = values.filter((value) => value !== null);
    const most = Math.max(...known, 0) || 1;
    picture.append(part("line", { class: "base", x1: 0, y1: high - 0.5, x2: wide, y2: high - 0.5 }));
    for (const piece of pieces(values, wide, high, most)) {
      const points = piece.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`);
      if (points.length === 1) points.push(`${(piece[0][0] + 2).toFixed(1)} ${piece[0][1].toFixed(1)}`);
      const last = piece.length === 1 ? piece[0][0] + 2 : piece[piece.length - 1][0];
      picture.append(part("path", { class: "area", d: `M${points.join("L")}L${last.toFixed(1)} ${high}L${piece[0][0].toFixed(1)} ${high}Z` }));
      picture.append(part("path", { class: "line", d: `M${points.join("L")}` }));
    }
    return picture;
  }

  function short(value) {
    if (value === null || value === undefined) return "–";
    if (value >= 1000) return value >= 1e6 ? `${(value / 1e6).toFixed(1)}M` : `${(value / 1000).toFixed(1)}k`;
    return String(Number(value.toPrecision(3)));
  }

  function figure(chart) {
    const made = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const name = document.createElement("span");
    const now = document.createElement("b");
    const known = chart.values.filter((value) => value !== null);
    const last = chart.values[chart.values.length - 1];
    const said = (value) => `${short(value)} ${value === 1 && chart.unit === "jobs" ? "job" : chart.unit}`;
    name.textContent = `${chart.label}, most ${said(Math.max(...known))}`;
    now.textContent = said(last);
    caption.append(name, now);
    made.append(caption, draw(chart.values, "chart", `${chart.label}: ${said(last)} now`));
    return made;
  }

  window.bgtopCharts = { draw, figure };
})();
