// What an operator may do, once the token is known. It is kept in this variable only: a reload forgets it.

import { byId } from "./dom.js";

let token = null;
let changed = () => {};

export const unlocked = () => token !== null;

export function say(text, mood = "") {
  const said = byId("said");
  said.textContent = text;
  said.className = mood;
  said.hidden = text === "";
}

async function post(action, body, withToken = token) {
  const answer = await fetch(`api/${action}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${withToken}` },
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
  byId("admin-form").hidden = unlocked();
  byId("admin-open").hidden = !unlocked();
  byId("admin-token").value = "";
}

async function unlock(event) {
  event.preventDefault();
  const given = byId("admin-token").value;
  try {
    await post("check-token", {}, given);
    token = given;
    say("Unlocked.", "good");
  } catch (why) {
    say(`Not unlocked: ${why.message}`, "bad");
  }
  show();
  changed();
}

export async function start(whenChanged) {
  changed = whenChanged;
  byId("admin-form").addEventListener("submit", unlock);
  byId("lock").addEventListener("click", () => { token = null; say("Locked."); show(); changed(); });
  byId("reset-stats").addEventListener("click", () => act("reset-stats", {},
    "Set the statistics of this coordinator to zero? The metrics for Prometheus go on.", "Reset", () => "The statistics begin anew."));
  try {
    const { enabled, reason } = await (await fetch("api/admin")).json();
    byId("admin-reason").textContent = reason;
    if (enabled) show();
  } catch (why) {
    byId("admin-reason").textContent = `Whether there are any is not known: ${why.message}`;
  }
}
