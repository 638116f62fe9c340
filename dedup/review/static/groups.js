// The page "Groups": more of them as it is scrolled, and the rest of a large one when it is asked for.

import { ask, thousands } from "./common.js";
import { card, decimal, element, how } from "./pictures.js";

const byId = (id) => document.getElementById(id);
const [list, more, order] = ["groups", "more", "order"].map(byId);
const asked = new URLSearchParams(location.search);
const AT_ONCE = 60; // members of a group that the server adds
const AHEAD = "1200px"; // how far below the window the next page is asked for

let following = null;
let turn = 0; // answers to what was asked before the order changed are not shown

async function load() {
  const mine = turn;
  const query = new URLSearchParams({ order: order.value });
  for (const name of ["source", "kept_source", "group"]) if (asked.has(name)) query.set(name, asked.get(name));
  if (following !== null) query.set("after", following);
  more.disabled = true;
  try {
    const found = await ask(`/api/groups?${query}`);
    if (mine !== turn) return;
    following = found.following;
    list.append(...found.groups.map(show));
    byId("count").textContent = `${thousands(list.childElementCount)} of ${thousands(found.total)} groups`;
    byId("none").hidden = found.total > 0;
    more.hidden = following === null;
  } finally {
    if (mine === turn) more.disabled = false;
  }
  watch();
}

function show(group) {
  const shown = [];
  const made = element("section", group.size <= 4 ? `group of${group.size}` : "group");
  const heading = element("h2", "", `${thousands(group.size)} images`);
  const scores = group.dropped.map((dropped) => dropped.score).filter((score) => score !== null);
  heading.append(element("span", "", scores.length ? ` · lowest score ${decimal(Math.min(...scores))}` : " · same bytes"));
  const pictures = element("div", "pictures");
  const kept = { picture: group.kept, role: "kept", note: note("kept", group.kept), text: "kept", beside: () => shown };
  shown.push(kept);
  pictures.append(card(kept));
  const add = (dropped) => {
    for (const picture of dropped) {
      const entry = { picture, kept: group.kept, rule: picture.rule, said: picture.said, note: how(picture), text: how(picture), beside: () => shown };
      shown.push(entry);
      pictures.append(card(entry));
    }
  };
  add(group.dropped);
  made.append(heading, pictures);
  if (group.more) made.append(rest(group, add));
  return made;
}

function note(role, picture) {
  const made = element("span");
  made.append(element("span", "role", role), ` · ${picture.width} × ${picture.height}`);
  return made;
}

/** A button that adds the next members of a group. */
function rest(group, add) {
  const made = element("button", "rest");
  let last = group.dropped.at(-1).number;
  const tell = (count) => (made.textContent = `Show ${thousands(Math.min(count, AT_ONCE))} more of ${thousands(count)}`);
  tell(group.more);
  made.addEventListener("click", async () => {
    made.disabled = true;
    try {
      const found = await ask(`/api/groups/${group.kept.number}?after=${last}`);
      add(found.dropped);
      last = found.dropped.at(-1).number;
      tell(found.more);
      made.hidden = found.more === 0;
    } finally {
      made.disabled = false;
    }
  });
  return made;
}

// The button is observed anew after each page: one that stays in sight is asked for the next one too.
const watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && !more.disabled && load(), { rootMargin: AHEAD });
function watch() {
  watcher.unobserve(more);
  if (!more.hidden) watcher.observe(more);
}
more.addEventListener("click", load);

order.addEventListener("change", () => {
  turn += 1;
  following = null;
  list.replaceChildren();
  load();
});

if (asked.has("source") || asked.has("group")) {
  const all = element("a", "", "Show all groups");
  all.href = "/groups";
  const text = asked.has("group") ? "One group. " : `Groups in which an image of ${asked.get("source")} was dropped for one of ${asked.get("kept_source")}. `;
  byId("within").append(text, all);
  byId("within").hidden = false;
}
load();
