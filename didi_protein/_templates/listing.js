"use strict";

// The list of all designs: ticks, what is done with those ticked, finding, and how many rows are
// shown. Without scripts the list stands whole, without ticks.
(() => {
  const table = document.getElementById("listing");
  if (!table) return;
  const tools = document.querySelector("#all-designs .tools");
  const status = document.getElementById("listing-status");
  const more = document.getElementById("listing-more");
  const find = document.getElementById("listing-find");
  const rows = () => Array.from(table.tBodies[0].rows);
  const boxes = new Map(); // of the rows that were shown
  const idOf = (row) => row.cells[0].dataset.title ?? row.dataset.id;
  const ticked = () => rows().filter((row) => boxes.get(row)?.checked);
  const nameRow = (row) => { row.dataset.id = row.cells[0].firstChild.textContent.trim(); };
  let rest = document.getElementById("listing-rest"); // rows beyond the first, as text
  let limit = Number(table.dataset.first);

  for (const row of rows()) nameRow(row);

  // Make rows of the text, once they are looked for, sorted, shown or printed.
  function fill() {
    if (!rest) return;
    const holder = document.createElement("template");
    holder.innerHTML = rest.textContent;
    const added = Array.from(holder.content.querySelectorAll("tr"));
    rest = null;
    for (const row of added) {
      nameRow(row);
      row.hidden = true;
    }
    table.tBodies[0].append(...added);
  }

  function addBox(row) {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.setAttribute("aria-label", `Tick ${row.dataset.id}`);
    boxes.set(row, box);
    row.cells[0].prepend(box);
  }

  // The first rows that fit what is looked for, in the order of the table.
  function show() {
    const wanted = find.value.trim().toLowerCase();
    let found = 0;
    if (wanted || limit === Infinity) fill();
    for (const row of rows()) {
      const fits = row.dataset.id.toLowerCase().includes(wanted);
      found += fits ? 1 : 0;
      row.hidden = !fits || found > limit;
      if (!row.hidden && !boxes.has(row)) addBox(row);
    }
    if (!more) return;
    if (rest) found = Number(table.dataset.total);
    more.hidden = found <= limit;
    more.querySelector("span").textContent = `The first ${limit} of ${found} are shown.`;
  }

  function tell() {
    const count = ticked().length;
    status.textContent = `${count} ticked`;
    for (const name of ["copy", "fasta"]) {
      tools.querySelector(`[data-ticked=${name}]`).disabled = count === 0;
    }
    table.classList.toggle("some-ticked", count > 0); // on paper these alone
    for (const [row, box] of boxes) row.classList.toggle("ticked", box.checked);
  }

  function download(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  function fasta(row) {
    const letters = row.cells[row.cells.length - 1].textContent;
    const lines = letters.match(/.{1,60}/g) ?? [];
    return `>${idOf(row)} length=${letters.length}\n${lines.join("\n")}\n`;
  }

  async function copyIds(button) {
    const ids = ticked().map(idOf).join("\n");
    try {
      await navigator.clipboard.writeText(ids);
      button.textContent = "Copied";
    } catch {
      download("ticked-ids.txt", `${ids}\n`); // no clipboard here
      button.textContent = "Downloaded";
    }
    setTimeout(() => { button.textContent = "Copy ticked ids"; }, 2000);
  }

  const actions = {
    shown: () => { for (const [row, box] of boxes) box.checked ||= !row.hidden; },
    none: () => { for (const box of boxes.values()) box.checked = false; },
    copy: copyIds,
    fasta: () => download("ticked-designs.fasta", ticked().map(fasta).join("")),
  };
  for (const button of tools.querySelectorAll("[data-ticked]")) {
    button.hidden = false;
    button.addEventListener("click", () => { actions[button.dataset.ticked](button); tell(); });
  }
  more?.querySelector("button").addEventListener("click", () => { limit = Infinity; show(); });
  table.addEventListener("change", tell);
  table.addEventListener("sorting", fill);
  window.addEventListener("beforeprint", fill);
  table.addEventListener("sorted", show);
  table.addEventListener("click", (event) => {
    event.target.closest("td.letters")?.classList.toggle("whole");
  });
  find.addEventListener("input", show);
  tools.hidden = false;
  show();
})();
