// A picture with boxes over it, and one box that can be drawn, moved and resized. All in pixels of the stored image.

import { ask, make, makeSvg, maskPath } from "./common.js";

const LARGEST = 8; // times, for small images
const SHORTEST = 260; // pixels of the screen, for the height of a picture
const THINNEST = 24; // pixels of the screen: what is thinner is stretched, with its boxes
const BESIDE = 440; // what stands above and below it, so that the buttons can be seen
const HANDLE = 9; // pixels of the screen
const MIDDLE = "move";
const HANDLES = { nw: [0, 1], ne: [2, 1], sw: [0, 3], se: [2, 3], n: [null, 1], s: [null, 3], w: [0, null], e: [2, null], [MIDDLE]: [null, null] };

export class Picture {
  // onEdit is called with the box whenever it changes, onBroken when there is no picture to be seen.
  constructor(figure, onEdit = () => {}, onBroken = () => {}) {
    this.figure = figure;
    this.onEdit = onEdit;
    this.onBroken = onBroken;
    this.isBroken = false;
    this.size = [1, 1];
    this.box = null;
    this.isEditing = false;
    this.image = make("img", { alt: "" });
    this.image.draggable = false;
    this.image.addEventListener("error", () => this.#sayWhy());
    this.svg = makeSvg("svg", { "aria-hidden": "true", preserveAspectRatio: "none" });
    this.drawn = makeSvg("g");
    this.edited = makeSvg("g");
    this.svg.append(this.drawn, this.edited);
    this.svg.addEventListener("pointerdown", (event) => this.#press(event));
    new ResizeObserver(() => this.#fit()).observe(figure.parentElement);
    addEventListener("resize", () => this.#fit());
  }

  // layers: [{kind, box, mask}], the last on top.
  show({ url, width, height, alt, layers }) {
    this.size = [width, height];
    if (url !== this.image.getAttribute("src")) this.isBroken = false;
    this.image.setAttribute("src", url);
    this.image.alt = alt;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.drawn.replaceChildren();
    for (const { kind, box, mask } of layers) {
      if (mask) this.drawn.append(makeSvg("path", { class: "mask", d: maskPath(mask) }));
      const seen = box && inside(box, width, height);
      if (seen) this.drawn.append(rectangle("halo", seen), rectangle(`line is-${kind}`, seen));
    }
    if (!this.image.isConnected || this.figure.children.length > 2) this.figure.replaceChildren(this.image, this.svg);
    this.#fit();
  }

  // Whether there is a picture, once that is known.
  isSeen() {
    return this.image.decode().then(
      () => true,
      () => false,
    );
  }

  // Begins with a box, or with none until one is drawn.
  edit(box) {
    this.isEditing = true;
    this.figure.classList.add("editing");
    if (box) this.change(box);
    else this.onEdit(null);
  }

  leave() {
    this.box = null;
    this.isEditing = false;
    this.figure.classList.remove("editing");
    this.edited.replaceChildren();
  }

  // Sides in order, inside the image, at least a pixel apart.
  set([left, top, right, bottom]) {
    const [width, height] = this.size;
    const across = between(left, right, width);
    const down = between(top, bottom, height);
    this.box = [across[0], down[0], across[1], down[1]];
    this.#draw();
  }

  change(box) {
    this.set(box);
    this.onEdit(this.box);
  }

  // Without a box, the first step of either kind makes one in the middle.
  step(x, y, isResize) {
    const [width, height] = this.size;
    if (!this.box) this.change([width / 4, height / 4, (3 * width) / 4, (3 * height) / 4]);
    else if (isResize) this.#resize(x, y);
    else this.#move(x, y);
  }

  #move(x, y) {
    const [left, top, right, bottom] = this.box;
    const [width, height] = this.size;
    const across = clamp(x, -left, width - right);
    const down = clamp(y, -top, height - bottom);
    this.change([left + across, top + down, right + across, bottom + down]);
  }

  #resize(x, y) {
    const [left, top, right, bottom] = this.box;
    this.change([left, top, Math.max(left + 1, right + x), Math.max(top + 1, bottom + y)]);
  }

  // An image that cannot be shown, or whose boxes would be in wrong places: the server knows why.
  async #sayWhy() {
    this.isBroken = true;
    this.onBroken();
    const url = this.image.getAttribute("src");
    const reason = await ask("GET", url).catch((error) => error.message || "the server does not answer");
    if (url !== this.image.getAttribute("src")) return;
    this.drawn.replaceChildren();
    this.figure.append(make("p", { class: "alarm", role: "alert" }, `No picture: ${reason}`));
  }

  #fit() {
    const [width, height] = this.size;
    const room = this.figure.parentElement.clientWidth;
    const scale = Math.min(room / width, Math.max(SHORTEST, innerHeight - BESIDE) / height, LARGEST);
    this.figure.style.width = `${Math.max(Math.floor(width * scale), THINNEST)}px`;
    this.figure.style.height = `${Math.max(Math.floor(height * scale), THINNEST)}px`;
    if (this.box) this.#draw();
  }

  #draw() {
    const [left, top, right, bottom] = this.box;
    const wide = (HANDLE * this.size[0]) / Math.max(1, this.svg.clientWidth);
    const high = (HANDLE * this.size[1]) / Math.max(1, this.svg.clientHeight);
    const handles = Object.entries(HANDLES).map(([name, [x, y]]) => {
      const cx = x === null ? (left + right) / 2 : this.box[x];
      const cy = y === null ? (top + bottom) / 2 : this.box[y];
      const rect = rectangle("handle", [cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2]);
      rect.dataset.handle = name;
      rect.style.cursor = name === MIDDLE ? "move" : `${name}-resize`;
      return rect;
    });
    this.edited.replaceChildren(rectangle("halo", this.box), rectangle("line is-edit", this.box), ...handles);
  }

  #press(event) {
    if (!this.isEditing || event.button !== 0) return;
    event.preventDefault();
    const handle = event.target.dataset.handle ?? "draw";
    const start = this.#point(event);
    const before = this.box;
    const follow = (moved) => this.#drag(handle, before, start, this.#point(moved));
    const end = () => {
      this.svg.removeEventListener("pointermove", follow);
      for (const name of ["pointerup", "pointercancel"]) this.svg.removeEventListener(name, end);
    };
    this.svg.setPointerCapture(event.pointerId);
    this.svg.addEventListener("pointermove", follow);
    for (const name of ["pointerup", "pointercancel"]) this.svg.addEventListener(name, end);
  }

  #drag(handle, before, start, now) {
    const by = [now[0] - start[0], now[1] - start[1]];
    if (handle === "draw") return this.change([...start, ...now]);
    if (handle === MIDDLE) {
      this.box = before;
      return this.#move(...by);
    }
    const box = [...before];
    const [x, y] = HANDLES[handle];
    if (x !== null) box[x] += by[0];
    if (y !== null) box[y] += by[1];
    return this.change(box);
  }

  #point(event) {
    const frame = this.svg.getBoundingClientRect();
    return [
      round(clamp(((event.clientX - frame.left) / frame.width) * this.size[0], 0, this.size[0])),
      round(clamp(((event.clientY - frame.top) / frame.height) * this.size[1], 0, this.size[1])),
    ];
  }
}

function rectangle(kind, [left, top, right, bottom]) {
  return makeSvg("rect", { class: kind, x: left, y: top, width: right - left, height: bottom - top });
}

// What of a teacher's box is in the picture, since it may reach past it.
function inside([left, top, right, bottom], width, height) {
  const seen = [Math.max(left, 0), Math.max(top, 0), Math.min(right, width), Math.min(bottom, height)];
  return seen[0] < seen[2] && seen[1] < seen[3] ? seen : null;
}

function between(one, other, end) {
  let low = clamp(Math.min(one, other), 0, end);
  let high = clamp(Math.max(one, other), 0, end);
  if (high - low < 1) high = Math.min(end, low + 1);
  if (high - low < 1) low = high - 1;
  return [round(low), round(high)];
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const round = (value) => Math.round(value * 100) / 100;
