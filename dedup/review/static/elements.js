// Elements made of texts, never of markup: names and texts come from files.

/** An element with attributes and children (elements or texts); attributes of null or false are left out. */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) if (value !== null && value !== false) made.setAttribute(attribute, value === true ? "" : value);
  made.append(...children);
  return made;
}

/** What an experiment has found: its title, pictures, each of which leads to itself, and figures beside the paper's. */
export function finding(found, { folded = false } = {}) {
  const box = make("article", { class: "finding" }, make("h3", {}, found.title));
  const pictures = found.pictures.map((picture) =>
    make("a", { href: picture.address, target: "_blank" }, make("img", { src: picture.address, alt: `${found.title}: ${picture.name}`, loading: "lazy" })),
  );
  box.append(make("div", { class: "pictures" }, ...pictures));
  const about = folded ? make("details", {}, make("summary", {}, "Figures")) : box;
  if (folded && (found.figures.length || found.differs)) box.append(about);
  if (found.figures.length) {
    const head = make("tr", {}, make("th", { scope: "col" }, "figure"), make("th", { scope: "col", class: "n" }, "ours"), make("th", { scope: "col", class: "n" }, "paper"), make("th", { scope: "col" }, ""));
    const rows = found.figures.map((figure) => make("tr", {}, make("td", {}, figure.name), make("td", { class: "n" }, figure.value), make("td", { class: "n" }, figure.paper), make("td", { class: "note" }, figure.note)));
    about.append(scrolling(found.title, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows))));
  }
  if (found.differs) about.append(make("p", { class: "soft" }, found.differs));
  return box;
}

/** Something wide that scrolls by itself, by keyboard too. */
export const scrolling = (name, ...children) => make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, ...children);
