// The page "Search": by a part of a key, or by a picture, which is sent as it is.

import { ask, thousands } from "./common.js";
import { card, decimal, element, figures, size } from "./pictures.js";

const byId = (id) => document.getElementById(id);
const [results, more, zone, file] = ["results", "more", "zone", "file"].map(byId);
const LARGEST_BYTES = 32 << 20;

let following = null;
let searched = "";
let turn = 0;

function role(picture) {
  const made = element("span");
  const grouped = picture.size > 1;
  const text = picture.number !== picture.kept ? "dropped" : grouped ? "kept" : "kept, no duplicates";
  made.append(text);
  if (grouped) {
    const link = element("a", "", `group of ${thousands(picture.size)}`);
    link.href = `/groups?group=${picture.kept}`;
    made.append(" · ", link);
  }
  return made;
}

function show(picture) {
  if (picture.number === undefined) return rejected(picture);
  const note = element("div");
  if (picture.verified !== undefined) {
    note.append(element("b", "", picture.same_bytes ? "Same bytes" : picture.verified ? "Near-duplicate" : "Near only"));
    const said = [`${picture.distance} ${picture.distance === 1 ? "bit" : "bits"}`];
    if (picture.score !== null) said.push(`score ${decimal(picture.score)}`);
    if (picture.mirrored) said.push("mirrored");
    note.append(element("div", "", picture.same_bytes ? figures(picture) : said.join(" · ")));
  } else note.append(element("div", "", figures(picture)));
  note.append(role(picture));
  const made = card({ picture, note, role: "" });
  made.classList.toggle("sure", Boolean(picture.verified));
  return made;
}

/** An image that has no picture. */
function rejected({ key, reason }) {
  const made = element("figure", "card rejected");
  const caption = element("figcaption", "key", key);
  caption.title = key;
  const link = element("a", "", `rejected: ${reason.replaceAll("_", " ")}`);
  link.href = `/rejected?reason=${reason}`;
  const note = element("div", "note");
  note.append(link);
  made.append(caption, note);
  return made;
}

function say(text, about = "") {
  byId("found").hidden = false;
  byId("says").textContent = text;
  byId("about").textContent = about;
}

async function byKey(next) {
  const mine = next ? turn : ++turn;
  if (!next) results.replaceChildren();
  const query = new URLSearchParams({ key: searched });
  if (next) query.set("after", following);
  const found = await ask(`/api/search?${query}`);
  if (mine !== turn) return;
  following = found.following;
  results.append(...found.images.map(show));
  more.hidden = following === null;
  const count = results.childElementCount;
  const whose = count === 1 ? "image with" : "images with";
  say(count ? `${following ? "The first " : ""}${thousands(count)} ${whose} “${searched}” in ${count === 1 ? "its key" : "their keys"}` : `No key holds “${searched}”`);
}

async function byPicture(picked) {
  const mine = ++turn;
  results.replaceChildren();
  more.hidden = true;
  const preview = byId("asked");
  URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(picked);
  preview.hidden = false;
  preview.onerror = () => (preview.hidden = true);
  if (picked.size > LARGEST_BYTES) return say("This file is too large.", `It has ${size(picked.size)}; an upload may have ${LARGEST_BYTES >> 20} MB.`);
  say("Searching …", "The first search takes a few seconds.");
  let found;
  try {
    found = await ask("/api/search", { method: "POST", headers: { "content-type": "application/octet-stream" }, body: picked });
  } catch (error) {
    if (mine === turn) byId("found").hidden = true;
    throw error;
  }
  if (mine !== turn) return;
  const near = found.images.filter((image) => image.verified).length;
  say(near ? `${thousands(near)} near-${near === 1 ? "duplicate" : "duplicates"} of ${picked.name}` : `No near-duplicate of ${picked.name}`, found.images.length > near ? "What is marked “near only” resembles it most, and does not verify." : "");
  results.append(...found.images.map(show));
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  searched = byId("key").value.trim();
  if (searched) byKey(false);
});
more.addEventListener("click", () => byKey(true));
file.addEventListener("change", () => file.files.length && byPicture(file.files[0]));
// Anywhere on the page, so that a picture which misses the field does not replace the page.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  zone.classList.add("over");
});
document.addEventListener("dragleave", () => zone.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  zone.classList.remove("over");
  const [picked] = event.dataTransfer.files;
  if (picked) byPicture(picked);
});
