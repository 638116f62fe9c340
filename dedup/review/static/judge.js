// The page "Judge": shows a pair, takes a verdict by key or button, and goes on when the server has it on disk.

import { ask, percent, row, tell, thousands } from "./common.js";

const kind = document.querySelector("script[data-kind]").dataset.kind;
const address = `/api/samples/${kind}`;
const byId = (id) => document.getElementById(id);
const [stage, first, second] = ["stage", "first", "second"].map(byId);
const FLICKER_MS = 450;
const fetched = new Map(); // pictures of the pairs ahead, so that they are there when they are asked for

let state = null;
let busy = true;
let timer = null;

function show(next) {
  state = next;
  const asked = state.ahead[0];
  byId("asked").hidden = !asked;
  byId("done").hidden = Boolean(asked) || state.total === 0;
  byId("count").textContent = `${thousands(state.judged)} judged · ${state.reviewer}`;
  byId("meter").style.width = `${Math.min(100, (100 * state.place) / Math.max(1, Math.min(100, state.total)))}%`;
  for (const button of [byId("undo"), byId("undo-last")]) button.disabled = state.place === 0;
  showEstimate();
  if (!asked) return;
  stage.dataset.place = asked.place;
  view("beside");
  mirror(false);
  first.src = asked.pictures[0];
  second.src = asked.pictures[1];
  for (const { pictures } of state.ahead.slice(1)) pictures.forEach(prefetch);
}

function prefetch(source) {
  if (fetched.has(source)) return;
  const image = new Image();
  image.src = source;
  fetched.set(source, image);
  if (fetched.size > 24) fetched.delete(fetched.keys().next().value);
}

function showEstimate() {
  const found = kind === "dropped" ? "false" : "missed";
  const decided = state.same + state.different;
  if (state.pairs === 0) {
    byId("estimate").textContent = kind === "dropped" ? "No image was dropped." : "No pair was compared closely and failed.";
  } else if (decided) {
    const counts = kind === "dropped" ? "" : `, ${thousands(Math.round(state.share * state.pairs))} pairs`;
    byId("estimate").innerHTML = "";
    const strong = document.createElement("b");
    strong.textContent = `${percent(state.share)} ${found}${counts}`;
    byId("estimate").append(strong, `, with a confidence of 95% between ${percent(state.low)} and ${percent(state.high)}.`);
  } else {
    byId("estimate").textContent = "Judge some pairs: a hundred take a few minutes.";
  }
  const certain = state.certain ? ` ${thousands(state.certain)} more have equal bytes or were decided by people, and are not asked for.` : "";
  byId("basis").textContent = `${thousands(state.same)} same, ${thousands(state.different)} different, ${thousands(state.unsure)} unsure, of ${thousands(state.pairs - state.certain)} pairs.${certain}`;
  byId("strata").replaceChildren(
    ...state.strata.map((stratum) =>
      row([
        stratum.name,
        thousands(stratum.pairs),
        thousands(stratum.judged),
        thousands(stratum.hits),
        stratum.judged ? `${percent(stratum.share)} (${percent(stratum.low)} to ${percent(stratum.high)})` : "not yet",
      ]),
    ),
  );
  byId("disagreements").hidden = state.disputed.length === 0;
  byId("disagreements").textContent = `Reviewers disagree on ${thousands(state.disputed.length)} of them, which count as unsure: places ${state.disputed.join(", ")}.`;
}

/** Send something; keys wait until the server has it. */
async function send(request) {
  if (busy) return;
  busy = true;
  try {
    show(await request());
  } finally {
    busy = false;
  }
}

const judge = (verdict) =>
  state?.ahead.length && send(() => tell(address, { place: state.ahead[0].place, verdict }));
const undo = () => state?.place && send(() => tell(`${address}/undo`));

function view(name) {
  const chosen = stage.dataset.view === name ? "beside" : name;
  stage.dataset.view = chosen;
  byId("flicker").setAttribute("aria-pressed", chosen === "flicker");
  byId("difference").setAttribute("aria-pressed", chosen === "difference");
  clearInterval(timer);
  stage.classList.remove("second");
  if (chosen === "flicker") timer = setInterval(() => stage.classList.toggle("second"), FLICKER_MS);
}

function mirror(on) {
  second.classList.toggle("mirrored", on);
  byId("mirror").setAttribute("aria-pressed", on);
}

/** Overlaid pictures share the first one's shape, so that a stretched copy still lies on its original. */
function shape() {
  for (const image of [first, second]) image.classList.toggle("small", image.naturalWidth <= 64);
  if (!first.naturalWidth) return;
  stage.style.setProperty("--shape", `${first.naturalWidth} / ${first.naturalHeight}`);
  stage.style.setProperty("--ratio", first.naturalWidth / first.naturalHeight);
}
first.addEventListener("load", shape);
second.addEventListener("load", shape);

const keys = {
  s: () => judge("same"),
  d: () => judge("different"),
  u: () => judge("unsure"),
  z: undo,
  f: () => view("flicker"),
  x: () => view("difference"),
  m: () => mirror(!second.classList.contains("mirrored")),
};
document.addEventListener("keydown", (event) => {
  const action = keys[event.key.toLowerCase()];
  if (!action || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  event.preventDefault();
  action();
});
for (const button of document.querySelectorAll("[data-verdict]"))
  button.addEventListener("click", () => judge(button.dataset.verdict));
byId("undo").addEventListener("click", undo);
byId("undo-last").addEventListener("click", undo);
byId("flicker").addEventListener("click", keys.f);
byId("difference").addEventListener("click", keys.x);
byId("mirror").addEventListener("click", keys.m);

show(await ask(address));
busy = false;
