// The page "Runs": one training run, or two side by side: samples over time, losses, metrics, what differs.

import { Chart } from "./chart.js";
import { ask, thousands } from "./common.js";
import { finding, make, scrolling } from "./elements.js";

const byId = (id) => document.getElementById(id);
const COLOURS = ["--bar", "--dropped"]; // of two runs; of one, of its lines
const EVERY_MS = 3000; // between looks at a run that is not finished
const STEP_MS = 250; // of Play
const AHEAD = 3; // grids fetched on either side of the slider

const params = new URLSearchParams(location.search);
let shown = []; // one run or two
let steps = []; // images seen at which a run has a grid
let playing = null;
const figures = []; // of each run: its grid
const drawn = new Map(); // charts by title, so that they stay where they are
const fetched = new Map();

async function begin() {
  const { runs } = await ask("/api/runs");
  byId("none").hidden = runs.length > 0;
  byId("said").hidden = runs.length === 0;
  if (!runs.length) return;
  const names = runs.map((run) => run.name);
  const first = names.includes(params.get("first")) ? params.get("first") : names[0];
  const second = names.includes(params.get("second")) && params.get("second") !== first ? params.get("second") : null;
  listRuns(runs, first, second);
  shown = await Promise.all([first, second].filter((name) => name !== null).map(fetchRun));
  byId("shown").hidden = false;
  show(true);
  if (shown.some((run) => !run.finished)) setTimeout(refresh, EVERY_MS, first, second);
}

const fetchRun = (name) => ask(`/api/runs/${encodeURIComponent(name)}`);

function listRuns(runs, first, second) {
  const go = (names) => {
    const query = new URLSearchParams(Object.entries(names).filter(([, name]) => name !== null));
    location.search = query.toString();
  };
  const entries = runs.map((run) => {
    const which = run.name === first ? "first" : run.name === second ? "second" : "";
    const state = make("span", { class: run.finished ? "state" : "state live" }, run.finished ? "finished" : "not finished");
    const seen = `${thousands(run.images)} images seen${run.epochs ? ` · ${run.done} of ${run.epochs} epochs` : ""}`;
    const acts = make("div", { class: "acts" });
    const act = (text, pressed, names) => {
      const button = make("button", { "aria-pressed": String(pressed), "aria-label": `${text} ${run.name}` }, text);
      button.addEventListener("click", () => go(names));
      acts.append(button);
    };
    act("Show", which === "first", { first: run.name, second: run.name === second ? null : second });
    if (runs.length > 1 && which !== "first") act("Beside", which === "second", { first, second: which === "second" ? null : run.name });
    return make(
      "li",
      { class: which || null, "data-run": run.name },
      make("div", { class: "name" }, make("b", {}, run.name), state),
      make("p", { class: "soft" }, run.settings),
      make("progress", { value: run.images, max: run.total || run.images || 1, "aria-label": `Images seen by ${run.name}` }),
      make("p", { class: "seen" }, seen),
      ...(run.metrics ? [make("p", { class: "soft" }, run.metrics)] : []),
      acts,
    );
  });
  const focused = document.activeElement?.getAttribute("aria-label");
  byId("runs").replaceChildren(...entries);
  if (focused) [...byId("runs").querySelectorAll("button")].find((button) => button.getAttribute("aria-label") === focused)?.focus();
}

/** A run that is still trained is asked for what is new; nothing moves but what has changed. */
async function refresh(first, second) {
  if (!document.hidden) {
    let changed = false;
    for (const [place, run] of shown.entries()) {
      const latest = await ask(`/api/runs/${encodeURIComponent(run.name)}?known=${run.version}`);
      if (latest.version === run.version) continue;
      shown[place] = latest;
      changed = true;
    }
    if (changed) {
      listRuns((await ask("/api/runs")).runs, first, second);
      show(false);
    }
  }
  if (shown.some((run) => !run.finished)) setTimeout(refresh, EVERY_MS, first, second);
}

function show(anew) {
  showSigns();
  showGrids(anew);
  showCharts();
  showMetrics();
  showNearest();
  showConfig();
  if (anew || JSON.stringify(shown.map((run) => run.findings)) !== byId("found").dataset.shown) showFindings();
}

const named = (run, text) => (shown.length > 1 ? `${run.name}: ${text}` : text);

function showSigns() {
  const texts = shown.flatMap((run) => [
    ...(run.sign_count ? [named(run, `${run.sign_count} signs that something is wrong; the last, at image ${thousands(run.signs[0].images)}: ${run.signs[0].sign}.`)] : []),
    ...(run.rollbacks ? [named(run, `training went back to a checkpoint ${run.rollbacks} times; what it gave up is not shown.`)] : []),
    ...(run.damaged ? [named(run, `${run.damaged} lines of stats.jsonl are damaged.`)] : []),
  ]);
  byId("signs").textContent = texts.join(" ");
}

// Samples over time.

function showGrids(anew) {
  const wasLast = anew || Number(byId("time").value) === steps.length - 1;
  const at = steps[Number(byId("time").value)];
  steps = [...new Set(shown.flatMap((run) => run.grids.map((grid) => grid.images)))].sort((a, b) => a - b);
  byId("grids").hidden = steps.length === 0;
  if (!steps.length) return;
  byId("time").max = steps.length - 1;
  byId("time").value = wasLast ? steps.length - 1 : steps.findLastIndex((images) => images <= at);
  if (anew)
    for (const run of shown) {
      const figure = { image: make("img", { alt: "" }), caption: make("figcaption") };
      figures.push(figure);
      byId("samples").append(make("figure", { "data-run": run.name }, figure.image, figure.caption));
    }
  showTime();
}

/** The last grid of a run that was drawn when so many images were seen, or its first. */
const gridAt = (run, images) => run.grids.findLast((grid) => grid.images <= images) ?? run.grids[0];

function showTime() {
  const place = Number(byId("time").value);
  byId("at").textContent = `${thousands(steps[place])} images seen`;
  byId("time").setAttribute("aria-valuetext", byId("at").textContent);
  for (const [number, run] of shown.entries()) {
    const grid = gridAt(run, steps[place]);
    const { image, caption } = figures[number];
    if (!grid) {
      caption.textContent = `${run.name}: nothing is drawn yet`;
      continue;
    }
    if (image.getAttribute("src") !== grid.address) image.src = grid.address;
    image.alt = `Samples of ${run.name} after epoch ${grid.epoch}`;
    caption.textContent = `${run.name} · after epoch ${grid.epoch} · ${thousands(grid.images)} images seen`;
    for (let near = place - AHEAD; near <= place + AHEAD; near++) if (near >= 0 && near < steps.length) prefetch(gridAt(run, steps[near]).address);
  }
}

function prefetch(address) {
  if (fetched.has(address)) return;
  const image = new Image();
  image.src = address;
  fetched.set(address, image);
  if (fetched.size > 64) fetched.delete(fetched.keys().next().value);
}

function play(on) {
  clearInterval(playing);
  playing = null;
  byId("play").setAttribute("aria-pressed", on);
  byId("play").textContent = on ? "Pause" : "Play";
  if (!on) return;
  if (Number(byId("time").value) === steps.length - 1) byId("time").value = 0;
  showTime();
  playing = setInterval(() => {
    byId("time").value = Number(byId("time").value) + 1;
    showTime();
    if (Number(byId("time").value) === steps.length - 1) play(false);
  }, STEP_MS);
}

byId("time").addEventListener("input", () => {
  play(false);
  showTime();
});
byId("play").addEventListener("click", () => play(playing === null));

// Charts.

byId("log").addEventListener("click", () => {
  byId("log").setAttribute("aria-pressed", byId("log").getAttribute("aria-pressed") !== "true");
  showCharts();
  showMetrics();
});

/** Charts of both runs by title: each run has a colour, and each line of a run a dash; one run has colours alone. */
function joinCharts(ofRuns) {
  const titles = new Map();
  for (const [number, charts] of ofRuns.entries())
    for (const chart of charts) {
      const joined = titles.get(chart.title) ?? { ...chart, lines: [] };
      titles.set(chart.title, joined);
      for (const [place, line] of chart.lines.entries())
        joined.lines.push({
          ...line,
          name: shown.length > 1 ? `${shown[number].name}: ${line.name}` : line.name,
          colour: COLOURS[shown.length > 1 ? number : place],
          dash: shown.length > 1 ? place : 0,
        });
    }
  return [...titles.values()];
}

function drawCharts(parent, key, charts) {
  for (const chart of charts) {
    const known = `${key} ${chart.title}`;
    if (!drawn.has(known)) {
      drawn.set(known, new Chart(chart.title));
      parent.append(drawn.get(known).element);
    }
    drawn.get(known).draw({ ...chart, log: byId("log").getAttribute("aria-pressed") === "true" });
  }
}

function showCharts() {
  drawCharts(byId("charts"), "", joinCharts(shown.map((run) => run.charts)));
}

// Metrics: evaluations compare where all that they depend on is the same.

function showMetrics() {
  const groups = new Map();
  for (const [number, run] of shown.entries())
    for (const comparison of run.comparisons) {
      if (!groups.has(comparison.group)) groups.set(comparison.group, shown.map(() => null));
      groups.get(comparison.group)[number] = comparison;
    }
  byId("metrics").hidden = groups.size === 0;
  for (const [group, ofRuns] of groups) {
    const id = `metrics-${group}`;
    if (!byId(id)) byId("comparisons").append(make("div", { id }, make("h3"), make("div", { class: "table" }), make("div", { class: "charts" }), make("p", { class: "soft" })));
    const [heading, table, charts, settings] = byId(id).children;
    const one = ofRuns.find((comparison) => comparison !== null);
    heading.textContent = `Features: ${one.extractor}`;
    table.replaceChildren(scrolling(`Metrics by ${one.extractor}`, tabulate(one.columns, ofRuns)));
    const several = ofRuns.map((comparison) => (comparison && comparison.rows.length > 1 ? comparison.charts : []));
    drawCharts(charts, group, joinCharts(several));
    settings.textContent = Object.entries(one.settings).filter(([name]) => !name.endsWith("sha256")).map(([name, value]) => `${name} ${value}`).join(" · ");
  }
}

function tabulate(columns, ofRuns) {
  const names = Object.keys(columns);
  const beside = shown.length > 1;
  const heads = [...(beside ? ["run"] : []), "images seen", ...names.map((name) => columns[name])];
  const head = make("tr", {}, ...heads.map((text, place) => make("th", { scope: "col", class: place || !beside ? "n" : null }, text)));
  const rows = ofRuns.flatMap((comparison, number) =>
    (comparison?.rows ?? []).map((row) =>
      make("tr", {}, ...(beside ? [make("th", { scope: "row" }, shown[number].name)] : []), make("td", { class: "n" }, thousands(row.images)), ...names.map((name) => make("td", { class: "n" }, row.values[name] ?? "–"))),
    ),
  );
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

// Memory, configuration, findings.

function showNearest() {
  showPictures("memory", "nearest", (run) => [run.nearest, `Samples of ${run.name} above the training images that they come nearest to`, run.memorisation ?? "What is by heart was not measured."]);
  showPictures("average", "averaged", (run) => [run.average, `Samples of ${run.name} by the moving average of G's weights`, "from the same z"]);
}

/** A picture of each run that has one, with what is said of it; the part of the page is hidden where none has. */
function showPictures(part, within, describe) {
  const described = shown.map(describe);
  const seen = JSON.stringify(described);
  if (byId(within).dataset.shown === seen) return;
  byId(within).dataset.shown = seen;
  const there = described.map(([address, alt, text], number) => [address, alt, named(shown[number], text)]).filter(([address]) => address);
  byId(part).hidden = there.length === 0;
  byId(within).replaceChildren(...there.map(([src, alt, text]) => make("figure", {}, make("img", { src, alt, loading: "lazy" }), make("figcaption", {}, text))));
}

function showConfig() {
  const names = [...new Set(shown.flatMap((run) => Object.keys(run.config)))];
  const values = (name) => shown.map((run) => run.config[name] ?? "–");
  const differs = (name) => new Set(values(name)).size > 1;
  const table = (some, label) => {
    const head = make("tr", {}, make("th", { scope: "col" }, "option"), ...shown.map((run) => make("th", { scope: "col" }, run.name)));
    const rows = some.map((name) => make("tr", { class: differs(name) ? "differs" : null }, make("th", { scope: "row" }, make("code", {}, name)), ...values(name).map((value) => make("td", { class: differs(name) ? "differs" : null }, value))));
    return scrolling(label, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
  };
  const [unlike, alike] = [names.filter(differs), names.filter((name) => !differs(name))];
  const seen = JSON.stringify(shown.map((run) => run.config));
  if (byId("config").dataset.shown === seen) return;
  byId("config").dataset.shown = seen;
  byId("config-said").textContent =
    shown.length < 2 ? "As config.toml in its folder has it: another run takes it by --config." : unlike.length ? `${unlike.length} of ${names.length} options differ.` : "Both were told the same.";
  const rest = make("details", {}, make("summary", {}, shown.length > 1 ? `${alike.length} options that are the same` : `All ${alike.length} options`), table(alike, "Options that are the same"));
  byId("config").replaceChildren(...(unlike.length ? [table(unlike, "Options that differ")] : []), rest);
}

function showFindings() {
  byId("found").dataset.shown = JSON.stringify(shown.map((run) => run.findings));
  const all = shown.flatMap((run) => run.findings.map((found) => finding({ ...found, title: named(run, found.title) }, { folded: true })));
  byId("findings").hidden = all.length === 0;
  byId("found").replaceChildren(...all);
}

await begin();
