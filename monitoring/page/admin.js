// What may be seen and done once a token is known. It is kept in this variable only: a reload forgets it.

import { byId } from "./dom.js";

let token = null;
let acts = false;  // the token is the one for actions, not only for reading
let changed = () => {};

export const unlocked = () => acts;
export const headers = (withToken = token) => withToken === null ? {} : { Authorization: `Bearer ${withToken}` };

export function say(text, mood = "") {
  const said = byId("said");
  said.textContent = text;
  said.className = mood;
  said.hidden = text === "";
}

async function post(action, body, withToken = token) {
  const answer = await fetch(`api/${action}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers(withToken) },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10000),
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.reason);
  return told;
}

function confirmed(text, verb) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = verb;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

// Asks for confirmation, does it, and says what came of it.
export async function act(action, body, question, verb, outcome) {
  if (!(await confirmed(question, verb))) return;
  try {
    say(outcome(await post(action, body)), "good");
  } catch (why) {
    say(`${verb}: ${why.message}`, "bad");
  }
  changed();
}

function show() {
  byId("admin-form").hidden = token !== null;
  byId("admin-open").hidden = token === null;
  byId("admin-note").hidden = !acts;
  byId("reset-stats").hidden = !acts;
  byId("admin-token").value = "";
}

// Whether actions are on, and whether reading wants a token; throws when it wants another one than this.
async function ask(withToken = token) {
  const answer = await fetch("api/admin", { headers: headers(withToken), signal: AbortSignal.timeout(10000) });
  const told = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(told.reason), { status: answer.status });
  return told;
}

async function mayAct(withToken, orElse) {
  try {
    await post("check-token", {}, withToken);
    return true;
  } catch (why) {
    if (!orElse) throw why;
    return false;
  }
}

async function unlock(event) {
  event.preventDefault();
  const given = byId("admin-token").value;
  try {
    const { enabled, reason, reading_wants_token } = await ask(given);
    acts = (enabled || !reading_wants_token) && await mayAct(given, reading_wants_token);
    token = given;
    byId("admin-reason").textContent = reason;
    say(acts ? "Unlocked." : "Unlocked for reading.", "good");
  } catch (why) {
    say(`Not unlocked: ${why.message}`, "bad");
  }
  show();
  changed();
}

export async function start(whenChanged) {
  changed = whenChanged;
  byId("admin-form").addEventListener("submit", unlock);
  byId("lock").addEventListener("click", () => { token = null; acts = false; say("Locked."); show(); changed(); });
  byId("reset-stats").addEventListener("click", () => act("reset-stats", {},
    "Set the statistics of this coordinator to zero? The metrics for Prometheus go on.", "Reset", () => "The statistics begin anew."));
  try {
    const { enabled, reason } = await ask();
    byId("admin-reason").textContent = reason;
    if (enabled) show();
  } catch (why) {
    const wantsToken = why.status === 401;
    byId("admin-reason").textContent = wantsToken ? "Reading this page wants a token, too." : `Whether there are any is not known: ${why.message}`;
    if (wantsToken) show();
  }
}
