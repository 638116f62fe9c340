// Pictures on a page: a card for each, one at full size, and two that are picked and said to be duplicates.

import { tell } from "./common.js";

const byId = (id) => document.getElementById(id);
const large = byId("large");
const PICKS = "cleanshards-picks"; // kept from page to page, so that the two may come from anywhere
const SMALL = 64; // pixels: a thumbnail is enlarged without blurring it

let picks = [];
try {
  const kept = JSON.parse(sessionStorage.getItem(PICKS));
  if (Array.isArray(kept)) picks = kept.filter((pick) => Number.isInteger(pick?.number)).slice(0, 2);
} catch {
  picks = []; // what does not parse was not written here
}

/** An element of a class, with a text. */
export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function button(text, action) {
  const made = element("button", "", text);
  made.type = "button";
  made.addEventListener("click", action);
  return made;
}

export function size(bytes) {
  return bytes < 1024 ? `${bytes} bytes` : bytes < 1048576 ? `${Math.round(bytes / 1024)} kB` : `${(bytes / 1048576).toFixed(1)} MB`;
}

const RULES = { same_bytes: "same bytes", near: "near", near_mirrored: "mirrored", equal_codes: "equal codes", reviewed: "by review" };

/** A score as people read it. */
export const decimal = (score) => score.toFixed(1).replace("-", "−");

/** How a dropped picture was found: "near · 4 bits · score 7.1". */
export function how({ rule, distance, score }) {
  const said = [RULES[rule]];
  if (rule !== "same_bytes") said.push(`${distance} ${distance === 1 ? "bit" : "bits"}`);
  if (score !== null) said.push(`score ${decimal(score)}`);
  return said.join(" · ");
}

/** A picture's own figures. */
export const figures = (picture) => `${picture.width} × ${picture.height}, ${size(picture.size_bytes)}`;

function image(address, name) {
  const made = element("img");
  made.alt = name;
  made.loading = "lazy";
  made.decoding = "async";
  made.addEventListener("load", () => made.classList.toggle("small", made.naturalWidth <= SMALL));
  made.src = address;
  return made;
}

/**
 * A card.
 *
 * `shown`: { picture, note (an element or a text), kept (the picture that it was dropped for), role, aside (further
 * pictures that the one at full size leads on to: a function that returns them) }.
 */
export function card(shown) {
  const { picture, note, kept, role } = shown;
  const made = element("figure", role === "kept" ? "card kept" : "card");
  made.dataset.number = picture.number;
  const open = button("", () => enlarge(shown));
  open.className = "open";
  open.setAttribute("aria-label", `Enlarge ${picture.key}`);
  open.append(image(`/previews/${picture.number}`, ""));
  const key = element("figcaption", "key", picture.key);
  key.title = picture.key;
  const about = element("div", "note");
  about.append(note);
  const acts = element("div", "acts");
  if (kept && shown.rule !== "same_bytes") {
    const mark = button("Not a duplicate", () => toggle(shown));
    mark.className = "mark";
    mark.title = "The next run with --apply-review keeps it";
    acts.append(mark);
  }
  const pick = button("Pick", () => choose(picture));
  pick.className = "pick";
  pick.setAttribute("aria-label", `Pick ${picture.key}`);
  acts.append(pick);
  made.append(open, key, about, acts);
  shown.card = made;
  press(shown);
  showPicked(made);
  return made;
}

/** Show what is said of a dropped picture. */
function press(shown) {
  const different = shown.said === "different";
  shown.card?.classList.toggle("said", different);
  shown.card?.querySelector(".mark")?.setAttribute("aria-pressed", different);
  if (opened === shown) byId("large-mark").setAttribute("aria-pressed", different);
}

/** Say that a picture is none's duplicate; or take that back. */
async function toggle(shown) {
  const verdict = shown.said === "different" ? null : "different";
  const { said } = await tell("/api/marks", { first: shown.picture.number, second: shown.kept.number, verdict });
  shown.said = said;
  press(shown);
}

// One at full size, beside the one that was kept for it.

let opened = null;

export function enlarge(shown) {
  opened = shown;
  const { picture, kept } = shown;
  byId("large-name").textContent = kept ? "Dropped, beside the one that was kept" : shown.role === "kept" ? "Kept" : "Picture";
  byId("sides").replaceChildren(...(kept ? [side(kept, "kept"), side(picture, shown.text ?? "")] : [side(picture, shown.text ?? "")]));
  byId("large-mark").hidden = !kept || shown.rule === "same_bytes";
  const beside = shown.beside?.() ?? [shown];
  const place = beside.indexOf(shown);
  byId("large-back").disabled = place < 1;
  byId("large-on").disabled = place < 0 || place + 1 >= beside.length;
  press(shown);
  if (!large.open) large.showModal();
}

function side(picture, note) {
  const made = element("figure");
  const at = image(`/pictures/${picture.number}`, picture.key);
  at.loading = "eager";
  const caption = element("figcaption", "", `${picture.key} — ${[note, figures(picture), picture.source].filter(Boolean).join(" · ")}`);
  made.append(at, caption);
  return made;
}

function step(by) {
  const beside = opened?.beside?.() ?? [];
  const next = beside[beside.indexOf(opened) + by];
  if (next) enlarge(next);
}

byId("large-mark").addEventListener("click", () => toggle(opened));
byId("large-back").addEventListener("click", () => step(-1));
byId("large-on").addEventListener("click", () => step(1));
byId("large-close").addEventListener("click", () => large.close());
large.addEventListener("click", (event) => event.target === large && large.close());
large.addEventListener("close", () => {
  opened?.card?.querySelector(".open")?.focus();
  opened = null;
});
large.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});

// Two that are picked.

function choose({ number, key }) {
  const at = picks.findIndex((pick) => pick.number === number);
  if (at >= 0) picks.splice(at, 1);
  else picks = [...picks.slice(-1), { number, key }];
  showPicks();
}

function showPicked(made) {
  const picked = picks.some((pick) => pick.number === Number(made.dataset.number));
  made.classList.toggle("picked", picked);
  made.querySelector(".pick").setAttribute("aria-pressed", picked);
}

function showPicks(says = "") {
  sessionStorage.setItem(PICKS, JSON.stringify(picks));
  document.querySelectorAll(".card").forEach(showPicked);
  byId("tray").hidden = picks.length === 0 && !says;
  byId("picks").replaceChildren(...picks.map(({ number, key }) => image(`/previews/${number}`, key)));
  byId("asks").textContent = says || (picks.length === 2 ? "Do both show one picture?" : "Pick another one.");
  byId("join").hidden = picks.length !== 2;
}

byId("join").addEventListener("click", async () => {
  const [first, second] = picks.map((pick) => pick.number);
  await tell("/api/marks", { first, second, verdict: "same" });
  picks = [];
  showPicks("Kept: the next run with --apply-review takes them for duplicates. The page Threshold lists it.");
});
byId("drop").addEventListener("click", () => {
  picks = [];
  showPicks();
});
showPicks();

