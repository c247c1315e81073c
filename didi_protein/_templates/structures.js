// Structures in 3D, drawn by 3Dmol.js. Each is drawn once it comes near the screen, or goes to paper;
// all share one WebGL context. Dragging turns one at once; wheel and touch are left to the page until
// a structure was chosen, by a click, a tap or Tab.
const ATOMS = ["N", "CA", "C", "O"];
const BAND_FLOORS = [90, 70, 50, -Infinity];
const BAND_NAMES = ["very high", "confident", "low", "very low"];
const STEP = 10; // degrees that a key turns
const ZOOM = 1.25;

function bandOf(plddt) {
  return BAND_FLOORS.findIndex((floor) => plddt > floor);
}

// Numbers of the figure as the text of a PDB file, from which 3Dmol finds helices and strands.
// Residues are counted from 1, as in the sequence; the element is the atom name's first letter.
function pdbOf({ xyz, plddt }) {
  const confidence = plddt ? plddt.split(" ").map(Number) : [];
  const lines = xyz.split(",").flatMap((residue, place) => {
    const numbers = residue.split(" ").map((value) => (value / 10).toFixed(3).padStart(8));
    const names = numbers.length === 3 ? ["CA"] : ATOMS;
    return names.map((name, k) => [
      "ATOM  ", "0".padStart(5), "  ", name.padEnd(3), " GLY A", String(place + 1).padStart(4),
      "    ", ...numbers.slice(3 * k, 3 * k + 3), "  1.00",
      (confidence[place] ?? 0).toFixed(2).padStart(6), name[0].padStart(12), "  ",
    ].join(""));
  });
  return [...lines, "END", ""].join("\n");
}

class StructureView {
  constructor(figure) {
    this.figure = figure;
    this.stage = figure.querySelector(".stage");
    this.readout = figure.querySelector(".readout");
    this.hint = this.readout.textContent;
    this.drawn = false;
    this.stage.querySelector(".no-picture").hidden = true;
  }

  // Idempotent: called when the figure comes near the screen and before printing.
  draw() {
    if (this.drawn) return;
    this.drawn = true;
    this.viewer = $3Dmol.createViewer(this.stage, {
      backgroundAlpha: 0, disableFog: true, hoverDuration: 30, upscale: false,
    });
    this.viewer.addModel(pdbOf(this.figure.dataset), "pdb");
    this.viewer.setHoverable({}, true, (atom) => this.tell(atom), () => this.tell(null));
    this.colour();
    this.viewer.zoomTo();
    this.viewer.setCameraParameters({ fov: 18 }); // of 20: less margin
    this.viewer.render();
    this.front = this.viewer.getView();
    this.listen();
  }

  colour() {
    const style = getComputedStyle(this.figure);
    const of = (name) => style.getPropertyValue(name).trim();
    const bands = [0, 1, 2, 3].map((number) => of(`--plddt-${number}`));
    const { xyz, plddt } = this.figure.dataset;
    const hasRibbon = xyz.split(",").some((residue) => residue.split(" ").length > 3);
    this.viewer.setStyle({}, { cartoon: {
      style: hasRibbon ? "oval" : "trace", arrows: true, thickness: hasRibbon ? 0.4 : 0.9,
      colorfunc: (atom) => (plddt ? bands[bandOf(atom.b)] : of("--natural")),
    } });
    this.viewer.removeAllLabels();
    const last = this.figure.dataset.letters.length;
    for (const [resi, letter] of [[1, "N"], [last, "C"]]) {
      this.viewer.addLabel(letter, {
        fontSize: 14, fontColor: of("--ink"), backgroundColor: of("--panel"),
        backgroundOpacity: 0.8, inFront: true, alignment: "center",
      }, { resi, atom: "CA" }, true); // shown by the next render
    }
  }

  // Which residue the pointer is over.
  tell(atom) {
    if (!atom) {
      this.readout.textContent = this.hint;
      return;
    }
    const name = `Residue ${atom.resi}, ${this.figure.dataset.letters[atom.resi - 1]}`;
    const confidence = `: pLDDT ${atom.b.toFixed(1)}, ${BAND_NAMES[bandOf(atom.b)]}`;
    this.readout.textContent = this.figure.dataset.plddt ? name + confidence : name;
  }

  listen() {
    const { stage } = this;
    const chosen = () => document.activeElement === stage;
    for (const kind of ["wheel", "touchstart", "touchmove"]) {
      stage.addEventListener(kind, (event) => {
        if (!chosen() && !event.ctrlKey) event.stopPropagation(); // the page scrolls
      }, { capture: true, passive: true });
    }
    for (const kind of ["mousedown", "click"]) {
      stage.addEventListener(kind, () => stage.focus({ preventScroll: true }));
    }
    stage.addEventListener("keydown", (event) => this.press(event));
    stage.addEventListener("dblclick", () => this.reset());
    const actions = { in: () => this.zoom(ZOOM), out: () => this.zoom(1 / ZOOM), reset: () => this.reset() };
    for (const button of this.figure.querySelectorAll("[data-do]")) {
      button.addEventListener("click", actions[button.dataset.do]);
    }
    this.figure.querySelector(".controls").hidden = false;
  }

  zoom(factor) {
    this.viewer.zoom(factor);
  }

  reset() {
    this.viewer.setView(this.front);
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const directions = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
    };
    if (event.key in directions) {
      const [right, down] = directions[event.key];
      if (event.shiftKey) this.viewer.translateScene(15 * right, 15 * down);
      else this.viewer.rotate(STEP * (right + down), right ? "y" : "x");
    } else if (event.key === "+" || event.key === "=") this.zoom(ZOOM);
    else if (event.key === "-") this.zoom(1 / ZOOM);
    else if (event.key === "0" || event.key === "Home") this.reset();
    else return;
    event.preventDefault();
  }
}

function hasWebGL() {
  try {
    return Boolean(new OffscreenCanvas(1, 1).getContext("webgl2"));
  } catch {
    return false;
  }
}

// Without WebGL the sentence in each figure stays.
if (hasWebGL()) {
  const views = new Map(
    Array.from(document.querySelectorAll("figure.structure"), (each) => [each, new StructureView(each)]),
  );
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) views.get(target).draw();
  }, { rootMargin: "300px" });
  for (const figure of views.keys()) near.observe(figure);
  window.addEventListener("beforeprint", () => { for (const view of views.values()) view.draw(); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const view of views.values()) {
      if (!view.drawn) continue;
      view.colour();
      view.viewer.render();
    }
  });
}
