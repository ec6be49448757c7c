// The page works without this script; with it, it updates at once, counts down and copies.
"use strict";

const { state, events, left } = document.querySelector("main").dataset;

// The server sends the state of the cart and renders the page.
const source = new EventSource(events);
source.addEventListener("state", (event) => {
  if (event.data !== state) {
    source.close();
    location.reload();
  }
});

// Count from the server's time, because the browser's clock may be wrong.
const until = Date.now() + 1000 * Number(left);
const timer = document.querySelector("[role=timer]");
const tick = () => {
  const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
  const rest = String(seconds % 60).padStart(2, "0");
  timer.textContent = `${Math.floor(seconds / 60)}:${rest} left`;
  if (seconds === 0) location.reload();
};
tick();
setInterval(tick, 1000);

const copy = document.querySelector("#copy");
const invoice = document.querySelector("#invoice");
copy.hidden = false;
copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(invoice.value);
    copy.textContent = "Copied";
  } catch {
    invoice.select();
    copy.textContent = "Selected";
  }
});
