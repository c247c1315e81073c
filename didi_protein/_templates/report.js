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
  const body = table.tBodies[0];
  const key = (row) => row.cells[heading.cellIndex].dataset.value;
  const rows = Array.from(body.rows);
  rows.sort((a, b) => compare(key(a), key(b), descending ? -1 : 1));
  body.append(...rows);
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
