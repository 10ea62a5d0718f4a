// What both pages share: asking the server, making elements, masks.

export const find = (id) => document.getElementById(id);

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Unreachable extends Error {}

// Asks the server. Refused says what it answered; Unreachable, that it did not.
export async function ask(method, url, body, type = "application/json") {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = type;
    options.body = type === "application/json" ? JSON.stringify(body) : body;
  }
  let answer;
  let said;
  try {
    answer = await fetch(url, options);
    said = await answer.json();
  } catch {
    if (!answer || answer.ok) throw new Unreachable(); // before its answer, or in the midst of it
  }
  if (answer.ok) return said;
  throw new Refused(answer.status, said?.error ?? `the server answered ${answer.status}`);
}

// Texts go in as text: phrases and names are other people's.
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function makeSvg(name, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

export function listFacts(list, facts) {
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  list.replaceChildren(...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));
}

const REASONS = {
  size: "too thin",
  outside: "its middle is outside the image",
  margin: "the runner-up is nearly as good",
  coverage: "among the least sure",
  confidence: "among the least confident",
  place: "it contradicts the location words",
  words: "no word that the teacher knows",
  domain: "the image is unlike those it was trained on",
};

// Why a label was refused: the word that tables have, and what it means where that is known.
export const explained = (reason) => (REASONS[reason] ? `${reason} (${REASONS[reason]})` : reason);

export const rounded = (value) => (value === null || value === undefined ? null : Number(value.toFixed(3)));

// A COCO run-length code as an SVG path: numbers in digits of five bits, from the fourth on as differences, columns first.
export function maskPath({ size: [height, width], counts }) {
  let path = "";
  let place = 0;
  let isSet = false;
  const end = height * width;
  for (const length of runLengths(counts)) {
    if (length < 0 || place + length > end) break;
    for (let at = place; isSet && at < place + length; ) {
      const top = at % height;
      const run = Math.min(height - top, place + length - at);
      path += `M${Math.floor(at / height)} ${top}v${run}h1v${-run}z`;
      at += run;
    }
    place += length;
    isSet = !isSet;
  }
  return path;
}

function runLengths(counts) {
  const numbers = [];
  let value = 0;
  let shift = 0;
  for (const character of counts) {
    const digit = character.charCodeAt(0) - 48;
    if (digit < 0 || digit > 63 || shift > 30) return [];
    value += (digit & 31) * 2 ** shift;
    shift += 5;
    if (digit & 32) continue;
    if (digit & 16) value -= 2 ** shift;
    numbers.push(value + (numbers.length > 2 ? numbers[numbers.length - 2] : 0));
    value = shift = 0;
  }
  return numbers;
}
