"use strict";

// Fetch a page's live parts again and replace them; the first says how often. The log stays where the
// reader scrolled it to, or at its end. A part that has the focus is left alone, but for the heads of
// its columns (tables.js).
const parts = document.querySelectorAll(".live");
const scrollToEnd = (log) => { log.scrollTop = log.scrollHeight; };
const isAtEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 30;
document.querySelectorAll(".log").forEach(scrollToEnd);

function replace(part, fresh) {
  const focus = document.activeElement;
  if (!fresh || fresh.innerHTML === part.innerHTML || (part.contains(focus) && !focus.closest("th"))) return;
  const old = part.querySelector(".log");
  const place = old && !isAtEnd(old) ? old.scrollTop : null;
  part.innerHTML = fresh.innerHTML;
  if ("refresh" in fresh.dataset) part.dataset.refresh = fresh.dataset.refresh;
  const log = part.querySelector(".log");
  if (log) place === null ? scrollToEnd(log) : (log.scrollTop = place);
}

async function refresh() {
  const pause = Number(parts[0].dataset.refresh);
  if (!pause) return;
  await new Promise((resolve) => setTimeout(resolve, pause));
  try {
    const response = await fetch(location.href);
    const found = new DOMParser().parseFromString(await response.text(), "text/html").querySelectorAll(".live");
    parts.forEach((part, index) => replace(part, found[index]));
    document.dispatchEvent(new Event("refreshed"));
  } catch { /* the local AWS is down for a moment; try again */ }
  refresh();
}
if (parts.length) refresh();
