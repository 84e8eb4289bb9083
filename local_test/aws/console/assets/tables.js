"use strict";

// Tables that sort by a click on a column's head, and show only the rows that have all words of the
// filter. Both last while the live part of a page is replaced.
const filter = document.getElementById("filter");
let order = { column: -1, sign: 1 };
let focused = -1;  // the column whose head has the focus

function readCell(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value || cell.textContent.trim();
}

// Numbers by value, other texts as people read them; what is empty comes last either way.
function compare(one, other, sign) {
  if (!one || !other) return Boolean(other) - Boolean(one);
  const difference = Number(one) - Number(other);
  return sign * (Number.isNaN(difference) ? one.localeCompare(other, undefined, { numeric: true }) : difference);
}

function sortRows(table) {
  const body = table.tBodies[0];
  const { column, sign } = order;
  const rows = [...body.rows].sort((one, other) => compare(readCell(one, column), readCell(other, column), sign));
  body.replaceChildren(...rows);
}

function filterRows(table) {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...table.tBodies[0].rows];
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  document.getElementById("filtered").textContent = words.length ? `${shown} of ${rows.length} rows` : "";
}

function apply() {
  for (const table of document.querySelectorAll("table[data-sorts]")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (!head.querySelector("button")) {
        const button = Object.assign(document.createElement("button"), { type: "button", textContent: head.textContent });
        head.replaceChildren(button);
        button.addEventListener("focus", () => { focused = column; });
        button.addEventListener("click", () => {
          order = { column, sign: order.column === column ? -order.sign : 1 };
          apply();
        });
      }
      if (column === focused && document.activeElement === document.body) head.firstChild.focus({ preventScroll: true });
      head.ariaSort = column === order.column ? (order.sign > 0 ? "ascending" : "descending") : "none";
    });
    if (order.column >= 0) sortRows(table);
    if (filter) filterRows(table);
  }
}

if (filter) filter.addEventListener("input", apply);
for (const type of ["focusin", "pointerdown"]) {
  document.addEventListener(type, (event) => { if (!event.target.closest("th")) focused = -1; });
}
document.addEventListener("refreshed", apply);
apply();
