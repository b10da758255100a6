// Elements of what a coordinator tells. All of it becomes text, never markup: names come from clients.

export const byId = (id) => document.getElementById(id);

// An element with attributes (true: without a value; null or false: none) and children: nodes, or texts.
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map((child) => child instanceof Node ? child : String(child)));
  return node;
}

export function duration(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return "–";
  if (seconds < 0.0005) return "0 s";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export function bytes(count) {
  if (typeof count !== "number") return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${count >= 100 || unit === 0 ? count.toFixed(0) : count.toFixed(1)} ${units[unit]}`;
}

export const number = (value) => typeof value === "number" ? value.toLocaleString("en", { maximumFractionDigits: 1 }) : "–";
// Without the namespace before it.
export const shortKey = (key) => String(key ?? "").split(".").at(-1).slice(0, 12);
export const graphLink = (key) => `#/graph/${encodeURIComponent(key)}`;

export const graphAnchor = (g) => el("a", { href: graphLink(g.graph_key) }, g.name || shortKey(g.graph_key));

const moods = {
  ready: "good", idle: "good", loaded: "good", busy: "busy", running: "busy", storing: "busy",
  queued: "warn", wants_graph: "warn", looking: "warn", starting: "warn", draining: "warn",
  failed: "bad", unavailable: "bad",
};

export function chip(state, before = "") {
  return el("span", { class: `chip ${moods[state] ?? ""}` }, before + String(state ?? "–").replaceAll("_", " "));
}

// Pairs of name and value; a value is a node or a text. Without a value there is no pair.
export function facts(list, pairs) {
  const wanted = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  list.replaceChildren(...wanted.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

// A table that is filled again and again: rows that say the same stay, so that neither focus nor selection is lost.
// `columns`: {head, number, cell: (item) => node or text}; the first column heads its row. `key`: (item) => text.
export class Table {
  constructor(table, columns, key, empty) {
    this.columns = columns;
    this.key = key;
    this.empty = empty;
    this.rows = new Map();
    table.setAttribute("role", "table");
    const heads = columns.map((c) => el("th", { scope: "col", role: "columnheader", class: c.number ? "number" : null }, c.head));
    this.body = el("tbody", { role: "rowgroup" });
    table.replaceChildren(el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)), this.body);
  }

  fill(items) {
    const rows = new Map();
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    const [heldKey, heldLabel] = [focused?.closest("tr")?.dataset.key, focused?.textContent];
    for (const item of items) {
      const key = this.key(item);
      const row = this.row(item, key);
      const known = this.rows.get(key);
      rows.set(key, known && known.isEqualNode(row) ? known : row);
    }
    this.rows = rows;
    const wanted = rows.size > 0 ? [...rows.values()] : [el("tr", { role: "row", class: "none" }, el("td", { class: "empty", role: "cell", colspan: this.columns.length }, this.empty))];
    const same = wanted.length === this.body.children.length && wanted.every((row, i) => row === this.body.children[i]);
    if (same) return;
    this.body.replaceChildren(...wanted);
    if (!focused || document.activeElement === focused) return;
    const again = heldKey === undefined ? null : rows.get(heldKey);
    [...(again?.querySelectorAll("a, button") ?? [])].find((node) => node.textContent === heldLabel)?.focus({ preventScroll: true });
  }

  row(item, key) {
    const cells = this.columns.map((column, i) => {
      const content = column.cell(item);
      const blank = content === "" || content === null;
      if (i === 0) return el("th", { scope: "row", role: "rowheader" }, content);
      const kind = [column.number ? "number" : "", blank ? "blank" : ""].join(" ").trim();
      return el("td", { role: "cell", class: kind || null, "data-label": column.head || null }, content);
    });
    return el("tr", { role: "row", "data-key": key }, ...cells);
  }
}
