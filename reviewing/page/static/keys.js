// Keys of the review page. Letters count where nobody types, and not at all where they are switched off (WCAG 2.1.4).

import { find } from "./common.js";

const LETTERS = { a: "accept", x: "reject", r: "runner_up", b: "edit", z: "undo", n: "next", p: "previous", "?": "help" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const GO = { ArrowLeft: "previous", ArrowRight: "next" };
const ONCE = ["a", "x", "r", "b", "z"]; // once a press: held down, they would be about labels that nobody saw
const TYPING = "input:not([type=checkbox]), select, textarea";
const OWN_ENTER = "button, a, input, select, textarea"; // where Enter means something already
const SWITCH = "deixis-single-keys";

export function listenToKeys(actions, isEditing) {
  const single = find("single-keys");
  single.checked = localStorage.getItem(SWITCH) !== "off";
  single.addEventListener("change", () => localStorage.setItem(SWITCH, single.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    if (find("help").open || event.isComposing) return;
    if (event.repeat && isOnce(event)) return event.preventDefault();
    const isDone = isEditing()
      ? inEditor(event, actions)
      : inList(event, actions) || letter(event, actions, single.checked);
    if (isDone) event.preventDefault();
  });
}

// Enter on a button, too: a browser presses it again while the key is held.
function isOnce(event) {
  return event.key === "Enter" || (!event.target.matches(TYPING) && ONCE.includes(event.key.toLowerCase()));
}

// No letters here: one that decides would throw the box away.
function inEditor(event, actions) {
  if (event.key === "Escape") return done(actions.leave);
  if (event.target.matches(TYPING)) return false;
  if (event.key === "Enter" && !event.target.matches(OWN_ENTER)) return done(actions.save);
  const step = ARROWS[event.key];
  if (!step || event.metaKey) return false;
  const far = event.shiftKey ? 10 : 1;
  return done(() => actions.step(step[0] * far, step[1] * far, event.altKey || event.ctrlKey));
}

function inList(event, actions) {
  const isPlain = !(event.altKey || event.ctrlKey || event.metaKey || event.shiftKey);
  if (!isPlain || !GO[event.key] || event.target.matches(TYPING)) return false;
  return done(actions[GO[event.key]]);
}

function letter(event, actions, areOn) {
  if (event.altKey || event.target.matches(TYPING)) return false;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) return key === "z" && !event.shiftKey && done(actions.undo);
  return areOn && key in LETTERS && done(actions[LETTERS[key]]);
}

function done(action) {
  action();
  return true;
}
