"use strict";

// Sorting: the heading of a column is a button, so the keyboard works as the mouse does.
// Numbers sort as numbers; empty fields stay last; the reference rows stay where they are.
function compare(a, b, direction) {
  if (a === b) return 0;
  if (a === "") return 1;
  if (b === "") return -1;
  const bothNumbers = !Number.isNaN(Number(a)) && !Number.isNaN(Number(b));
  const order = bothNumbers ? Number(a) - Number(b) : a.localeCompare(b);
  return direction * order;
}

function sortBy(table, heading) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  table.dispatchEvent(new Event("sorting"));
  const body = table.tBodies[0];
  const key = (row) => {
    const cell = row.cells[heading.cellIndex];
    return cell.dataset.value ?? (row.dataset.id && cell.tagName === "TH" ? row.dataset.id : cell.textContent);
  };
  const keyed = Array.from(body.rows, (row) => [key(row), row]);
  keyed.sort((a, b) => compare(a[0], b[0], descending ? -1 : 1));
  body.append(...keyed.map(([, row]) => row));
  table.dispatchEvent(new Event("sorted"));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    heading.querySelector("button").addEventListener("click", () => sortBy(table, heading));
  }
}

// Finding needs scripts too: rows whose id does not hold the text are hidden.
for (const input of document.querySelectorAll("input[data-find]")) {
  const rows = Array.from(document.getElementById(input.dataset.find).tBodies[0].rows);
  const status = input.closest(".find").querySelector("[role=status]");
  input.closest(".find").hidden = false;
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.cells[0].dataset.value.toLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    status.textContent = wanted ? `${shown} of ${rows.length}` : "";
  });
}

// A box that holds more to its right says so, until the reader is there.
function tellMore(box) {
  const left = box.scrollWidth - box.clientWidth - box.scrollLeft;
  box.classList.toggle("more", left > 1);
  box.classList.toggle("less", box.scrollLeft > 1);
}

for (const box of document.querySelectorAll(".scroll")) {
  const hint = document.createElement("p");
  hint.className = "hint sideways";
  hint.textContent = "This table is wider than the page: scroll it sideways for more columns.";
  hint.hidden = true;
  box.before(hint);
  const look = () => {
    hint.hidden = box.scrollWidth <= box.clientWidth + 1;
    tellMore(box);
  };
  box.addEventListener("scroll", () => tellMore(box), { passive: true });
  new ResizeObserver(look).observe(box); // looks at once too, after the page is laid out
}

// Copying needs scripts, so the buttons are hidden until this runs.
async function copySequence(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.sequence);
    button.textContent = "Copied";
  } catch {
    // No clipboard here: select the sequence for the reader to copy.
    const sequence = button.closest("article").querySelector(".sequence");
    window.getSelection().selectAllChildren(sequence);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy sequence"; }, 2000);
}

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copySequence(button));
}
