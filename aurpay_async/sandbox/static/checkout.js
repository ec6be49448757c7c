// The checkout of one order: what a payer sees, and what a developer can make happen.

import { listen, money, say, show, webAddress } from "./dom.js";
import { CONNECTING, PENDING, UNKNOWN, canMove, stateOf } from "./states.js";

const LEAVES_AFTER_MS = 5000;
const COPIED_FOR_MS = 2000;
const TICK_MS = 200;

/** Show it; returns what ends it. */
export function showCheckout(orderId) {
  const path = `/_pages/orders/${orderId}`;
  const place = show("checkout");
  const buttons = [...document.querySelectorAll("[data-move]")];
  let order = { status: "" };
  let state = CONNECTING;
  let endsAt = Infinity; // both in the browser's time
  let leavesAt = Infinity;

  function hear({ now, order: news = order }) {
    if (state === CONNECTING) fill(news);
    order = news;
    endsAt = Date.now() + (order.deadline - now) * 1000;
    tick();
  }

  function hearConnection(connection) {
    if (connection === "refused") {
      order = { status: "" };
      become(UNKNOWN);
    }
    say(place.status, connection === "lost" ? "Connection lost, trying again" : state.said);
  }

  function fill({ price, currency, coin, amount, sat, invoice, address, qr }) {
    document.title = `Pay ${money(price, currency)}`;
    say(place.price, money(price, currency));
    say(place.amount, invoice ? `${amount} BTC · ${sat.toLocaleString("en")} sat` : `${amount} ${coin}`);
    say(place.order, orderId);
    say(place.label, invoice ? "Lightning invoice" : `${coin} address`);
    place.invoice.value = invoice || address;
    place.wallet.href = `lightning:${invoice}`;
    place.wallet.hidden = place.code.hidden = !invoice;
    place.bare.hidden = qr;
    place.qr.hidden = !qr;
    if (qr) place.qr.src = `${path}/qr.svg`;
  }

  function tick() {
    const now = Date.now();
    const secondsTo = (time) => Math.ceil(Math.max(0, time - now) / 1000);
    if (order.status) become(stateOf(order, now >= endsAt));
    if (state === PENDING) {
      const left = secondsTo(endsAt);
      say(place.left, `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`);
      place.progress.value = left / order.life;
    }
    if (leavesAt < Infinity) say(place.seconds, `In ${secondsTo(leavesAt)} s`);
    if (now >= leavesAt) {
      stay(); // once is enough
      location.assign(place.link.href);
    }
  }

  function become(next) {
    if (next === state) return;
    const isLive = state !== CONNECTING; // who comes back to look is not sent away
    const isOpen = next === PENDING;
    const hadFocus = place.ask.contains(document.activeElement);
    state = next;
    place.status.dataset.tone = place.outcome.dataset.tone = state.tone;
    place.ask.hidden = !isOpen;
    place.state.classList.toggle("over", !isOpen);
    place.outcome.hidden = isOpen;
    place.verb.hidden = !isOpen;
    say(place.status, state.said);
    say(place.said, isOpen ? "" : state.said);
    say(place.advice, state.advice);
    if (!isOpen) document.title = state.said;
    if (hadFocus && !isOpen) place.said.focus();
    offer(webAddress(order[state.next]), isLive);
    for (const button of buttons) {
      button.ariaDisabled = !canMove(button.dataset.move, order.status);
    }
  }

  function offer(url, isLive) {
    leavesAt = url && isLive ? Date.now() + LEAVES_AFTER_MS : Infinity;
    place.return.hidden = !url;
    place.leaving.hidden = leavesAt === Infinity;
    if (!url) return;
    place.link.href = url.href;
    say(place.link, `Back to ${url.host}`);
  }

  function stay() {
    leavesAt = Infinity;
    place.leaving.hidden = true;
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(place.invoice.value);
      say(place.copy, "Copied");
    } catch {
      place.invoice.select();
      say(place.copy, "Selected");
    }
    setTimeout(() => say(place.copy, "Copy"), COPIED_FOR_MS);
  }

  async function press(button) {
    if (button.ariaDisabled === "true") return;
    say(place.told, "Working …");
    const headers = { "Content-Type": "application/json" };
    try {
      const url = `${path}/${button.dataset.move}`;
      const answer = await fetch(url, { method: "POST", headers, body: "{}" });
      say(place.told, answer.ok ? "Done." : await answer.text());
    } catch {
      say(place.told, "The sandbox does not answer.");
    }
  }

  for (const button of buttons) button.onclick = () => press(button);
  place.copy.onclick = copy;
  place.stay.onclick = () => {
    stay();
    place.link.focus();
  };
  place.invoice.onfocus = () => place.invoice.select();
  const ticking = setInterval(tick, TICK_MS);
  const stop = listen(`${path}/events`, hear, hearConnection);
  return () => {
    clearInterval(ticking);
    stop();
  };
}
