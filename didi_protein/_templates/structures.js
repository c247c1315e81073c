// Structures: the C-alpha trace as a tube, on a plain canvas: no WebGL, no library, no network.
// Drag, or use the arrow keys, to turn; wheel, pinch, + and - to zoom; Shift and two fingers move.
// The page holds a still picture of each (drawn by report_stills.py), which this replaces.

const TUBE = 1.9; // ångström across
const OUTLINE = 1.0; // and around it
const BROKEN = 4.6; // ångström between alpha carbons that are not linked
const MARGIN = 0.88; // share of the canvas that the structure fills
const FOG = 0.65; // share of the panel's colour a whole width behind what is nearest
const BAND_FLOORS = [90, 70, 50, -Infinity];
const BAND_NAMES = ["very high", "confident", "low", "very low"];
const STEP = Math.PI / 18; // a key press turns by ten degrees

function numbersOf(text) {
  return text ? text.split(" ").map(Number) : [];
}

function add(a, b, factor) {
  return [a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]];
}

function between(a, b) {
  return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2];
}

function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

// Half-residue pieces of the Catmull-Rom spline through the atoms, each four control points.
function piecesOf(atoms) {
  const linked = (i) => i >= 0 && i + 1 < atoms.length && distance(atoms[i], atoms[i + 1]) <= BROKEN;
  const pieces = [];
  for (let i = 0; i + 1 < atoms.length; i += 1) {
    if (!linked(i)) continue;
    const [start, end] = [atoms[i], atoms[i + 1]];
    const before = linked(i - 1) ? atoms[i - 1] : start;
    const after = linked(i + 1) ? atoms[i + 2] : end;
    const control = [
      start,
      add(start, add(end, before, -1), 1 / 6),
      add(end, add(after, start, -1), -1 / 6),
      end,
    ];
    const one = [0, 1, 2].map((k) => between(control[k], control[k + 1]));
    const two = [0, 1].map((k) => between(one[k], one[k + 1]));
    const middle = between(two[0], two[1]);
    pieces.push({ residue: i, points: [start, one[0], two[0], middle] });
    pieces.push({ residue: i + 1, points: [middle, two[1], one[2], end] });
  }
  return pieces;
}

// Rows of the matrix product of two 3 x 3 matrices.
function product(a, b) {
  return a.map((row) => [0, 1, 2].map((k) => row[0] * b[0][k] + row[1] * b[1][k] + row[2] * b[2][k]));
}

function turned(matrix, p) {
  return matrix.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);
}

function aboutUp(angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return [[c, 0, s], [0, 1, 0], [-s, 0, c]];
}

function aboutRight(angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return [[1, 0, 0], [0, c, -s], [0, s, c]];
}

function rgbOf(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

function mixed(colour, other, share) {
  const parts = colour.map((part, k) => Math.round(part + share * (other[k] - part)));
  return `rgb(${parts.join(",")})`;
}

function bandOf(plddt) {
  return BAND_FLOORS.findIndex((floor) => plddt > floor);
}

class StructureView {
  constructor(figure) {
    const flat = numbersOf(figure.dataset.xyz).map((value) => value / 10);
    this.figure = figure;
    this.atoms = Array.from({ length: flat.length / 3 }, (_, i) => flat.slice(3 * i, 3 * i + 3));
    this.plddt = numbersOf(figure.dataset.plddt);
    this.letters = figure.dataset.letters;
    this.pieces = piecesOf(this.atoms);
    this.radius = Math.max(...this.atoms.map((atom) => Math.hypot(...atom))) + TUBE;
    this.flat = Math.max(...this.atoms.map((p) => Math.max(Math.abs(p[0]), Math.abs(p[1])))) + TUBE;
    this.canvas = document.createElement("canvas");
    this.readout = figure.querySelector(".readout");
    this.hint = this.readout.textContent;
    this.pointers = new Map();
    this.front();
    this.place();
    this.listen();
  }

  front() {
    this.rotation = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
    this.zoom = 1;
    this.shift = [0, 0];
  }

  place() {
    const still = this.figure.querySelector(".still");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "structure that can be turned");
    this.canvas.setAttribute("aria-label", still.querySelector("title").textContent);
    this.canvas.setAttribute("aria-describedby", "structure-keys");
    still.after(this.canvas);
    this.figure.classList.add("live");
  }

  turn(right, up) {
    this.rotation = product(product(aboutUp(right), aboutRight(up)), this.rotation);
    this.redraw();
  }

  magnify(factor) {
    this.zoom = Math.min(8, Math.max(0.5, this.zoom * factor));
    this.redraw();
  }

  move(right, down) {
    this.shift = [this.shift[0] + right, this.shift[1] + down];
    this.redraw();
  }

  reset() {
    this.front();
    this.redraw();
  }

  redraw() {
    if (this.pending || !this.visible) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.draw(); });
  }

  // Pixels of the canvas an ångström takes, and where a turned point lies.
  measure() {
    const side = Math.min(this.canvas.clientWidth, this.canvas.clientHeight);
    this.scale = (MARGIN * side * this.zoom) / (2 * this.flat);
    this.centre = [
      this.canvas.clientWidth / 2 + this.shift[0],
      this.canvas.clientHeight / 2 + this.shift[1],
    ];
  }

  onCanvas(p) {
    const nearness = 1 + (0.12 * p[2]) / this.radius; // a little perspective
    const scale = this.scale * nearness;
    return [this.centre[0] + scale * p[0], this.centre[1] - scale * p[1], nearness];
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.measure();
    this.readColours();
    const pieces = this.pieces.map((piece) => {
      const points = piece.points.map((p) => turned(this.rotation, p));
      return { residue: piece.residue, points, depth: (points[0][2] + points[3][2]) / 2 };
    });
    pieces.sort((a, b) => a.depth - b.depth);
    this.nearest = pieces.at(-1).depth;
    for (const piece of pieces) this.drawPiece(pen, piece);
    this.drawEnds(pen);
  }

  readColours() {
    const style = getComputedStyle(this.figure);
    const colour = (name) => rgbOf(style.getPropertyValue(name).trim());
    this.panel = colour("--panel");
    this.ink = colour("--ink");
    this.bands = [0, 1, 2, 3].map((number) => colour(`--plddt-${number}`));
    this.plain = colour("--natural");
  }

  drawPiece(pen, { residue, points, depth }) {
    const [a, b, c, d] = points.map((p) => this.onCanvas(p));
    const width = Math.max(2, TUBE * this.scale * a[2]);
    const fog = (FOG * (this.nearest - depth)) / (2 * this.radius);
    const band = this.plddt.length ? this.bands[bandOf(this.plddt[residue])] : this.plain;
    pen.beginPath();
    pen.moveTo(a[0], a[1]);
    pen.bezierCurveTo(b[0], b[1], c[0], c[1], d[0], d[1]);
    // An outline around each piece: what lies in front cuts what lies behind.
    pen.lineCap = "butt";
    pen.lineWidth = width + Math.max(1.5, OUTLINE * this.scale);
    pen.strokeStyle = mixed(this.panel, [0, 0, 0], 0.28 * (1 - fog));
    pen.stroke();
    pen.lineCap = "round";
    pen.lineWidth = width;
    pen.strokeStyle = mixed(band, this.panel, fog);
    pen.stroke();
  }

  drawEnds(pen) {
    pen.font = "600 13px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    for (const [atom, letter] of [[this.atoms[0], "N"], [this.atoms.at(-1), "C"]]) {
      const [x, y] = this.onCanvas(turned(this.rotation, atom));
      pen.strokeStyle = mixed(this.panel, this.panel, 0);
      pen.strokeText(letter, x, y);
      pen.fillStyle = mixed(this.ink, this.ink, 0);
      pen.fillText(letter, x, y);
    }
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.grasp(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
      canvas.addEventListener(end, (event) => this.release(event));
    }
    canvas.addEventListener("wheel", (event) => this.roll(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("dblclick", () => this.reset());
    for (const button of this.figure.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => this.act(button.dataset.do));
    }
    this.figure.querySelector(".controls").hidden = false;
    new ResizeObserver(() => this.redraw()).observe(canvas);
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      this.redraw();
    }, { rootMargin: "200px" }).observe(canvas);
  }

  act(action) {
    if (action === "in") this.magnify(1.25);
    else if (action === "out") this.magnify(1 / 1.25);
    else this.reset();
  }

  grasp(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.canvas.classList.add("grasped");
  }

  release(event) {
    if (event.type === "pointerleave" && this.pointers.has(event.pointerId)) return; // captured
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.canvas.classList.remove("grasped");
    this.readout.textContent = this.hint;
  }

  drag(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) {
      this.tell(event);
      return;
    }
    const now = [event.clientX, event.clientY];
    const [right, down] = [now[0] - last[0], now[1] - last[1]];
    if (this.pointers.size === 2) this.pinch(event.pointerId, last, now);
    else if (event.shiftKey) this.move(right, down);
    else this.turn(0.01 * right, 0.01 * down);
    this.pointers.set(event.pointerId, now);
  }

  // Two fingers: apart and together zooms, both the same way moves.
  pinch(id, last, now) {
    const [, other] = Array.from(this.pointers).find(([each]) => each !== id);
    const apart = (p) => Math.max(10, Math.hypot(p[0] - other[0], p[1] - other[1]));
    this.magnify(apart(now) / apart(last));
    this.move((now[0] - last[0]) / 2, (now[1] - last[1]) / 2);
  }

  // The wheel scrolls the page until the structure was chosen, by a click or by Tab.
  roll(event) {
    if (document.activeElement !== this.canvas && !event.ctrlKey) return;
    event.preventDefault();
    this.magnify(Math.exp(-0.0015 * event.deltaY));
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const directions = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
    };
    if (event.key in directions) {
      const [right, down] = directions[event.key];
      if (event.shiftKey) this.move(15 * right, 15 * down);
      else this.turn(STEP * right, STEP * down);
    } else if (event.key === "+" || event.key === "=") this.magnify(1.25);
    else if (event.key === "-") this.magnify(1 / 1.25);
    else if (event.key === "0" || event.key === "Home") this.reset();
    else return;
    event.preventDefault();
  }

  // Which residue the pointer is over.
  tell(event) {
    if (!this.scale) return;
    const box = this.canvas.getBoundingClientRect();
    const pointer = [event.clientX - box.left, event.clientY - box.top];
    let [nearest, depth] = [-1, -Infinity];
    this.atoms.forEach((atom, place) => {
      const p = turned(this.rotation, atom);
      const [x, y] = this.onCanvas(p);
      const near = Math.hypot(x - pointer[0], y - pointer[1]) <= Math.max(8, TUBE * this.scale);
      if (near && p[2] > depth) [nearest, depth] = [place, p[2]];
    });
    this.readout.textContent = nearest < 0 ? this.hint : this.residue(nearest);
  }

  residue(place) {
    const name = `Residue ${place + 1}, ${this.letters[place]}`;
    if (!this.plddt.length) return name;
    const plddt = this.plddt[place];
    return `${name}: pLDDT ${plddt.toFixed(1)}, ${BAND_NAMES[bandOf(plddt)]}`;
  }
}

const views = Array.from(document.querySelectorAll("figure.structure"), (figure) => new StructureView(figure));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const view of views) view.redraw();
});
