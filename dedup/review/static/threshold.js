// The page "Threshold": what each threshold would drop, the command that does it, and what people decided.

import { ask, percent, tell, thousands } from "./common.js";
import { draw, scoreAt } from "./curve.js";

const byId = (id) => document.getElementById(id);
const [slider, svg, command] = ["slider", "curve", "command"].map(byId);

let found = null;
let move = () => {};
let decided = 0;

function showCommand() {
  const words = [command.dataset.command];
  if (slider) words.push(`--threshold ${Number(slider.value)}`);
  if (decided) words.push("--apply-review");
  command.textContent = words.join(" ");
}

function show() {
  const own = Number(slider.dataset.own);
  const score = Number(slider.value);
  const place = Math.min(found.tenths.length - 1, Math.max(0, Math.round(score * 10) - found.tenths[0]));
  const same = Math.abs(score - own) < 0.05;
  byId("at").textContent = score.toFixed(1).replace("-", "−");
  const count = found.dropped[place];
  byId("count").textContent = `about ${thousands(count)}`;
  const real = Number(slider.dataset.dropped);
  const more = count - found.dropped[Math.round(own * 10) - found.tenths[0]];
  const beside = more ? `${thousands(Math.abs(more))} ${more < 0 ? "fewer" : "more"} than` : "As many as";
  byId("beside").textContent = same || Number.isNaN(more) ? `This run dropped ${thousands(real)}.` : `${beside} by this run’s threshold, which dropped ${thousands(real)}.`;
  slider.setAttribute("aria-valuetext", `${score.toFixed(1)}: about ${thousands(count)} images dropped`);
  const { dropped, near_misses: near } = found.judged;
  const wrong = found.false[place];
  byId("false").textContent = wrong ? percent(wrong[0]) : "–";
  byId("false-basis").textContent = wrong
    ? `Between ${percent(wrong[1])} and ${percent(wrong[2])} with a confidence of 95%, by just ${basis(dropped, score < own ? near : 0)}.`
    : unknown(dropped, "Judge some dropped pairs", score < own && near === 0 ? "Judge near misses, too: a lower threshold drops them" : "");
  const missed = found.missed[place];
  byId("missed").textContent = missed ? `about ${thousands(Math.round(missed[0]))}` : "–";
  byId("missed-basis").textContent = missed
    ? `Between ${thousands(Math.round(missed[1]))} and ${thousands(Math.round(missed[2]))}, by just ${basis(score > own ? dropped : 0, near)}. Pairs that never came to be compared are not among them.`
    : unknown(near, "Judge some near misses", score > own && dropped === 0 ? "Judge dropped pairs, too: a higher threshold misses them" : "");
  move(place);
  showCommand();
}

function basis(dropped, near) {
  const parts = [];
  if (dropped) parts.push(`${thousands(dropped)} judged dropped ${dropped === 1 ? "pair" : "pairs"}`);
  if (near) parts.push(`${thousands(near)} judged near ${near === 1 ? "miss" : "misses"}`);
  return parts.join(" and ");
}

/** Why there is no figure. */
function unknown(judged, begin, also) {
  return judged === 0 ? `${begin}, and it is said here.` : also ? `${also}.` : "None of the judged pairs scores so.";
}

function redraw() {
  const own = Number(slider.dataset.own);
  const [first, last] = [found.tenths[0] / 10, found.tenths.at(-1) / 10];
  move = draw(svg, { counts: found.dropped, first, last, own, at: (place) => found.tenths[place] / 10 });
  show();
}

async function load() {
  found = await ask("/api/threshold");
  redraw();
}

if (slider) {
  slider.addEventListener("input", () => found && show());
  new ResizeObserver(() => found && redraw()).observe(svg);
  const pull = (event) => {
    if (!found || event.buttons !== 1) return;
    slider.value = scoreAt(svg, event, Number(slider.min), Number(slider.max)).toFixed(1);
    show();
  };
  svg.addEventListener("pointerdown", pull);
  svg.addEventListener("pointermove", pull);
}

byId("copy").addEventListener("click", async () => {
  let says = "Copied";
  try {
    await navigator.clipboard.writeText(command.textContent);
  } catch {
    getSelection().selectAllChildren(command); // where the browser does not let pages copy
    says = "Selected: Ctrl-C";
  }
  byId("copy").textContent = says;
  setTimeout(() => (byId("copy").textContent = "Copy"), 2500);
});

// Decisions.

let following = "";

async function loadMarks() {
  const answer = await ask(`/api/marks?${new URLSearchParams({ after: following })}`);
  following = answer.following ?? "";
  byId("more").hidden = answer.following === null;
  byId("marks").append(...answer.marks.map(line));
  decided = answer.total;
  const parts = [`${thousands(answer.same)} same, ${thousands(answer.total - answer.same)} different`];
  parts.push(`${thousands(answer.changing)} of them ${answer.changing === 1 ? "changes" : "change"} what this run found`, `${thousands(answer.honoured)} ${answer.honoured === 1 ? "is" : "are"} honoured already`);
  byId("decisions").textContent = answer.total ? `${parts.join("; ")}.` : "None yet. Judging pairs makes some, and so do the marks on the page Groups.";
  showCommand();
}

function line({ pair, decision, images, agrees, honoured, own }) {
  const made = document.createElement("li");
  const two = document.createElement("div");
  two.className = "two";
  for (const image of images) two.append(picture(image));
  const names = images.map((image) => image?.key ?? "not in this run");
  const keys = names.map((name) => {
    const shown = document.createElement("div");
    shown.className = "keys";
    shown.textContent = shown.title = name;
    return shown;
  });
  const foot = document.createElement("div");
  foot.className = "foot";
  const says = document.createElement("span");
  const strong = document.createElement("b");
  strong.textContent = decision === "same" ? "Same" : "Different";
  says.append(strong, honoured ? " · honoured" : agrees ? " · as this run has it" : " · changes the next run");
  foot.append(says);
  if (own) {
    const back = document.createElement("button");
    back.type = "button";
    back.textContent = "Take back";
    back.setAttribute("aria-label", `Take back: ${decision}, ${names.join(", ")}`);
    back.addEventListener("click", () => takeBack(pair, made));
    foot.append(back);
  }
  made.append(two, ...keys, foot);
  return made;
}

function picture(image) {
  if (!image) {
    const gone = document.createElement("div");
    gone.className = "gone";
    return gone;
  }
  const made = document.createElement("img");
  made.alt = "";
  made.loading = "lazy";
  made.decoding = "async";
  made.src = `/previews/${image.number}`;
  return made;
}

async function takeBack(pair, made) {
  await tell("/api/marks/back", pair);
  const place = [...byId("marks").children].indexOf(made);
  byId("marks").replaceChildren();
  following = "";
  await loadMarks();
  const rest = byId("marks").children;
  (rest[Math.min(place, rest.length - 1)]?.querySelector("button") ?? byId("copy")).focus();
  if (slider) await load();
}

byId("more").addEventListener("click", loadMarks);
if (slider) load();
loadMarks();
