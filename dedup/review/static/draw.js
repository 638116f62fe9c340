// The page "Draw": boxes on samples, by mouse or keyboard; every change is kept at once.

import { Desk, Grid, isTyped } from "./explore.js";
import { thousands } from "./common.js";

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
const stage = byId("stage");
const ZOOMS = [2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32];
const WIDEST = 560; // pixels that a sample takes at first, where there is space
const LEAST = 2; // pixels of a box's side that is drawn by mouse: less was a click
const CORNER = 9; // pixels of the screen around a corner that pull it
const MOST_UNDONE = 500;

let side = 0; // pixels of a sample
let samples = [];
let boxes = [];
let count = 0; // samples looked at
let at = 0;
let selected = null; // one of `boxes`
let draft = null; // a box that is not set yet
let before = []; // for undo
let moving = null; // the box that arrow keys have begun to move: all of its way is undone at once
let zoom = 8;
let grid = null;

const desk = new Desk((sheet) => {
  side = sheet.resolution;
  samples = sheet.samples;
  const { content } = desk.said("forget");
  boxes = (content.boxes ?? []).map((box) => ({ ...box }));
  count = content.count ?? 0;
  byId("boxes").setAttribute("viewBox", `0 0 ${side} ${side}`);
  stage.style.setProperty("--side", side);
  byId("count").max = samples.length;
  grid = new Grid(byId("samples"), samples, { choose: turn });
  const space = Math.min(WIDEST, document.documentElement.clientWidth - 34);
  setZoom(ZOOMS.findLast((each) => each * side <= space) ?? ZOOMS[0]);
  for (const number of samples.keys()) markSample(number);
  turn(Math.min(count, samples.length - 1));
  stage.focus({ preventScroll: true });
  desk.use("forget");
});

const here = () => boxes.filter((box) => box.image === at);
const ordered = () => [...boxes].sort((a, b) => a.image - b.image);

// What is shown.

function show() {
  const parts = here().flatMap((box) => [outline(box, box === selected ? "under held" : "under"), outline(box, box === selected ? "selected" : "")]);
  if (draft) parts.push(outline(draft, "under held"), outline(draft, "draft"));
  const held = draft ?? selected;
  if (held) for (const [x, y] of corners(held)) parts.push(draw("circle", { cx: x, cy: y, r: 5 / zoom }));
  byId("boxes").replaceChildren(...parts);
  byId("size").textContent = held ? `${draft ? "not set yet: " : ""}left ${held.left}, top ${held.top}, ${held.width} × ${held.height} px` : `${side} × ${side} px, ${zoom} times as large`;
  byId("remove").disabled = !held;
  byId("undo").disabled = before.length === 0;
  byId("back").disabled = at === 0;
  byId("on").disabled = at === samples.length - 1;
  const boxed = new Set(boxes.map((box) => box.image)).size;
  byId("told").textContent = `${thousands(count)} of ${thousands(samples.length)} samples looked at; ${thousands(boxed)} show it, in ${thousands(boxes.length)} ${boxes.length === 1 ? "box" : "boxes"}.`;
  if (document.activeElement !== byId("count")) byId("count").value = count;
}

function draw(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

const outline = ({ left, top, width, height }, kind) => draw("rect", { x: left, y: top, width, height, class: kind });
const corners = ({ left, top, width, height }) => [[left, top], [left + width, top], [left, top + height], [left + width, top + height]];

function markSample(number) {
  const own = boxes.filter((box) => box.image === number).length;
  const kind = own ? "boxed" : number >= count ? "ahead" : "";
  grid.mark(number, { text: own ? String(own) : "", kind, says: own ? `${own} ${own === 1 ? "box" : "boxes"}` : number < count ? "looked at" : "" });
  if (number === at) grid.buttons[number].setAttribute("aria-current", "true");
  else grid.buttons[number].removeAttribute("aria-current");
}

function turn(number) {
  const left = at;
  at = Math.min(samples.length - 1, Math.max(0, number));
  [selected, draft, moving] = [null, null, null];
  byId("sample").src = samples[at];
  for (const ahead of [at + 1, at + 2]) if (samples[ahead]) new Image().src = samples[ahead];
  byId("where").textContent = `Sample ${at}`;
  stage.setAttribute("aria-label", `Sample ${at}`);
  markSample(left);
  markSample(at);
  grid.rove(at);
  grid.parent.scrollTop = Math.max(0, grid.buttons[at].offsetTop - grid.parent.offsetTop - grid.parent.clientHeight / 2);
  show();
}

function setZoom(next) {
  zoom = next;
  stage.style.setProperty("--zoom", zoom);
  byId("smaller").disabled = zoom === ZOOMS[0];
  byId("larger").disabled = zoom === ZOOMS[ZOOMS.length - 1];
  show();
}

const zoomBy = (steps) => setZoom(ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, ZOOMS.indexOf(zoom) + steps))]);

// What changes.

const remember = () => {
  before.push({ boxes: boxes.map((box) => ({ ...box })), count, at });
  if (before.length > MOST_UNDONE) before.shift();
};

function keep() {
  for (const number of samples.keys()) markSample(number);
  show();
  desk.save("/api/boxes", "forget", { count, boxes: ordered() });
}

function undo() {
  if (draft) {
    draft = null;
    show();
    return;
  }
  const earlier = before.pop();
  if (!earlier) return;
  [boxes, count] = [earlier.boxes, earlier.count];
  if (earlier.at !== at) turn(earlier.at);
  [selected, moving] = [null, null];
  keep();
}

function set() {
  remember();
  boxes.push(draft);
  [selected, draft, moving] = [draft, null, null];
  count = Math.max(count, at + 1);
  keep();
}

function enter() {
  if (draft) return set();
  const size = Math.max(LEAST, Math.round(side / 4));
  const start = Math.round((side - size) / 2);
  draft = { image: at, left: start, top: start, width: size, height: size };
  [selected, moving] = [null, null];
  show();
}

function remove() {
  if (draft) draft = null;
  else if (selected) {
    remember();
    boxes = boxes.filter((box) => box !== selected);
    selected = null;
    keep();
    return;
  }
  show();
}

/** On to the next sample: this one was looked at. */
function next() {
  if (draft) set();
  if (count < at + 1) {
    remember();
    count = at + 1;
    keep();
  }
  turn(at + 1);
}

const bounded = (value, low, high) => Math.min(high, Math.max(low, value));

function nudge(across, down, resizes) {
  const held = draft ?? selected;
  if (!held) return;
  if (held === selected && moving !== selected) {
    remember();
    moving = selected;
  }
  if (resizes) {
    held.width = bounded(held.width + across, 1, side - held.left);
    held.height = bounded(held.height + down, 1, side - held.top);
  } else {
    held.left = bounded(held.left + across, 0, side - held.width);
    held.top = bounded(held.top + down, 0, side - held.height);
  }
  if (held === selected) keep();
  else show();
}

function cycle() {
  const own = here();
  if (!own.length) return;
  [selected, draft, moving] = [own[(own.indexOf(selected) + 1) % own.length], null, null];
  show();
}

// Keys: those that move a box where the stage has the focus, all others everywhere.

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = { Enter: enter, Delete: remove, Backspace: remove, Escape: () => turn(at) };
  if (event.key in arrows) nudge(...arrows[event.key], event.shiftKey);
  else if (event.key in actions) actions[event.key]();
  else return;
  event.preventDefault();
});
const sharpen = () => byId("sharp").setAttribute("aria-pressed", stage.classList.toggle("sharp"));
const keys = { x: sharpen, n: next, p: () => turn(at - 1), PageDown: next, PageUp: () => turn(at - 1), z: undo, b: cycle, "+": () => zoomBy(1), "=": () => zoomBy(1), "-": () => zoomBy(-1) };
document.addEventListener("keydown", (event) => {
  const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || !samples.length || isTyped(event) || event.metaKey || event.altKey || (event.ctrlKey && action !== undo)) return;
  event.preventDefault();
  action();
});

// The mouse, a pen or a finger.

let drag = null;

/** Where an event is, in pixels of the sample. */
function locate(event) {
  const box = stage.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side];
}

const inside = ([x, y], { left, top, width, height }) => x >= left && x < left + width && y >= top && y < top + height;

stage.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  const point = locate(event);
  const held = draft ?? selected;
  const pulled = held ? corners(held).findIndex(([x, y]) => Math.hypot(point[0] - x, point[1] - y) * zoom <= CORNER) : -1;
  stage.setPointerCapture(event.pointerId);
  const touched = pulled >= 0 ? held : (draft && inside(point, draft) ? draft : here().findLast((box) => inside(point, box)));
  if (touched) {
    if (touched !== draft) [selected, draft] = [touched, null];
    const fixed = pulled >= 0 ? corners(touched)[3 - pulled] : null;
    drag = { box: touched, start: point, was: { ...touched }, fixed, changed: false };
  } else {
    [selected, draft] = [null, null];
    drag = { box: null, start: point };
  }
  moving = null;
  show();
});

stage.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const point = locate(event).map((value) => bounded(value, 0, side));
  const from = drag.box ? drag.fixed : drag.start;
  if (drag.box && !drag.changed && Math.hypot(point[0] - drag.start[0], point[1] - drag.start[1]) * zoom > 3) {
    drag.changed = true;
    if (drag.box !== draft) remember();
  }
  if (drag.box && !drag.changed) return;
  if (from) {
    const [left, right] = [from[0], point[0]].sort((a, b) => a - b);
    const [top, bottom] = [from[1], point[1]].sort((a, b) => a - b);
    const box = drag.box ?? { image: at };
    [box.left, box.top] = [bounded(Math.round(left), 0, side - 1), bounded(Math.round(top), 0, side - 1)];
    [box.width, box.height] = [Math.max(1, Math.round(right) - box.left), Math.max(1, Math.round(bottom) - box.top)];
    if (!drag.box) draft = box.width >= LEAST && box.height >= LEAST ? box : null;
  } else {
    drag.box.left = bounded(Math.round(drag.was.left + point[0] - drag.start[0]), 0, side - drag.box.width);
    drag.box.top = bounded(Math.round(drag.was.top + point[1] - drag.start[1]), 0, side - drag.box.height);
  }
  show();
});

stage.addEventListener("pointerup", () => {
  const ended = drag;
  drag = null;
  if (!ended) return;
  if (!ended.box && draft) set();
  else if (ended.changed && ended.box !== draft) keep();
});
stage.addEventListener("pointercancel", () => {
  if (drag?.changed && drag.box !== draft) undo();
  drag = null;
});

// Buttons.

const clicks = { sharp: sharpen, back: () => turn(at - 1), on: next, remove, undo, smaller: () => zoomBy(-1), larger: () => zoomBy(1) };
for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener("click", action);
byId("count").addEventListener("change", () => {
  const least = Math.max(0, ...boxes.map((box) => box.image + 1));
  const wanted = bounded(Math.round(Number(byId("count").value)) || 0, least, samples.length);
  byId("count").value = wanted;
  if (wanted === count) return;
  remember();
  count = wanted;
  keep();
});

await desk.begin();
