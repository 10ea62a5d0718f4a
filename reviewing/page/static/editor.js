// The four fields of a box: filled, read, and what is wrong with them.

import { find } from "./common.js";

const SMALLEST = 0.999; // pixels; a box of one pixel may be a little less in floating point
const SIDES = ["left", "top", "right", "bottom"];

export function fillEditor(box) {
  tellEditor("");
  SIDES.forEach((side, place) => {
    const field = find("editor").elements[side];
    field.value = box ? box[place] : "";
  });
}

export function readEditor() {
  const box = SIDES.map((side) => find("editor").elements[side].valueAsNumber);
  return box.every(Number.isFinite) ? box : null;
}

export function tellEditor(problem) {
  find("editor-problem").textContent = problem;
  find("editor-problem").hidden = !problem;
}

// Why four numbers are no box in the picture; empty where they are one.
export function wrong(box, { width, height }) {
  if (!box) return "Not saved: draw a box, or type its four sides.";
  const [left, top, right, bottom] = box;
  if (right - left < SMALLEST) return `Not saved: right is ${right} and left ${left}. Right must be larger by 1 or more.`;
  if (bottom - top < SMALLEST) return `Not saved: bottom is ${bottom} and top ${top}. Bottom must be larger by 1 or more.`;
  const isInside = left >= 0 && top >= 0 && right <= width && bottom <= height;
  return isInside ? "" : `Not saved: the box leaves the picture, which is ${width} wide and ${height} high.`;
}
