"use strict";

// Fetch a page's live part again and replace it. The log stays where the reader scrolled it to, or at
// its end.
const live = document.getElementById("live");
const scrollToEnd = (log) => { log.scrollTop = log.scrollHeight; };
const isAtEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 30;
document.querySelectorAll(".log").forEach(scrollToEnd);

async function refresh() {
  const pause = Number(live.dataset.refresh);
  if (!pause) return;
  await new Promise((resolve) => setTimeout(resolve, pause));
  try {
    const response = await fetch(location.href);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live");
    if (fresh && fresh.innerHTML !== live.innerHTML && !live.contains(document.activeElement)) {
      const old = live.querySelector(".log");
      const place = old && !isAtEnd(old) ? old.scrollTop : null;
      live.innerHTML = fresh.innerHTML;
      live.dataset.refresh = fresh.dataset.refresh;
      const log = live.querySelector(".log");
      if (log) place === null ? scrollToEnd(log) : (log.scrollTop = place);
    }
  } catch { /* the local AWS is down for a moment; try again */ }
  refresh();
}
if (live) refresh();
