"use strict";
const everyMs = 5000;
const pieces = page => page.querySelectorAll("[data-live]");
const known = new Map([...pieces(document)].map(piece => [piece.id, piece.innerHTML]));
const isBusy = piece => [...piece.querySelectorAll("input:not([type=hidden])")].some(field => field.value) ||
  (piece.contains(document.activeElement) && document.activeElement !== document.body);
function takeOver(page) {
  for (const piece of pieces(page)) {
    const shown = document.getElementById(piece.id);
    if (shown && known.get(piece.id) !== piece.innerHTML && !isBusy(shown)) {
      known.set(piece.id, piece.innerHTML);
      shown.innerHTML = piece.innerHTML;
    }
  }
  document.title = page.title;
}
async function refresh() {
  let fresh = false;
  try {
    const answer = await fetch(location.pathname + location.search, { cache: "no-store", signal: AbortSignal.timeout(20000) });
    fresh = answer.ok;
    if (fresh) takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch { /* said on the page */ }
  document.getElementById("stale").hidden = fresh;
  setTimeout(refresh, everyMs);
}
if (known.size) setTimeout(refresh, everyMs);
