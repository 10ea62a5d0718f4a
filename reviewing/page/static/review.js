// The review page: one label at a time, a list beside it, decisions by key or button.

import { ask, explained, find, listFacts, rounded, Unreachable } from "./common.js";
import { fillEditor, readEditor, tellEditor, wrong } from "./editor.js";
import { enable, passOn } from "./focus.js";
import { listenToKeys } from "./keys.js";
import { markRow, showRows, WORDS } from "./list.js";
import { Pending } from "./pending.js";
import { Picture } from "./picture.js";

const WINDOW = 50; // rows of the list at once
const LEAD = 8; // of them before the one shown

const filters = find("filters");
const editor = find("editor");
const pending = new Pending(find("main").dataset);
const picture = new Picture(find("picture"), fillEditor, showBroken);
let label = null; // the one shown
let list = { start: 0, count: 0, rows: [] };
let turn = Promise.resolve();
let underWay = 0;

// ---- what is asked for: the address says it, so that a reload loses nothing

function query() {
  const asked = new URLSearchParams();
  for (const [name, value] of new FormData(filters)) if (value.trim()) asked.set(name, value);
  return asked;
}

function readAddress() {
  const asked = new URLSearchParams(location.search);
  for (const field of filters.elements) {
    const value = asked.get(field.name);
    if (field.tagName === "SELECT" && ![...field.options].some((option) => option.value === value)) continue;
    if (value !== null) field.value = value;
  }
  const row = Number.parseInt(asked.get("label") ?? "", 10);
  return Number.isNaN(row) ? null : row;
}

function writeAddress() {
  const asked = query();
  if (label) asked.set("label", label.row);
  history.replaceState(null, "", `?${asked}`);
}

// ---- showing

async function showLabel(row) {
  label = await ask("GET", `/api/labels/${row}?${query()}`);
  leaveEditor();
  drawLabel();
  writeAddress();
  if (!list.rows.some((one) => one.row === row)) await showList(Math.max(0, label.place - LEAD));
  markCurrent();
  if (label.next_picture) new Image().src = label.next_picture;
}

function drawLabel() {
  const { phrase, box, runner_up: runnerUp, mask, decision, width, height } = label;
  showPhrase(phrase);
  const layers = [{ kind: "runner-up", box: runnerUp }, { kind: "label", box, mask }];
  if (decision && decision.verdict !== "accept") layers.push({ kind: "decided", box: decision.box });
  picture.show({ url: label.picture, width, height, alt: `The image that “${phrase}” is about`, layers });
  showVerdict();
  showProgress(label);
  listFacts(find("facts"), [
    ["place in the list", `${label.place + 1} of ${label.count}`],
    ["rules", label.accepted ? "accepted" : `refused: ${explained(label.reason) || "no reason given"}`],
    ...Object.entries(label.numbers).map(([name, value]) => [name, rounded(value)]),
    ["box", box ? box.map(rounded).join(", ") : "none"],
    ["split", label.split],
    ["teacher", label.teacher],
    ["phrase id", label.sample_id],
  ]);
  find("try-link")?.setAttribute("href", `/try?${new URLSearchParams({ image: label.image + 1, phrase })}`);
  enableVerdicts();
  enable(button("previous"), label.previous !== null);
  enable(button("next"), label.next !== null);
}

// A phrase of many lines scrolls, which a keyboard must be able to do, too.
function showPhrase(phrase) {
  const shown = find("phrase");
  shown.textContent = phrase;
  shown.scrollTop = 0;
  shown.tabIndex = shown.scrollHeight > shown.clientHeight ? 0 : -1;
}

function showBroken() {
  if (!label) return;
  leaveEditor();
  enableVerdicts();
}

// No box can be judged or drawn where no picture is.
function enableVerdicts() {
  const isSeen = !picture.isBroken;
  enable(button("accept"), isSeen && label.box);
  enable(button("runner_up"), isSeen && label.runner_up);
  enable(button("edit"), isSeen);
}

function showVerdict() {
  const { decision } = label;
  let text = "";
  if (decision) text = `${WORDS[decision.verdict]} by ${decision.who}`;
  if (decision && !decision.of_this_label) text += " (the label had another box then)";
  find("verdict").textContent = text;
}

function showProgress({ decided, total }) {
  const bar = find("progress");
  bar.max = Math.max(1, total);
  bar.value = decided;
  find("progress-text").textContent = `${decided} of ${total} decided`;
}

async function showList(start) {
  list = await ask("GET", `/api/labels?${query()}&start=${start}&size=${WINDOW}`);
  showRows(list, query(), (row) => afterwards(() => showLabel(row)));
  showProgress(list);
  markCurrent();
}

function markCurrent() {
  if (label) markRow(label.row, label.decision?.verdict);
}

function button(name) {
  return document.querySelector(`[data-do=${name}]`);
}

// ---- deciding

async function decide(verdict, box = null) {
  if (!label || (verdict === "accept" && !label.box) || (verdict === "runner_up" && !label.runner_up)) return;
  if (verdict !== "reject" && !(await picture.isSeen())) return;
  const decision = { sample_id: label.sample_id, verdict, label_box: label.box };
  pending.add(box ? { ...decision, box } : decision);
  const answer = await pending.send(query());
  if (answer?.decision.sample_id === label.sample_id) {
    label.decision = answer.decision;
    showProgress(answer);
    markCurrent();
  }
  tellPending();
  leaveEditor();
  if (label.next !== null) await showLabel(label.next);
  else drawLabel();
}

async function undo() {
  if (pending.keys.length) {
    pending.dropLast();
    return tellPending();
  }
  const undone = await ask("POST", `/api/undo?${query()}`);
  showProgress(undone);
  if (undone.row !== null) return showLabel(undone.row);
  find("verdict").textContent = undone.sample_id ? `taken back: ${undone.sample_id}, which is not listed here` : "nothing to take back";
}

// Sends what is still here, and says what could not be sent.
function tellPending(error = null) {
  const count = pending.keys.length;
  const lines = error ? [reason(error)] : [];
  if (count) lines.push(`${kept(count)} in this browser and not yet in the log.`);
  for (const [who, { count: theirs, last }] of pending.others()) {
    lines.push(`${kept(theirs)} here for ${who}, the last of ${last}. To send: deixis serve --who "${who}".`);
  }
  if (!count) passOn(find("resend"));
  find("pending").hidden = !lines.length;
  find("resend").hidden = !count;
  find("pending-text").textContent = lines.join(" ");
}

const kept = (count) => (count === 1 ? "One decision is kept" : `${count} decisions are kept`);

function reason(error) {
  if (error instanceof Unreachable) return "The server does not answer. Start it again on the same port.";
  if (error.status === 401) return "The server was started anew: open the address that it printed, in this browser.";
  return `${error.message}.`;
}

// One thing at a time. What decides or steps on is left out meanwhile: a key pressed while the next label is not shown yet
// would be about one that nobody saw.
function act(what) {
  if (!underWay) afterwards(what);
}

function tellBusy(count) {
  document.querySelector("main").setAttribute("aria-busy", String(count > 0));
}

// What asks for another list waits for its turn.
function afterwards(what) {
  tellBusy((underWay += 1));
  turn = turn
    .then(what)
    .catch(tellPending)
    .finally(() => tellBusy((underWay -= 1)));
}

// ---- the box

function edit() {
  if (!label || picture.isBroken) return;
  editor.hidden = false;
  picture.edit(label.decision?.box ?? label.box);
  document.activeElement?.blur();
  for (const part of [editor, find("picture")]) part.scrollIntoView({ block: "nearest" });
}

function leaveEditor() {
  picture.leave();
  passOn(editor);
  editor.hidden = true;
}

editor.addEventListener("input", () => {
  const box = readEditor();
  if (!wrong(box, label)) picture.set(box);
  tellEditor("");
});
editor.addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
// What the fields show is what is saved: where it is no box, nothing is.
function save() {
  const box = readEditor();
  tellEditor(wrong(box, label));
  if (!wrong(box, label)) act(() => decide("box", box));
}

// ---- wiring

const actions = {
  accept: () => act(() => decide("accept")),
  reject: () => act(() => decide("reject")),
  runner_up: () => act(() => decide("runner_up")),
  undo: () => act(undo),
  next: () => label && label.next !== null && act(() => showLabel(label.next)),
  previous: () => label && label.previous !== null && act(() => showLabel(label.previous)),
  help: () => find("help").showModal(),
  edit,
  save,
  leave: leaveEditor,
  step: (x, y, isResize) => picture.step(x, y, isResize),
};
for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => actions[button.dataset.do]());
find("leave").addEventListener("click", leaveEditor);
find("earlier").addEventListener("click", () => afterwards(() => showList(Math.max(0, list.start - WINDOW))));
find("later").addEventListener("click", () => afterwards(() => showList(list.start + WINDOW)));
find("resend").addEventListener("click", () =>
  afterwards(async () => {
    await pending.send(query());
    tellPending();
    await showAll(label?.row ?? null);
  }),
);
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("input", () => {
  clearTimeout(filters.waiting);
  filters.waiting = setTimeout(() => afterwards(() => showAll(null)), 200);
});
listenToKeys(actions, () => picture.isEditing);

async function showAll(row) {
  await showList(0);
  const first = list.rows[0]?.row ?? null;
  try {
    if (row !== null) return await showLabel(row);
  } catch (error) {
    if (error.status !== 404) throw error; // the address is of other labels
  }
  if (first !== null) return showLabel(first);
  label = null;
  find("phrase").textContent = "No label is like that";
  find("facts").replaceChildren();
  find("picture").replaceChildren();
  find("verdict").textContent = "";
  writeAddress();
}

tellPending();
afterwards(() => showAll(readAddress()));
