// The page "Rejected": rows by reason, a page of them at a time.

import { ask } from "./common.js";

const byId = (id) => document.getElementById(id);
const [rows, more] = ["rows", "more"].map(byId);
const buttons = [...document.querySelectorAll("[data-reason]")];

let reason = new URLSearchParams(location.search).get("reason");
if (!buttons.some((button) => button.dataset.reason === reason)) reason = null;
let following = null;
let turn = 0;

async function load() {
  const mine = turn;
  const query = new URLSearchParams();
  if (reason) query.set("reason", reason);
  if (following !== null) query.set("after", following);
  const found = await ask(`/api/rejected?${query}`);
  if (mine !== turn) return;
  following = found.following;
  rows.append(...found.rows.map(line));
  more.hidden = following === null;
}

function line({ key, reason: why, source, size_bytes: bytes }) {
  const made = document.createElement("tr");
  for (const text of [key, why.replaceAll("_", " "), source, `${bytes.toLocaleString("en-US")} bytes`]) {
    const cell = document.createElement("td");
    cell.textContent = text;
    made.append(cell);
  }
  made.lastChild.className = "n";
  return made;
}

function choose(next) {
  reason = next;
  turn += 1;
  following = null;
  rows.replaceChildren();
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.reason === reason);
  byId("which").textContent = reason ? `Reason: ${reason.replaceAll("_", " ")}` : "All reasons";
  load();
}

for (const button of buttons)
  button.addEventListener("click", () => choose(button.dataset.reason === reason ? null : button.dataset.reason));
more.addEventListener("click", load);
choose(reason);
