// A curve of counts over thresholds, as wide as there is room, with a line where a slider stands.

const NAMESPACE = "http://www.w3.org/2000/svg";
const MARGIN = { left: 12, right: 48, top: 14, bottom: 26 };
const STEEP = 20; // a curve that grows by more than this is drawn by the logarithm

function shape(name, attributes, text = "") {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  if (text) made.textContent = text;
  return made;
}

/** Ticks of 1, 2 or 5 times a power of ten, about four of them; by the logarithm the powers themselves. */
function ticks(top, steep) {
  if (steep) return Array.from({ length: Math.floor(Math.log10(top)) + 1 }, (_, power) => 10 ** power);
  const rough = 10 ** Math.floor(Math.log10(top / 4 || 1));
  const step = [1, 2, 5, 10].map((times) => times * rough).find((size) => size * 5 >= top) ?? top;
  return Array.from({ length: Math.floor(top / step) }, (_, place) => (place + 1) * step).filter(Number.isInteger);
}

/** Draw into an SVG element; returns how to move its line to a place of `counts`. `at` tells the value at a place. */
export function draw(svg, { counts, first, last, own, at }) {
  const { width, height } = svg.getBoundingClientRect();
  const top = Math.max(1, ...counts);
  const steep = top > STEEP * Math.max(1, counts.at(-1));
  const part = steep ? (count) => Math.log1p(count) / Math.log1p(top) : (count) => count / top;
  const x = (score) => MARGIN.left + ((score - first) / (last - first)) * (width - MARGIN.left - MARGIN.right);
  const y = (count) => height - MARGIN.bottom - part(count) * (height - MARGIN.top - MARGIN.bottom);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const parts = [];
  for (const tick of [0, ...ticks(top, steep)]) {
    parts.push(shape("line", { class: "grid", x1: x(first), x2: x(last), y1: y(tick), y2: y(tick) }));
    parts.push(shape("text", { x: width - 4, y: y(tick) + 4, "text-anchor": "end" }, tick.toLocaleString("en-US")));
  }
  for (let score = Math.ceil(first / 5) * 5; score <= last; score += 5)
    parts.push(shape("text", { x: x(score), y: height - 6, "text-anchor": score >= last ? "end" : "middle" }, String(score).replace("-", "−")));
  parts.push(shape("line", { class: "own", x1: x(own), x2: x(own), y1: MARGIN.top, y2: height - MARGIN.bottom }));
  parts.push(shape("text", { x: x(own) + 6, y: height - MARGIN.bottom - 8 }, "this run"));
  const points = counts.map((count, place) => `${x(at(place)).toFixed(1)},${y(count).toFixed(1)}`);
  parts.push(shape("polyline", { class: "line", points: points.join(" ") }));
  const line = shape("line", { class: "at", y1: MARGIN.top, y2: height - MARGIN.bottom });
  const dot = shape("circle", { r: 5 });
  svg.replaceChildren(...parts, line, dot);
  return (place) => {
    for (const end of ["x1", "x2"]) line.setAttribute(end, x(at(place)));
    dot.setAttribute("cx", x(at(place)));
    dot.setAttribute("cy", y(counts[place]));
  };
}

/** The score at a point of the element. */
export function scoreAt(svg, event, first, last) {
  const { left, width } = svg.getBoundingClientRect();
  const share = (event.clientX - left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
  return first + Math.min(1, Math.max(0, share)) * (last - first);
}
