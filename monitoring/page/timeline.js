// A graph's stages over time, drawn from the events that `fxfarm explain --json` has.

import { byId, duration, el, svg, Table } from "./dom.js";

// In the order in which a stage goes through them. The phases of a compile are the engine's.
const kinds = {
  graph: "waits for the graph", queue: "queue", deserialize: "compile: deserialize", compile: "compile",
  kernels: "compile: kernels", pack: "compile: pack", store: "store", deliver: "delivery and load", lost: "attempt that came to nothing",
};
const phaseOrder = ["deserialize", "compile", "kernels", "pack"];
const inFlight = new Set(["looking", "wants_graph", "queued", "running", "storing"]);

// The spans and marks of one stage since it was last missed. `now`: seconds on the events' clock.
export function spansOf(events, stage, now) {
  let spans = [], marks = [], open = null;
  const close = (at, kind = open?.kind) => {
    if (open) spans.push({ kind, from: open.from, to: Math.max(at, open.from), label: kinds[kind] ?? kind });
    open = null;
  };
  const begin = (kind, at) => { close(at); open = { kind, from: at }; };
  const anew = () => { spans = []; marks = []; open = null; };
  const mark = (at, label, bad = false) => marks.push({ at, label, bad });
  for (const e of events) {
    if (e.stage_key !== stage.stage_key) continue;
    const at = e.seconds;
    switch (e.step) {
      case "missed": case "refused": anew(); begin("graph", at); break;
      case "forgotten": anew(); mark(at, "forgotten", true); break;
      case "queued": begin("queue", at); break;
      case "started": case "adopted": begin("compile", at); break;
      case "compiled": compiled(e); break;
      case "retried": close(at, open?.kind === "compile" ? "lost" : open?.kind); begin("queue", at); break;
      case "answered": if (open) begin("deliver", at); mark(at, "ready"); break;
      case "hit": if (spans.length === 0) mark(at, "found in the store"); break;
      case "switched": close(at); mark(at, "client runs it"); break;
      case "load_failed": close(at); mark(at, "could not be loaded", true); break;
      case "rolled_back": close(at); mark(at, "left again: slower", true); break;
      case "failed": case "quarantined": case "cancelled": close(at); mark(at, e.step, true); break;
      case "turned_away": case "remembered": close(at); mark(at, e.step.replace("_", " "), true); break;
    }
  }
  // Who never said that it runs the stage may be long gone.
  if (open && inFlight.has(stage.state)) close(now);
  return { spans, marks };

  function compiled(e) {
    if (open?.kind === "compile") {
      const phases = Object.entries(e.phases ?? {}).sort(([a], [b]) => rank(a) - rank(b));
      let from = open.from;
      for (const [name, seconds] of phases) {
        const to = Math.min(from + seconds, e.seconds);
        spans.push({ kind: kinds[name] ? name : "compile", from, to, label: name === "compile" ? "compile" : `compile: ${name}` });
        from = to;
      }
      open.from = from;
      // What the phases leave is the way there and back; when nothing is told, all of it is the compile.
      close(e.seconds, phases.length > 0 ? "store" : "compile");
    }
    open = { kind: "store", from: e.seconds };
  }
}

const rank = (phase) => { const i = phaseOrder.indexOf(phase); return i < 0 ? phaseOrder.length : i; };

// A step of 1, 2 or 5 times a power of 10 that divides the span into few parts.
export function tickStep(span, parts = 6) {
  const rough = Math.max(span / parts, 1e-4);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= rough);
}

const rowHeight = 46, barTop = 20, barHeight = 16;

export function draw(stages, events, now) {
  const rows = stages.map((stage) => ({ stage, ...spansOf(events, stage, now) }));
  const times = rows.flatMap((r) => [...r.spans.flatMap((s) => [s.from, s.to]), ...r.marks.map((m) => m.at)]);
  byId("timeline").hidden = times.length === 0;
  if (times.length === 0) return;
  const begin = Math.min(...times), end = Math.max(...times, begin + 0.001);
  const place = (at) => `${((at - begin) / (end - begin) * 96 + 1).toFixed(3)}%`;
  const width = (from, to) => `${((to - from) / (end - begin) * 96).toFixed(3)}%`;
  const height = rows.length * rowHeight + 24;

  const drawing = svg("svg", { height, role: "img", "aria-label": "Timeline of the stages; the table below has its numbers" });
  const step = tickStep(end - begin);
  for (let at = Math.ceil(begin / step) * step; at <= end + step * 1e-6; at += step) {
    drawing.append(svg("line", { class: "grid", x1: place(at), x2: place(at), y1: 0, y2: height - 20 }));
    const anchor = at - begin > (end - begin) * 0.9 ? "end" : "middle";
    drawing.append(svg("text", { class: "tick", x: place(at), y: height - 4, "text-anchor": at === begin ? "start" : anchor }, `${+at.toPrecision(6)} s`));
  }
  rows.forEach((row, i) => {
    const y = i * rowHeight;
    drawing.append(svg("text", { x: "1%", y: y + 14 }, `${row.stage.name}: ${String(row.stage.state).replaceAll("_", " ")}`));
    for (const s of row.spans) {
      const bar = { class: `span-${s.kind}`, x: place(s.from), width: width(s.from, s.to), y: y + barTop, height: barHeight };
      drawing.append(svg("rect", bar, svg("title", {}, `${s.label}: ${duration(s.to - s.from)}`)));
    }
    for (const m of row.marks) {
      const where = svg("svg", { x: place(m.at), y: y + barTop, overflow: "visible", width: 1, height: barHeight });
      where.append(svg("path", { class: m.bad ? "mark bad" : "mark", d: "M0 -3 L5 8 L0 19 L-5 8 Z" }, svg("title", {}, `${m.label} at ${duration(m.at)}`)));
      drawing.append(where);
    }
  });
  byId("timeline-drawing").replaceChildren(drawing);

  const shown = new Set(rows.flatMap((r) => r.spans.map((s) => s.kind)));
  byId("timeline-legend").replaceChildren(
    ...Object.keys(kinds).filter((kind) => shown.has(kind)).map((kind) => el("li", {}, svg("svg", { "aria-hidden": "true" }, svg("rect", { class: `span-${kind}`, width: 12, height: 12 })), kinds[kind])),
    el("li", {}, "◆ ready, client runs it, or an end"));
  fillTable(rows);
}

let table = null;

// The drawing in numbers.
function fillTable(rows) {
  const sum = (row, wanted) => {
    const some = row.spans.filter((s) => wanted.includes(s.kind));
    return some.length === 0 ? "" : duration(some.reduce((all, s) => all + s.to - s.from, 0));
  };
  const first = (row, label) => { const m = row.marks.find((one) => one.label === label); return m ? duration(m.at) : ""; };
  table ??= new Table(byId("timeline-table"), [
    { head: "Stage", cell: (r) => r.stage.name },
    { head: "Waits for the graph", number: true, cell: (r) => sum(r, ["graph"]) },
    { head: "Queue", number: true, cell: (r) => sum(r, ["queue"]) },
    { head: "Compile", number: true, cell: (r) => sum(r, ["deserialize", "compile", "kernels", "pack"]) },
    { head: "Phases", cell: (r) => r.spans.filter((s) => s.label.startsWith("compile")).map((s) => `${s.label.replace("compile: ", "")} ${duration(s.to - s.from)}`).join(", ") },
    { head: "Ready at", number: true, cell: (r) => first(r, "ready") },
    { head: "Client runs it at", number: true, cell: (r) => first(r, "client runs it") },
  ], (r) => r.stage.stage_key, "no stage");
  table.fill(rows);
}
