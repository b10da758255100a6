// Asks the coordinator every other second, while somebody looks, and shows what it tells.

import * as admin from "./admin.js";
import { byId, bytes, chip, duration, el, facts, graphAnchor, number, shortKey, Table } from "./dom.js";
import { draw } from "./timeline.js";

const periodMs = 2000;
const answerMsMax = 8000;
const staleMs = 3 * periodMs;
const workersShownMax = 100;

let failure = "";      // why the last look came to nothing
let fresh = null;      // when the last one was good
let before = null;     // the document of that one, for rates
let status = null;
let timer = null;
let round = 0;         // of looks: a later one overtakes

async function get(path, parameters = {}, as = "json") {
  const wanted = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== ""));
  const answer = await fetch(`api/${path}${wanted.size > 0 ? `?${wanted}` : ""}`, { headers: admin.headers(), signal: AbortSignal.timeout(answerMsMax) });
  if (answer.ok) return as === "text" ? answer.text() : answer.json();
  const told = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(told.reason ?? `status ${answer.status}`), { status: answer.status });
}

// --- the farm ---------------------------------------------------------------------------------------------------------

const workerTable = new Table(byId("worker-table"), [
  { head: "Worker", cell: (w) => w.name },
  { head: "State", cell: workerState },
  { head: "Busy", number: true, cell: (w) => `${number(w.busy)} of ${number(w.slots)}` },
  { head: "GPUs", number: true, cell: (w) => w.gpus ? `${number(w.gpus_busy)} of ${number(w.gpus)}` : "" },
  { head: "Memory free", number: true, cell: (w) => w.memory_bytes ? `${bytes(w.memory_free_bytes)} of ${bytes(w.memory_bytes)}` : "" },
  { head: "Runs on", cell: (w) => platform(w.runs_on) },
  { head: "Problem", cell: (w) => w.problem },
  { head: "", cell: (w) => admin.unlocked() ? drainButton(w) : "" },
], (w) => w.name, "no workers");

const stageTable = new Table(byId("stage-table"), [
  { head: "Stage", cell: (s) => s.name },
  { head: "Want graph", number: true, cell: (s) => number(s.wants_graph) },
  { head: "Queued", number: true, cell: (s) => number(s.queued) },
  { head: "Running", number: true, cell: (s) => number(s.running) },
  { head: "Storing", number: true, cell: (s) => number(s.storing) },
  { head: "Longest wait", number: true, cell: (s) => duration(s.oldest_seconds) },
], (s) => s.name, "nothing is queued or running");

const jobColumns = [
  { head: "Graph", cell: (g) => graphAnchor(g) },
  { head: "Stage", cell: (g) => g.stage },
  { head: "Worker", cell: (g) => g.worker },
  { head: "Time", number: true, cell: (g) => duration(g.seconds) },
];
const jobKey = (g) => `${g.graph_key} ${g.stage}`;
const runningTable = new Table(byId("running-table"), jobColumns, jobKey, "nothing is running");
const slowestTable = new Table(byId("slowest-table"), jobColumns, jobKey, "nothing has been compiled");

const graphTable = new Table(byId("graph-table"), [
  { head: "Graph", cell: (g) => graphAnchor(g) },
  { head: "Stages", cell: (g) => el("span", {}, ...g.stages.map((s) => chip(s.state, `${s.name}: `))) },
  { head: "Wait", number: true, cell: (g) => duration(Math.max(0, ...g.stages.map((s) => s.queue_seconds))) },
  { head: "Compile", number: true, cell: (g) => duration(Math.max(0, ...g.stages.map((s) => s.compile_seconds))) },
  { head: "Lookups", number: true, cell: (g) => number(g.lookups) },
  { head: "Key", cell: (g) => el("span", { class: "key short" }, shortKey(g.graph_key)) },
], (g) => g.graph_key, "no graph");

// A worker that is kept starts nothing until it has the memory that a large job waits for.
function workerState(w) {
  if (!w.kept) return chip(w.state);
  if (!w.kept_for) return el("span", {}, chip(w.state), "kept");
  return el("span", {}, chip(w.state), "kept for ", graphAnchor(w.kept_for), ` ${w.kept_for.stage}`);
}

function platform(p) {
  if (!p?.torch) return "";
  return [p.device === "cpu" ? p.isa : p.gpu || p.device, `torch ${p.torch}`, `Python ${p.python}`].filter(Boolean).join(", ");
}

function drainButton(w) {
  const action = w.state === "draining" ? "undrain" : "drain";
  const verb = action === "drain" ? "Drain" : "Undrain";
  const question = action === "drain" ? `Have ${w.name} finish what it has and take nothing more?` : `Have ${w.name} take jobs again?`;
  return el("button", {
    type: "button", "aria-label": `${verb} ${w.name}`,
    click: () => admin.act(action, { worker: w.name }, question, verb, (told) => `${told.worker} ${told.draining ? "is draining" : "takes jobs again"}.`),
  }, verb);
}

// Growth per second since the look before; nothing when a restart or a reset lies between.
function rate(now, name) {
  const seconds = now.uptime_seconds - (before?.uptime_seconds ?? now.uptime_seconds);
  const grown = (now.counters[name] ?? 0) - (before?.counters[name] ?? 0);
  return seconds > 0 && grown >= 0 ? `${number(grown / seconds)} per second` : "";
}

const counted = (all) => Object.entries(all).filter(([, n]) => n > 0).map(([name, n]) => `${number(n)} ${name.replaceAll("_", " ")}`).join(", ");

function showOverview(s, top) {
  byId("who").textContent = `${s.role} ${s.id}`;
  document.title = `fxfarm ${s.id}`;
  byId("draining").hidden = !s.draining;
  const states = {};
  for (const w of top.workers) states[w.state] = (states[w.state] ?? 0) + 1;
  const c = top.counters;
  const served = ["memory", "disk", "redis", "job"].map((from) => [from, c[`stages_served_${from}`] ?? 0]);
  const tile = (name, value, small = "") => [name, el("span", {}, value, el("small", {}, small))];
  facts(byId("tiles"), [
    tile("Clients", number(s.peers.clients)),
    tile("Workers", number(s.peers.workers), counted(states)),
    tile("Queued", number(s.jobs.queued ?? 0), `${number(s.jobs.wants_graph ?? 0)} want their graph`),
    tile("Running", number(s.jobs.running ?? 0), `${number(s.jobs.storing ?? 0)} storing`),
    tile("Lookups", number(c.lookups ?? 0), rate(top, "lookups")),
    tile("Finished", number(c.jobs_finished ?? 0), rate(top, "jobs_finished")),
    tile("Failed", number(c.jobs_failed ?? 0), `${number(c.jobs_retried ?? 0)} retried`),
    tile("Served", number(served.reduce((all, [, n]) => all + n, 0)), served.filter(([, n]) => n > 0).map(([from, n]) => `${number(n)} ${from}`).join(", ")),
  ]);
  const store = Object.entries(s.store).map(([name, value]) => `${name.replaceAll("_", " ").replace(/ bytes$/, "")} ${typeof value === "number" ? bytes(value) : value}`);
  facts(byId("facts"), [
    ["Version", s.version], ["Up", duration(s.uptime_seconds)], ["Endpoints", s.endpoints.join(", ")],
    ["Store", store.join(", ")], ["Graphs held", bytes(s.graph_bytes)],
    ["Counters since", c.last_reset_timestamp_seconds ? new Date(c.last_reset_timestamp_seconds * 1000).toLocaleString() : ""],
    ["More", el("span", {}, el("a", { href: "metrics" }, "metrics"), ", ", el("a", { href: "readyz" }, "readiness"))],
  ]);
}

function showWorkers() {
  if (!status) return;
  const text = byId("worker-text").value.trim().toLowerCase();
  const order = ["unavailable", "starting", "draining", "busy", "idle"];
  const found = status.workers
    .filter((w) => [w.name, w.host, w.state, w.problem].join(" ").toLowerCase().includes(text))
    .sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state) || a.name.localeCompare(b.name));
  workerTable.fill(found.slice(0, workersShownMax));
  const more = found.length - workersShownMax;
  byId("worker-note").textContent = [
    more > 0 ? `${number(more)} more are not shown: search for them.` : "",
    status.truncated ? `The coordinator names ${number(status.workers.length)} of ${number(status.peers.workers)} workers.` : "",
  ].join(" ").trim();
}

function graphsWanted() {
  const text = byId("graph-text").value.trim();
  const isKey = /^[0-9a-f]{8,64}$/.test(text);
  return {
    name: isKey ? "" : text, key: isKey ? text : "", state: byId("graph-state").value,
    sort: byId("graph-sort").value, limit: byId("graph-limit").value,
  };
}

async function lookAtFarm(mine) {
  const [s, top, graphs] = await Promise.all([get("status"), get("top"), get("graphs", graphsWanted())]);
  if (mine !== round) return;
  status = s;
  showOverview(s, top);
  before = top;
  showWorkers();
  stageTable.fill(top.stages);
  runningTable.fill(top.running);
  slowestTable.fill(top.slowest);
  graphTable.fill(graphs.graphs);
  byId("graph-note").textContent = `${number(graphs.graphs.length)} shown of ${number(graphs.known)} that are known${graphs.truncated ? "; more did not fit into an answer" : ""}.`;
}

// --- one graph --------------------------------------------------------------------------------------------------------

function graphShown() {
  if (!location.hash.startsWith("#/graph/")) return null;
  const written = location.hash.slice("#/graph/".length);
  try {
    return decodeURIComponent(written);
  } catch {
    return written;  // by hand; there is no such graph
  }
}

function neighbour(n) {
  if (!n) return null;
  const differ = n.differ.map((d) => el("li", {}, `${d.part}: ${d.here} here, ${d.there} there`));
  return el("div", {}, el("p", {}, "Nearest known: ", graphAnchor(n),
    `, stage ${n.stage}; ${n.equal} parts of the key are equal, these differ:`), el("ul", {}, ...differ));
}

function stageCard(s) {
  return el("div", {},
    el("h3", {}, `${s.name} `, chip(s.state)),
    el("p", {}, s.why),
    s.advice ? el("p", {}, el("strong", {}, "To do: "), s.advice) : null,
    el("p", { class: "note key" }, shortKey(s.stage_key)),
    neighbour(s.neighbour));
}

async function lookAtGraph(key, mine) {
  try {
    const life = await get("explain", { graph: key });
    const told = await get("explain.txt", { graph: key }, "text");
    if (mine === round) showGraph(life, told);
  } catch (why) {
    if (mine !== round || ![400, 404].includes(why.status)) throw why;
    byId("graph-head").textContent = "No such graph";
    byId("graph-problem").textContent = why.message;
    byId("graph-problem").hidden = false;
    byId("graph-body").hidden = true;
  }
}

function showGraph(life, told) {
  byId("graph-problem").hidden = true;
  byId("graph-body").hidden = false;
  byId("graph-head").textContent = life.name || shortKey(life.graph_key);
  facts(byId("graph-facts"), [
    ["Key", el("span", { class: "key" }, life.graph_key)],
    ["Asked for", `${number(life.lookups)} times, first ${duration(life.age_seconds)} ago, last ${duration(life.asked_seconds_ago)} ago`],
    ["By spaces", life.spaces.join(", ")],
  ]);
  const cards = life.stages.map(stageCard);
  const shown = byId("graph-stages");
  if (cards.length !== shown.children.length || cards.some((card, i) => !card.isEqualNode(shown.children[i]))) shown.replaceChildren(...cards);
  draw(life.stages, life.events, life.age_seconds);
  if (byId("graph-told").textContent !== told) byId("graph-told").textContent = told;
  const remove = byId("cache-rm");
  remove.hidden = !admin.unlocked();
  remove.onclick = () => admin.act("cache-rm", { key: life.graph_key }, `Have the artifacts and failures of ${life.name} forgotten? Whoever asks next waits for a compile.`, "Remove",
    (done) => `Forgotten: ${done.stages} stages, ${done.failures} failures; ${done.in_flight} in flight were left.`);
}

// --- again and again --------------------------------------------------------------------------------------------------

function tellFreshness() {
  const at = byId("freshness");
  const age = fresh === null ? null : Date.now() - fresh;
  const stale = failure !== "" || (age !== null && age > staleMs && !document.hidden);
  at.classList.toggle("stale", stale);
  const when = fresh === null ? "nothing has come yet" : `as of ${new Date(fresh).toLocaleTimeString()}`;
  const text = stale ? `out of date: ${when}${failure ? ` (${failure})` : ""}` : fresh === null ? "loading…" : when;
  if (at.textContent !== text) at.textContent = text;
}

async function look() {
  clearTimeout(timer);
  const mine = ++round;
  const key = graphShown();
  byId("farm").hidden = key !== null;
  byId("graph").hidden = key === null;
  try {
    await (key === null ? lookAtFarm(mine) : lookAtGraph(key, mine));
    if (mine === round) { fresh = Date.now(); failure = ""; }
  } catch (why) {
    if (mine === round) failure = why.name === "TimeoutError" ? "no answer in time" : why.status === 401 ? "give the token, under Actions" : why.message;
  }
  if (mine !== round) return;
  tellFreshness();
  document.body.dataset.looks = String(Number(document.body.dataset.looks ?? 0) + 1);
  if (!document.hidden) timer = setTimeout(look, periodMs);
}

let typing = null;
function lookSoon() {
  clearTimeout(typing);
  typing = setTimeout(look, 250);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) { clearTimeout(timer); round += 1; } else look();
});
addEventListener("hashchange", () => {
  if (graphShown() !== null) { byId("graph-head").textContent = "…"; scrollTo(0, 0); }
  look().then(() => { if (graphShown() === null && location.hash) byId(location.hash.slice(1))?.scrollIntoView(); });
});
for (const form of document.querySelectorAll("form[role=search]")) form.addEventListener("submit", (e) => { e.preventDefault(); look(); });
byId("worker-text").addEventListener("input", showWorkers);
byId("graph-form").addEventListener("input", lookSoon);
setInterval(tellFreshness, 1000);
admin.start(look);
look();
