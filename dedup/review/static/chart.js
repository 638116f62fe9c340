// Charts: lines over images seen, as SVG, with axes, a legend, and the values under the pointer or the arrow keys.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 440;
const HEIGHT = 220;
const [LEFT, RIGHT, TOP, BOTTOM] = [48, 10, 24, 38];
const MOST_TICKS = 5;
const DASHES = ["none", "6 4", "2 3", "8 3 2 3"];

const charts = new Set(); // they share one cursor
let cursor = null; // images seen; null: the last

/** A number where there is little space: 20000 → "20k". */
export function short(value) {
  for (const [least, unit, letter] of [[1e9, 1e9, "G"], [1e6, 1e6, "M"], [1e4, 1e3, "k"]])
    if (Math.abs(value) >= least) return `${minus(Number((value / unit).toPrecision(4)))}${letter}`;
  return minus(Number(value.toPrecision(6)));
}

const minus = (value) => String(value).replace("-", "−");
const say = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : minus(Number(value.toPrecision(4))));

function part(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Round numbers, evenly spaced, between the first and the last of which all values lie. */
function ticks(low, high) {
  if (high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high))) {
    const margin = 0.1 * Math.abs(low) || 1;
    [low, high] = [low - margin, high + margin];
  }
  const power = 10 ** Math.floor(Math.log10((high - low) / MOST_TICKS));
  const step = [1, 2, 2.5, 5, 10, 20].map((factor) => factor * power).find((each) => high - low <= MOST_TICKS * each);
  const [first, last] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)];
  return Array.from({ length: last - first + 1 }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

function logTicks(low, high) {
  const found = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
    for (const factor of high / low > 300 ? [1] : [1, 2, 5]) if (factor * power >= low && factor * power <= high) found.push(factor * power);
  return found;
}

/** The place of the x that is nearest to one. */
function nearest(xs, x) {
  let [low, high] = [0, xs.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle;
    else high = middle;
  }
  return x - xs[low] <= xs[high] - x ? low : high;
}

/** A chart. `element` goes into the page; `draw` may be called again and again. */
export class Chart {
  constructor(title) {
    this.element = document.createElement("figure");
    this.element.className = "chart";
    const heading = document.createElement("h3");
    heading.textContent = title;
    this.title = title;
    this.svg = part("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "slider", tabindex: "0", "aria-label": `${title}, over images seen` });
    this.legend = document.createElement("ul");
    this.legend.className = "legend";
    this.element.append(heading, this.svg, this.legend);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => move(null));
    this.svg.addEventListener("blur", () => move(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    charts.add(this);
  }

  /** Lines: { name, colour, dash (0 to 3), x, y }; level: { name, y } or null; end: images seen at the right edge. */
  draw({ unit, lines, level, bounds, log }) {
    this.lines = lines;
    this.xs = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
    const last = this.xs[this.xs.length - 1];
    this.log = log && this.xs[0] > 0 && last > this.xs[0];
    this.low = this.log ? this.xs[0] : 0;
    this.high = Math.max(last, this.low + 1e-9) || 1;
    let [bottom, top] = [Infinity, -Infinity];
    for (const y of [...lines.flatMap((line) => line.y), ...bounds, ...(level ? [level.y] : [])]) [bottom, top] = [Math.min(bottom, y), Math.max(top, y)];
    const marks = ticks(bottom, top);
    [this.bottom, this.top] = [marks[0], marks[marks.length - 1]];

    const parts = [];
    for (const tick of marks) {
      const y = this.down(tick);
      parts.push(part("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y, class: "rule" }));
      parts.push(part("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, short(tick)));
    }
    const edge = HEIGHT - BOTTOM;
    for (const tick of this.log ? logTicks(this.low, this.high) : ticks(0, this.high).filter((each) => each <= this.high)) {
      const x = this.across(tick);
      parts.push(part("line", { x1: x, x2: x, y1: edge, y2: edge + 4, class: "axis" }));
      parts.push(part("text", { x, y: edge + 17, "text-anchor": x > WIDTH - RIGHT - 14 ? "end" : "middle" }, short(tick)));
    }
    parts.push(part("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: edge, y2: edge, class: "axis" }));
    parts.push(part("text", { x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, "images seen"));
    parts.push(part("text", { x: 0, y: 12 }, unit));
    if (level) {
      const y = this.down(level.y);
      parts.push(part("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y, class: "level" }));
      parts.push(part("text", { x: WIDTH - RIGHT - 2, y: y > TOP + 14 ? y - 5 : y + 14, "text-anchor": "end" }, level.name));
    }
    for (const line of lines) {
      const points = line.x.map((x, place) => `${this.across(x).toFixed(1)},${this.down(line.y[place]).toFixed(1)}`);
      const style = { stroke: `var(${line.colour})`, "stroke-dasharray": DASHES[line.dash], class: "line" };
      parts.push(part("polyline", { points: points.join(" "), ...style }));
      if (points.length <= 24)
        for (const point of points) parts.push(part("circle", { cx: point.split(",")[0], cy: point.split(",")[1], r: 3, fill: `var(${line.colour})` }));
    }
    this.marker = part("g", { class: "marker" });
    this.svg.replaceChildren(...parts, this.marker);

    this.values = lines.map((line) => {
      const entry = document.createElement("li");
      const swatch = part("svg", { viewBox: "0 0 22 8", width: 22, height: 8, "aria-hidden": "true" });
      swatch.append(part("line", { x1: 0, x2: 22, y1: 4, y2: 4, stroke: `var(${line.colour})`, "stroke-dasharray": DASHES[line.dash], "stroke-width": 3 }));
      const value = document.createElement("b");
      entry.append(swatch, ` ${line.name} `, value);
      return [entry, value];
    });
    this.where = document.createElement("li");
    this.where.className = "soft";
    this.legend.replaceChildren(...this.values.map(([entry]) => entry), this.where);
    this.svg.setAttribute("aria-valuemin", this.xs[0]);
    this.svg.setAttribute("aria-valuemax", last);
    this.mark();
  }

  across(x) {
    const share = this.log ? Math.log(x / this.low) / Math.log(this.high / this.low) : x / this.high;
    return LEFT + share * (WIDTH - LEFT - RIGHT);
  }

  down(y) {
    return TOP + ((this.top - y) / (this.top - this.bottom)) * (HEIGHT - TOP - BOTTOM);
  }

  /** Show the values at the cursor. */
  mark() {
    const x = this.xs[nearest(this.xs, cursor ?? Infinity)];
    this.marker.replaceChildren();
    if (cursor !== null) this.marker.append(part("line", { x1: this.across(x), x2: this.across(x), y1: TOP, y2: HEIGHT - BOTTOM, class: "axis" }));
    const said = this.lines.map((line, number) => {
      const place = nearest(line.x, x);
      this.values[number][1].textContent = say(line.y[place]);
      if (cursor !== null)
        this.marker.append(part("circle", { cx: this.across(line.x[place]), cy: this.down(line.y[place]), r: 4, fill: `var(${line.colour})` }));
      return `${line.name} ${say(line.y[place])}`;
    });
    this.where.textContent = `${cursor === null ? "last, " : ""}at ${Math.round(x).toLocaleString("en-US")}`;
    this.svg.setAttribute("aria-valuenow", x);
    this.svg.setAttribute("aria-valuetext", `at ${Math.round(x).toLocaleString("en-US")} images: ${said.join(", ")}`);
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT)));
    move(this.log ? this.low * (this.high / this.low) ** share : share * this.high);
  }

  key(event) {
    const at = nearest(this.xs, cursor ?? Infinity);
    const far = Math.max(1, Math.round(this.xs.length / 10));
    const steps = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, PageDown: at - far, PageUp: at + far, Home: 0, End: this.xs.length - 1 };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move(this.xs[Math.min(this.xs.length - 1, Math.max(0, steps[event.key]))]);
  }

  remove() {
    charts.delete(this);
    this.element.remove();
  }
}

function move(x) {
  cursor = x;
  for (const chart of charts) chart.mark();
}
