// The list beside the label: a window of it, with what was decided about each.

import { find, make } from "./common.js";
import { enable } from "./focus.js";

export const WORDS = { accept: "accepted", reject: "rejected", runner_up: "runner-up taken", box: "box corrected" };

// onPick is called with the row of a label that is clicked.
export function showRows({ start, count, rows }, query, onPick) {
  find("rows").replaceChildren(...rows.map((one) => makeRow(one, query, onPick)));
  const last = start + rows.length;
  find("window").textContent = count ? `${start + 1} to ${last} of ${count}` : "no label";
  enable(find("earlier"), start > 0);
  enable(find("later"), last < count);
}

// Marks the row that is shown, and what was decided about it.
export function markRow(row, verdict) {
  for (const link of find("rows").querySelectorAll("a")) {
    if (link.dataset.row !== String(row)) {
      link.removeAttribute("aria-current");
      continue;
    }
    link.setAttribute("aria-current", "true");
    say(link, verdict);
    scrollInto(find("rows"), link);
  }
}

function makeRow(one, query, onPick) {
  const mark = make("span", { class: "mark" });
  const link = make("a", { href: `?${query}&label=${one.row}` }, make("span", { class: "phrase" }, one.phrase), mark);
  link.dataset.row = one.row;
  link.dataset.otherwise = one.accepted ? "" : one.reason || "refused";
  link.addEventListener("click", (event) => {
    event.preventDefault();
    onPick(one.row);
  });
  say(link, one.verdict);
  return make("li", {}, link);
}

function say(link, verdict) {
  const mark = link.querySelector(".mark");
  mark.textContent = verdict ? WORDS[verdict] : link.dataset.otherwise;
  mark.classList.toggle("done", Boolean(verdict));
}

// Within the list alone: the page stays where it is. Of the list, what is above the lower edge of the window counts.
function scrollInto(box, link) {
  const [outer, inner] = [box.getBoundingClientRect(), link.getBoundingClientRect()];
  if (inner.top < outer.top) box.scrollTop -= outer.top - inner.top;
  const bottom = outer.top + inner.height < innerHeight ? Math.min(outer.bottom, innerHeight) : outer.bottom;
  if (inner.bottom > bottom) box.scrollTop += inner.bottom - bottom;
}
