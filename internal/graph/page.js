"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const words = { ended: "ended", missing: "not rendered", soon: "ends soon", unknown: "end unknown", later: "ends later", never: "never ends" };
  const glyphs = { ended: "×", missing: "", soon: "!", unknown: "?", later: "", never: "∞" };
  const ranks = Object.keys(words);
  const today = Date.now() / 1000;
  const stateOf = (k) => {
    if (k.missing) return "missing";
    const first = Math.min(k.end > 0 ? k.end : Infinity, k.ca > 0 ? k.ca : Infinity);
    if (first <= today) return "ended";
    if (first <= today + data.within) return "soon";
    return k.end > 0 ? "later" : k.end < 0 ? "never" : "unknown";
  };
  const date = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);
  const clusters = data.clusters.map(([name, group, source, destination]) => ({ name, group, source, destination }));
  const kinds = data.kinds.map(([to, namespace, name, end, ca, flags, why]) => ({ to: clusters[to], namespace, name, end, ca, missing: !!(flags & 1), back: !!(flags & 2), why }));
  for (const k of kinds) {
    k.state = stateOf(k);
    k.when = k.missing ? "–" : k.end > 0 ? date(k.end) : k.end < 0 ? "never" : "unknown";
    k.id = (k.namespace ? k.namespace + "/" : "") + k.name;
  }
  const pairs = [];
  for (const [from, folder, list] of data.rows) {
    for (const kind of list) {
      const k = kinds[kind], n = pairs.length;
      const file = data.files[n] ?? folder + k.id + ".yaml";
      const findings = (data.findings[n] || []).map((i) => data.texts[i]);
      pairs.push({ n, from: clusters[from], to: k.to, k, file, findings, open: findings.filter((f) => !f[3]) });
    }
  }
  const rows = clusters.filter((c) => c.source), columns = clusters.filter((c) => c.destination);
  rows.forEach((c, i) => { c.row = i; });
  columns.forEach((c, i) => { c.column = i; });

  // Cells: the pairs of one cluster to another, shown as the gravest of them.
  const cells = new Map();
  const keyOf = (row, column) => row * columns.length + column;
  for (const p of pairs) {
    const key = keyOf(p.from.row, p.to.column);
    let c = cells.get(key);
    if (!c) cells.set(key, c = { row: p.from.row, column: p.to.column, pairs: [], back: true, open: 0, rank: ranks.length });
    c.pairs.push(p);
    c.back = c.back && p.k.back;
    c.open += p.open.length;
    c.rank = Math.min(c.rank, ranks.indexOf(p.k.state));
  }

  // Filters.
  const form = $("filters");
  const fill = (select, values) => {
    for (const v of values) {
      const option = document.createElement("option");
      option.value = option.textContent = v;
      select.append(option);
    }
    if (values.length < 2) select.parentElement.hidden = true;
  };
  const groupsOf = (list) => [...new Set(list.map((c) => c.group))].filter((g) => g !== "");
  fill(form.elements.source, groupsOf(rows));
  fill(form.elements.destination, groupsOf(columns));
  if (!data.validated) form.elements.finding.parentElement.hidden = true;
  const textOf = (p) => p.text ??= [p.from.name, p.to.name, p.from.group, p.to.group, p.k.id, p.file, p.k.when, words[p.k.state], ...p.findings.flat()].join("\n").toLowerCase();
  let chosen = null; // a cell
  const matches = () => {
    const value = (name) => form.elements[name].value;
    const asked = value("search").toLowerCase().split(/\s+/).filter(Boolean);
    const state = value("end"), way = value("way"), finding = value("finding"), source = value("source"), destination = value("destination");
    return pairs.filter((p) => (!state || p.k.state === state) && (!way || p.k.back === (way === "both")) && (!finding || (p.open.length > 0) === (finding === "some")) &&
      (!source || p.from.group === source) && (!destination || p.to.group === destination) && (!chosen || (p.from.row === chosen.row && p.to.column === chosen.column)) &&
      asked.every((word) => textOf(p).includes(word)));
  };

  // The table, a page at a time.
  const size = 100;
  const sorts = {
    source: (a, b) => a.from.row - b.from.row, destination: (a, b) => a.to.column - b.to.column,
    pair: (a, b) => (a.k.id < b.k.id ? -1 : a.k.id > b.k.id ? 1 : 0),
    end: (a, b) => ranks.indexOf(a.k.state) - ranks.indexOf(b.k.state) || (a.k.end || 0) - (b.k.end || 0),
    way: (a, b) => a.k.back - b.k.back, finding: (a, b) => b.open.length - a.open.length,
  };
  let shown = pairs, page = 0, sort = "end", down = false;
  const element = (name, text, className) => {
    const e = document.createElement(name);
    if (text !== undefined) e.textContent = text;
    if (className) e.className = className;
    return e;
  };
  const table = () => {
    const pages = Math.max(1, Math.ceil(shown.length / size));
    page = Math.min(page, pages - 1);
    const body = document.createDocumentFragment();
    for (const p of shown.slice(page * size, (page + 1) * size)) {
      const tr = element("tr");
      const end = element("td", undefined, "state");
      end.append(element("i", undefined, p.k.state), p.k.missing ? words.missing : p.k.when + (p.k.state === "ended" || p.k.state === "soon" ? " (" + words[p.k.state] + ")" : ""));
      if (p.k.why) end.title = p.k.why;
      const id = element("td", p.k.id);
      id.title = p.file;
      const found = element("td");
      for (const f of p.findings) {
        const line = element("div", (f[3] ? "waived: " : f[1] + ": ") + f[0]);
        line.title = f[2] + (f[3] ? " (" + f[3] + ")" : "");
        found.append(line);
      }
      const name = element("th", p.from.name);
      name.scope = "row";
      tr.append(name, element("td", p.to.name), id, end, element("td", p.k.back ? "yes" : "no"));
      if (data.validated) tr.append(found);
      body.append(tr);
    }
    $("body").replaceChildren(body);
    $("page").textContent = `page ${page + 1} of ${pages}`;
    $("before").disabled = page === 0;
    $("after").disabled = page >= pages - 1;
    for (const th of document.querySelectorAll("thead th")) {
      const own = th.dataset.sort === sort;
      if (own) th.setAttribute("aria-sort", down ? "descending" : "ascending"); else th.removeAttribute("aria-sort");
      th.querySelector("span").textContent = own ? (down ? " ▼" : " ▲") : "";
    }
  };
  const order = () => {
    const by = sorts[sort], sign = down ? -1 : 1;
    shown.sort((a, b) => sign * by(a, b) || a.n - b.n);
  };
  let visible = null; // keys of the cells that match; null is all
  const refresh = () => {
    shown = matches();
    visible = shown.length === pairs.length ? null : new Set(shown.map((p) => keyOf(p.from.row, p.to.column)));
    order();
    page = 0;
    table();
    paint();
    $("count").textContent = shown.length === pairs.length ? `${pairs.length} pairs` : `${shown.length} of ${pairs.length} pairs`;
  };

  // The matrix. What does not change with the pointer is painted once.
  const canvas = $("matrix"), context = canvas.getContext("2d"), base = document.createElement("canvas");
  const font = 'ui-sans-serif, system-ui, "DejaVu Sans", sans-serif';
  const most = Math.max(rows.length, columns.length);
  const cell = most <= 16 ? 28 : most <= 40 ? 20 : most <= 90 ? 12 : most <= 150 ? 6 : 4;
  const labelled = cell >= 11, short = (s) => (s.length > 32 ? s.slice(0, 31) + "…" : s);
  context.font = "12px " + font;
  const widest = (list) => (labelled ? Math.max(0, ...list.map((c) => context.measureText(short(c.name)).width)) + 10 : 0);
  const band = data.label ? 20 : 0;
  const left = Math.ceil(widest(rows)) + band + 2, top = Math.ceil(widest(columns)) + band + 2;
  const width = left + cell * columns.length + 2, height = top + cell * rows.length + 2;
  const ratio = () => Math.max(1, Math.min(3, window.devicePixelRatio || 1));
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const bands = (g, list, draw) => {
    for (let i = 0; i < list.length;) {
      const first = i;
      while (i < list.length && list[i].group === list[first].group) i++;
      draw(list[first].group, first * cell, i * cell);
    }
  };
  const paint = () => {
    const r = ratio(), g = base.getContext("2d");
    base.width = canvas.width = width * r;
    base.height = canvas.height = height * r;
    canvas.style.width = width + "px";
    canvas.style.height = height + "px";
    const colors = Object.fromEntries([...ranks, "bg", "grid", "self", "text", "muted", "line", "inverse"].map((n) => [n, color(n)]));
    g.setTransform(r, 0, 0, r, 0, 0);
    g.fillStyle = colors.bg;
    g.fillRect(0, 0, width, height);
    g.fillStyle = colors.grid;
    g.fillRect(left, top, cell * columns.length, cell * rows.length);
    g.fillStyle = colors.self;
    for (const c of clusters) if (c.source && c.destination) g.fillRect(left + c.column * cell, top + c.row * cell, cell, cell);
    const gap = cell >= 11 ? 2 : 0.5, line = cell >= 11 ? 2 : 1;
    g.textAlign = "center";
    g.textBaseline = "middle";
    for (const [key, c] of cells) {
      const x = left + c.column * cell + gap, y = top + c.row * cell + gap, side = cell - 2 * gap, state = ranks[c.rank];
      g.globalAlpha = visible && !visible.has(key) ? 0.15 : 1;
      if (c.back && state !== "missing") {
        g.fillStyle = colors[state];
        g.fillRect(x, y, side, side);
      } else {
        g.strokeStyle = colors[state];
        g.lineWidth = line;
        g.setLineDash(state === "missing" ? [2, 2] : []);
        g.strokeRect(x + line / 2, y + line / 2, side - line, side - line);
      }
      if (cell >= 20 && glyphs[state]) {
        g.fillStyle = c.back ? colors.inverse : colors[state];
        g.font = "700 13px " + font;
        g.fillText(glyphs[state], x + side / 2, y + side / 2 + 1);
      }
      if (c.open) {
        g.fillStyle = colors.text;
        g.strokeStyle = colors.bg;
        g.setLineDash([]);
        g.lineWidth = cell >= 11 ? 1.5 : 0;
        g.beginPath();
        g.arc(left + (c.column + 0.76) * cell, top + (c.row + 0.24) * cell, Math.max(1, cell / 7), 0, 7);
        g.fill();
        if (cell >= 11) g.stroke();
      }
    }
    g.globalAlpha = 1;
    g.setLineDash([]);
    g.fillStyle = colors.muted;
    g.font = "12px " + font;
    const turned = (text, x, y, align) => {
      g.save();
      g.translate(x, y);
      g.rotate(-Math.PI / 2);
      g.textAlign = align;
      g.fillText(text, 0, 0);
      g.restore();
    };
    if (labelled) {
      g.textAlign = "right";
      rows.forEach((c, i) => g.fillText(short(c.name), left - 6, top + (i + 0.5) * cell));
      columns.forEach((c, i) => turned(short(c.name), left + (i + 0.5) * cell, top - 6, "left"));
    }
    if (data.label) {
      g.strokeStyle = colors.line;
      g.lineWidth = 1;
      const path = (...points) => { g.beginPath(); g.moveTo(points[0], points[1]); g.lineTo(points[2], points[3]); g.stroke(); };
      bands(g, columns, (group, from, to) => {
        path(left + from, 0, left + from, height);
        g.textAlign = "left";
        if (g.measureText(group).width < to - from - 4) g.fillText(group, left + from + 4, 10);
      });
      bands(g, rows, (group, from, to) => {
        path(0, top + from, width, top + from);
        if (g.measureText(group).width < to - from - 4) turned(group, 10, top + from + 4, "right");
      });
    }
    overlay();
  };
  let at = null; // {row, column} under the pointer or the keys
  const overlay = () => {
    const r = ratio();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(base, 0, 0);
    context.setTransform(r, 0, 0, r, 0, 0);
    for (const spot of [at, chosen]) {
      if (!spot) continue;
      context.strokeStyle = color("focus");
      context.globalAlpha = 0.12;
      context.fillStyle = color("focus");
      context.fillRect(left, top + spot.row * cell, cell * columns.length, cell);
      context.fillRect(left + spot.column * cell, top, cell, cell * rows.length);
      context.globalAlpha = 1;
      context.lineWidth = spot === chosen ? 3 : 2;
      context.strokeRect(left + spot.column * cell, top + spot.row * cell, cell, cell);
    }
  };
  const tell = (spot) => {
    const from = rows[spot.row], to = columns[spot.column], c = cells.get(keyOf(spot.row, spot.column));
    const names = from.name + (from.group ? ` (${from.group})` : "") + " → " + to.name + (to.group ? ` (${to.group})` : "");
    if (!c) return names + (from === to ? ": the cluster itself" : ": no pair");
    const few = c.pairs.slice(0, 3).map((p) => `${p.k.id}, ${words[p.k.state]}${p.k.end > 0 ? " on " + p.k.when : ""}${p.k.why ? ": " + p.k.why : ""}${p.open.map((f) => `, ${f[1]} ${f[0]}`).join("")}`);
    return names + ": " + few.join("; ") + (c.pairs.length > 3 ? `; ${c.pairs.length - 3} more` : "") + (c.back ? "" : "; no way back");
  };
  const move = (spot) => {
    at = spot;
    $("status").textContent = spot ? tell(spot) : $("status").dataset.hint;
    overlay();
  };
  const spotOf = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - left) / cell), row = Math.floor((event.clientY - box.top - top) / cell);
    return row >= 0 && column >= 0 && row < rows.length && column < columns.length ? { row, column } : null;
  };
  const choose = (spot) => {
    chosen = spot && chosen && spot.row === chosen.row && spot.column === chosen.column ? null : spot;
    $("clear").disabled = !chosen;
    refresh();
  };
  canvas.addEventListener("pointermove", (e) => {
    const spot = spotOf(e);
    if (spot?.row !== at?.row || spot?.column !== at?.column) move(spot);
  });
  canvas.addEventListener("pointerleave", () => move(null));
  canvas.addEventListener("click", (e) => choose(spotOf(e)));
  canvas.addEventListener("focus", () => { if (!at && rows.length && columns.length) move({ row: 0, column: 0 }); });
  canvas.addEventListener("keydown", (e) => {
    if (!rows.length || !columns.length || e.ctrlKey || e.metaKey || e.altKey) return;
    const s = at ? { ...at } : { row: 0, column: 0 };
    switch (e.key) {
      case "ArrowUp": s.row--; break;
      case "ArrowDown": s.row++; break;
      case "ArrowLeft": s.column--; break;
      case "ArrowRight": s.column++; break;
      case "Home": s.column = 0; break;
      case "End": s.column = columns.length - 1; break;
      case "PageUp": s.row = 0; break;
      case "PageDown": s.row = rows.length - 1; break;
      case "Enter": case " ": choose(s); break;
      case "Escape": choose(null); break;
      default: return;
    }
    e.preventDefault();
    move({ row: Math.max(0, Math.min(rows.length - 1, s.row)), column: Math.max(0, Math.min(columns.length - 1, s.column)) });
  });

  form.addEventListener("input", refresh);
  form.addEventListener("submit", (e) => e.preventDefault());
  form.addEventListener("reset", () => { chosen = null; $("clear").disabled = true; setTimeout(refresh); });
  $("clear").addEventListener("click", () => choose(null));
  $("before").addEventListener("click", () => { page--; table(); });
  $("after").addEventListener("click", () => { page++; table(); });
  for (const th of document.querySelectorAll("thead th")) {
    th.querySelector("button").addEventListener("click", () => {
      down = sort === th.dataset.sort && !down;
      sort = th.dataset.sort;
      page = 0;
      order();
      table();
    });
  }
  document.addEventListener("keydown", (e) => {
    if (e.key === "/" && !/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) {
      e.preventDefault();
      form.elements.search.focus();
    }
  });

  // Light and dark: as the system says, until the switch is used.
  const system = matchMedia("(prefers-color-scheme: dark)");
  let dark = null;
  const theme = () => {
    const on = dark ?? system.matches;
    document.documentElement.dataset.theme = on ? "dark" : "light";
    $("theme").setAttribute("aria-pressed", String(on));
    paint();
  };
  system.addEventListener("change", theme);
  $("theme").addEventListener("click", () => { dark = !(dark ?? system.matches); theme(); });
  window.addEventListener("resize", paint);
  refresh();
  theme();
  document.documentElement.dataset.ready = "true";
})();
