// The page to try phrases on: an image, phrases, and what the model says.

import { ask, explained, find, listFacts, make, rounded, Unreachable } from "./common.js";
import { Picture } from "./picture.js";

const problem = find("problem");
const picture = new Picture(find("picture"));
const choose = find("choose");
let image = null; // as the server describes it
let answers = [];

async function attempt(state, what) {
  problem.hidden = true;
  find("state").textContent = state;
  try {
    await what();
    find("state").textContent = "";
  } catch (error) {
    problem.textContent = error instanceof Unreachable ? "The server does not answer. Start it again." : `${error.message}.`;
    problem.hidden = false;
    find("state").textContent = "";
  }
}

function showImage(shown) {
  image = shown;
  answers = [];
  find("answers").replaceChildren();
  find("image-name").textContent = `${image.name}, ${image.width} x ${image.height} pixels`;
  draw(null);
}

function draw(answer) {
  const layers = answer ? [{ kind: "runner-up", box: answer.runner_up }, { kind: "label", box: answer.box, mask: answer.mask }] : [];
  const alt = answer ? `The image, with the answer to “${answer.phrase}”` : "The image to ask about";
  picture.show({ url: image.picture, width: image.width, height: image.height, alt, layers });
}

function showAnswers(found) {
  answers = found.answers;
  find("answers").replaceChildren(...answers.map(makeAnswer));
  pick(0);
}

function makeAnswer(answer, place) {
  const button = make("button", { type: "button", "aria-pressed": "false" }, answer.phrase);
  button.addEventListener("click", () => pick(place));
  const facts = make("dl", { class: "facts" });
  listFacts(facts, [
    ["box", answer.box ? answer.box.map(rounded).join(", ") : "nothing was found"],
    ["score", rounded(answer.score)],
    ["margin", rounded(answer.margin)],
    ["confidence", rounded(answer.confidence)],
    ["as a label", answer.reason ? `not accepted: ${explained(answer.reason)}` : ""],
    ["place read", answer.place || "none"],
    ["rest of the phrase", answer.place ? answer.rest || "nothing" : ""],
  ]);
  return make("li", {}, button, facts);
}

function pick(place) {
  find("answers").querySelectorAll("button").forEach((button, at) => button.setAttribute("aria-pressed", String(at === place)));
  draw(answers[place]);
}

const showListed = (number) => attempt("", async () => showImage(await ask("GET", `/api/images/${number - 1}`)));

choose?.addEventListener("submit", (event) => {
  event.preventDefault();
  showListed(choose.elements.number.valueAsNumber);
});
// A server that refuses a large file ends the connection, and the browser does not hear why: so the page looks first.
async function upload(file, megabytes) {
  if (file.size > megabytes * 2 ** 20) throw new Error(`${file.name} is too large. Allowed: ${megabytes} MB, see --max-upload`);
  showImage(await ask("PUT", "/api/images", file, "application/octet-stream"));
}
find("upload").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (file) attempt("uploading", () => upload(file, Number(target.dataset.megabytes)));
});
find("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const phrases = event.target.elements.phrases.value.split("\n").filter((phrase) => phrase.trim());
  attempt("asking; the first answer takes a while", async () => {
    if (!image) throw new Error("No image yet. Choose one, or upload one");
    showAnswers(await ask("POST", "/api/answers", { kind: image.kind, number: image.number, phrases }));
  });
});

const asked = new URLSearchParams(location.search);
find("ask").elements.phrases.value = asked.get("phrase") ?? "";
if (choose) {
  const number = Number.parseInt(asked.get("image") ?? "1", 10) || 1;
  choose.elements.number.value = number;
  showListed(number);
}
