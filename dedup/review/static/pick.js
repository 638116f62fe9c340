// The page "Pick": which samples show a concept, by key or click; every change is kept at once.

import { make } from "./elements.js";
import { Desk, Grid, isTyped } from "./explore.js";

const byId = (id) => document.getElementById(id);
const LEAST = 3;
const PURPOSES = {
  arithmetic: { concepts: ["A", "B", "C"], act: "Calculate", says: "Samples that show three concepts, such as smiling women, neutral women and neutral men: the means of their z are added and subtracted.", example: ["smiling woman", "neutral woman", "neutral man"] },
  turn: { concepts: ["left", "right"], act: "Turn them", says: "Samples that look left, and others that look right: other samples are turned along the vector between the means of their z.", example: ["looking left", "looking right"] },
};

let samples = [];
let experiment = new URLSearchParams(location.search).get("experiment") === "turn" ? "turn" : "arithmetic";
let numbers = {}; // concept → numbers, in the order in which they were picked
let names = {};
let active = "A"; // what a click picks for
let before = [];
let grid = null;

const concepts = () => PURPOSES[experiment].concepts;
const conceptOf = (number) => concepts().find((concept) => numbers[concept].includes(number)) ?? null;

const desk = new Desk((sheet) => {
  samples = sheet.samples;
  grid = new Grid(byId("samples"), samples, { choose: (number) => assign(number, active) });
  change(experiment);
});

function change(to) {
  experiment = to;
  for (const each of Object.keys(PURPOSES)) byId(each).setAttribute("aria-pressed", each === experiment);
  byId("purpose").textContent = PURPOSES[experiment].says;
  byId("use-name").textContent = PURPOSES[experiment].act;
  active = concepts()[0];
  before = [];
  if (!grid) return;
  const { content } = desk.said(experiment);
  numbers = Object.fromEntries(concepts().map((concept) => [concept, [...(content[concept] ?? [])]]));
  names = { ...(content.names ?? {}) };
  const help = [[["click"], "pick for the chosen letter"], ...concepts().map((concept, place) => [[String(place + 1)], `pick for ${concept}`]), [["←", "↑", "→", "↓"], "to another sample"], [["Z"], "undo"]];
  byId("keys").replaceChildren(...help.map(([keys, says]) => make("li", {}, ...keys.flatMap((key) => [make("kbd", {}, key), " "]), says)));
  buildPanel();
  show();
  desk.use(experiment);
}

function buildPanel() {
  const letters = concepts().map((concept, place) => {
    const letter = make("button", { class: `letter ${concept.toLowerCase()}`, "data-concept": concept, "aria-pressed": "false", title: `Clicks pick for ${concept}` }, concept, " ", make("kbd", {}, String(place + 1)), " ", make("span", { class: "many" }));
    letter.addEventListener("click", () => {
      active = concept;
      show();
    });
    return letter;
  });
  const undoes = make("button", { id: "undo" }, "Undo ", make("kbd", {}, "Z"));
  undoes.addEventListener("click", undo);
  const on = make("a", { class: "button", href: "#use-name" }, `${PURPOSES[experiment].act} ↓`);
  byId("letters").replaceChildren(...letters, make("span", { class: "grow" }), undoes, on);
  const parts = concepts().map((concept, place) => {
    const name = make("input", { type: "text", maxlength: 80, "aria-label": `What ${concept} is called`, placeholder: `such as: ${PURPOSES[experiment].example[place]}`, value: names[concept] ?? "" });
    name.addEventListener("change", () => {
      names[concept] = name.value;
      keep();
    });
    const count = make("p", { class: "soft small", id: `count-${concept}`, "aria-live": "polite" });
    return make("div", { class: `concept ${concept.toLowerCase()}` }, make("div", { class: "line" }, make("b", {}, concept), name), make("div", { class: "chosen", id: `chosen-${concept}` }), count);
  });
  byId("panel").replaceChildren(...parts);
}

function show() {
  for (const number of samples.keys()) {
    const concept = conceptOf(number);
    grid.mark(number, { text: concept ?? "", kind: concept?.toLowerCase() ?? "", says: concept ?? "" });
  }
  for (const concept of concepts()) {
    const own = numbers[concept];
    byId(`chosen-${concept}`).replaceChildren(
      ...own.map((number) => {
        const button = make("button", { "aria-label": `Take sample ${number} out of ${concept}` }, make("img", { src: samples[number], alt: "" }));
        button.addEventListener("click", () => assign(number, concept));
        return button;
      }),
    );
    byId(`count-${concept}`).textContent = own.length < LEAST ? `${own.length} of at least ${LEAST}` : `${own.length} picked`;
    byId(`count-${concept}`).classList.toggle("enough", own.length >= LEAST);
  }
  for (const letter of byId("letters").querySelectorAll(".letter")) {
    letter.setAttribute("aria-pressed", letter.dataset.concept === active);
    letter.querySelector(".many").textContent = numbers[letter.dataset.concept].length;
  }
  byId("undo").disabled = before.length === 0;
}

/** A sample stands for one concept: for another one it leaves the first; for the same one it goes. */
function assign(number, concept) {
  before.push(Object.fromEntries(concepts().map((each) => [each, [...numbers[each]]])));
  const was = conceptOf(number);
  if (was) numbers[was] = numbers[was].filter((each) => each !== number);
  if (was !== concept) numbers[concept].push(number);
  keep();
}

function undo() {
  const earlier = before.pop();
  if (!earlier) return;
  numbers = earlier;
  keep();
}

function keep() {
  show();
  const content = { experiment, numbers, names };
  desk.save("/api/exemplars", experiment, structuredClone(content));
}

document.addEventListener("keydown", (event) => {
  if (!grid || isTyped(event) || event.metaKey || event.altKey || event.repeat) return;
  const at = grid.buttons.indexOf(document.activeElement);
  const concept = concepts()[Number(event.key) - 1];
  if (concept && at >= 0 && !event.ctrlKey) assign(at, concept);
  else if (event.key.toLowerCase() === "z") undo();
  else return;
  event.preventDefault();
});
for (const each of Object.keys(PURPOSES)) byId(each).addEventListener("click", () => change(each));
change(experiment);
await desk.begin();
