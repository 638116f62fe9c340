// What the pages "Draw" and "Pick" share: which samples, saving, the command that uses what was said, and its result.

import { ask, tell } from "./common.js";
import { finding, make } from "./elements.js";

const byId = (id) => document.getElementById(id);
const EVERY_MS = 600; // between looks at a command at work
const ENDS = { done: "It is done.", failed: "It failed.", stopped: "It was stopped." };

/** The samples that a page is about, and what happens to them. */
export class Desk {
  /** open: called with the sheet when its samples are there. */
  constructor(open) {
    this.open = open;
    this.place = null;
    this.sheet = null;
    this.experiment = null;
    this.waiting = null; // what is to be saved next
    this.saving = false;
    for (const name of ["run", "checkpoint", "seed", "label"]) byId(name).addEventListener("change", () => this.go(name));
    byId("draw-samples").addEventListener("click", () => this.start("sheet"));
    byId("do").addEventListener("click", () => this.start(this.experiment));
    byId("stop").addEventListener("click", () => tell("/api/jobs/stop"));
    byId("copy").addEventListener("click", () => this.copy());
  }

  async begin() {
    const { runs } = await ask("/api/checkpoints");
    const usable = runs.filter((run) => run.checkpoints.length);
    byId("none").hidden = usable.length > 0;
    if (!usable.length) return;
    const params = new URLSearchParams(location.search);
    const run = usable.find(({ name }) => name === params.get("run")) ?? usable[0];
    const checkpoint = run.checkpoints.find((name) => name === params.get("checkpoint")) ?? run.checkpoints[0];
    const [seed, label] = ["seed", "label"].map((name) => Math.max(0, Number.parseInt(params.get(name), 10) || 0));
    this.place = { run: run.name, checkpoint, seed, label };
    const options = (names, chosen, say = (name) => name) => names.map((name) => make("option", { value: name, selected: name === chosen }, say(name)));
    byId("run").replaceChildren(...options(usable.map(({ name }) => name), run.name));
    byId("checkpoint").replaceChildren(...options(run.checkpoints, checkpoint, (name) => `${Number(name).toLocaleString("en-US")} images seen`));
    byId("seed").value = seed;
    byId("label").value = label;
    byId("of-class").hidden = !run.classes;
    byId("choose").hidden = false;
    await this.load();
    const { job } = await ask("/api/jobs");
    if (job?.state === "running") this.watch(job);
  }

  /** Another run, checkpoint or seed is another page. */
  go(changed) {
    const names = changed === "run" ? ["run", "seed"] : ["run", "checkpoint", "seed", "label"];
    const query = new URLSearchParams(location.search);
    for (const name of ["run", "checkpoint", "seed", "label"]) query.delete(name);
    for (const name of names) query.set(name, byId(name).value);
    location.search = query.toString();
  }

  async load() {
    this.sheet = await ask(`/api/sheet?${new URLSearchParams(this.place)}`);
    const there = this.sheet.samples.length > 0;
    byId("undrawn").hidden = there;
    byId("desk").hidden = !there;
    byId("sheet-command").textContent = this.sheet.command;
    if (there) this.open(this.sheet);
  }

  /** What is said for an experiment, as the server knows it. */
  said(experiment) {
    return this.sheet.said[experiment];
  }

  /** Keep something; what is said while an earlier one is on its way goes next. */
  async save(address, experiment, content) {
    this.waiting = { address, experiment, content };
    byId("saved").textContent = "saving…";
    if (this.saving) return;
    this.saving = true;
    try {
      while (this.waiting) {
        const next = this.waiting;
        this.waiting = null;
        const body = { ...this.place, ...next.content, known: this.said(next.experiment).known };
        this.sheet.said[next.experiment] = await tell(next.address, body);
      }
      byId("saved").textContent = "saved";
      this.showCommand();
    } catch {
      byId("saved").textContent = "not saved"; // what went wrong stands at the top of the page
    } finally {
      this.saving = false;
    }
  }

  /** Turn to an experiment: its command, and what it has found. */
  use(experiment) {
    this.experiment = experiment;
    this.showCommand();
    this.showResult();
  }

  showCommand() {
    const said = this.said(this.experiment);
    byId("command").textContent = said.command;
    byId("file").textContent = said.file;
    byId("do").disabled = !said.ready || this.running;
    byId("unready").hidden = said.ready;
  }

  showResult() {
    const found = this.said(this.experiment).finding;
    byId("result").replaceChildren(...(found ? [finding(found)] : []));
    byId("result-part").hidden = !found;
  }

  async copy() {
    await navigator.clipboard.writeText(byId("command").textContent);
    byId("copied").textContent = "copied";
    setTimeout(() => (byId("copied").textContent = ""), 2000);
  }

  async start(experiment) {
    byId("job").dataset.state = "asked";
    this.watch(await tell("/api/jobs", { ...this.place, experiment }));
  }

  async watch(job) {
    this.running = true;
    for (const id of ["do", "draw-samples"]) byId(id).disabled = true;
    byId("job").hidden = false;
    byId("stop").hidden = false;
    let latest = job;
    while (latest.state === "running") {
      this.showJob(latest);
      await new Promise((wake) => setTimeout(wake, EVERY_MS));
      latest = (await ask("/api/jobs")).job;
    }
    this.running = false;
    byId("stop").hidden = true;
    byId("draw-samples").disabled = false;
    if (latest.state === "done" && latest.purpose === "sheet") await this.load();
    else if (this.sheet.samples.length) {
      const { said } = await ask(`/api/sheet?${new URLSearchParams(this.place)}`);
      this.sheet.said[this.experiment].finding = said[this.experiment].finding;
      this.use(this.experiment);
    }
    this.showJob(latest);
  }

  showJob({ state, seconds, tail, error, command, number }) {
    byId("job").dataset.state = state;
    byId("job").dataset.number = number;
    const text = state === "running" ? `at work, ${Math.round(seconds)} s` : `${ENDS[state]} ${error}`;
    if (byId("job-state").textContent !== text) byId("job-state").textContent = text;
    byId("see").hidden = state !== "done" || byId("result-part").hidden;
    byId("tail").textContent = [`$ ${command}`, ...tail].join("\n");
  }
}

/**
 * A grid of samples in which one is focused: arrow keys lead to the others.
 *
 * `choose`: called with a number that is clicked or entered; `focused`: with one that gets the focus.
 */
export class Grid {
  constructor(parent, samples, { choose, focused = () => {} }) {
    this.parent = parent;
    this.buttons = samples.map((address, number) => {
      const image = make("img", { src: address, alt: "", draggable: "false", loading: "lazy" });
      const button = make("button", { type: "button", class: "sample", tabindex: number ? "-1" : "0", "data-number": number }, image, make("span", { class: "mark", "aria-hidden": "true" }));
      button.addEventListener("click", () => choose(number));
      button.addEventListener("focus", () => {
        this.rove(number);
        focused(number);
      });
      return button;
    });
    parent.replaceChildren(...this.buttons);
    parent.onkeydown = (event) => this.key(event);
  }

  rove(number) {
    for (const button of this.parent.querySelectorAll('[tabindex="0"]')) button.tabIndex = -1;
    this.buttons[number].tabIndex = 0;
  }

  get columns() {
    return this.buttons.findIndex((button, number) => number && button.offsetTop > this.buttons[0].offsetTop) || this.buttons.length;
  }

  key(event) {
    const at = this.buttons.indexOf(document.activeElement);
    const columns = this.columns < 0 ? this.buttons.length : this.columns;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: this.buttons.length - 1 - at };
    if (at < 0 || !(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.buttons[at + steps[event.key]]?.focus();
  }

  /** Mark a sample: text in its corner, class, and what a screen reader says. */
  mark(number, { text = "", kind = "", says = "" }) {
    const button = this.buttons[number];
    button.querySelector(".mark").textContent = text;
    button.className = `sample ${kind}`.trim();
    button.setAttribute("aria-label", `Sample ${number}${says ? `, ${says}` : ""}`);
  }
}

/** Whether a key is meant for a field that one types into. */
export const isTyped = (event) => event.target.closest?.("input, select, textarea") !== null;
