// What the pages share: requests that say what went wrong, and figures in words.

const trouble = document.getElementById("trouble");

/** The JSON that an address answers with; a failure is told at the top of the page, and thrown. */
export async function ask(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    trouble.textContent = "The server does not answer. Start python -m dedup.review again, and open the address that it prints: all that was counted is kept.";
    throw error;
  }
  if (!response.ok) {
    trouble.textContent = await response.text();
    throw new Error(`${address}: ${response.status}`);
  }
  trouble.textContent = "";
  return response.json();
}

/** The same for what changes something. */
export function tell(address, content = null) {
  return ask(address, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(content),
  });
}

/** 0.0123 → "1.23%": as many digits as tell something. */
export function percent(share) {
  const digits = !share || share >= 0.09995 ? 1 : share >= 0.00095 ? 2 : 3;
  return `${(100 * share).toFixed(digits)}%`;
}

export const thousands = (number) => number.toLocaleString("en-US");

/** A table row of texts; those after the first are numbers. */
export function row(texts) {
  const line = document.createElement("tr");
  texts.forEach((text, place) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    if (place) cell.className = "n";
    line.append(cell);
  });
  return line;
}

// On a narrow window the bar of pages is wider than it: the one that is open is brought into sight.
document.querySelector(".bar [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
