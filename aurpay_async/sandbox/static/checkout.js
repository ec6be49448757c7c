// The checkout of one order, for the payer, and the controls for the developer.

import { act, listen, money, say, show, webUrl } from "./dom.js";
import { CONNECTING, PENDING, UNKNOWN, canDo, stateOf } from "./states.js";

const REDIRECT_DELAY_MS = 5000;
const COPIED_LABEL_MS = 2000;
const TICK_MS = 200;

/** Show the checkout of an order; return a function that leaves it. */
export function showCheckout(orderId) {
  const path = `/_pages/orders/${orderId}`;
  const place = show("checkout");
  const buttons = [...document.querySelectorAll("[data-action]")];
  let order = { status: "" };
  let state = CONNECTING;
  let endsAt = Infinity; // in the browser's time, as is redirectAt
  let redirectAt = Infinity;

  function update({ now, order: changed = order }) {
    if (state === CONNECTING) fill(changed);
    order = changed;
    endsAt = Date.now() + (order.deadline - now) * 1000;
    tick();
  }

  function updateConnection(connection) {
    if (connection === "rejected") {
      order = { status: "" };
      setState(UNKNOWN);
    }
    say(place.status, connection === "lost" ? "Connection lost, trying again" : state.title);
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
    if (order.status) setState(stateOf(order, now >= endsAt));
    if (state === PENDING) {
      const left = secondsTo(endsAt);
      say(place.left, `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`);
      place.progress.value = left / order.life;
    }
    if (redirectAt < Infinity) say(place.seconds, `In ${secondsTo(redirectAt)} s`);
    if (now >= redirectAt) {
      cancelRedirect(); // redirect only once
      location.assign(place.link.href);
    }
  }

  function setState(next) {
    if (next === state) return;
    const isLive = state !== CONNECTING; // a page that is opened again does not redirect
    const isOpen = next === PENDING;
    const hadFocus = place.ask.contains(document.activeElement);
    state = next;
    place.status.dataset.tone = place.outcome.dataset.tone = state.tone;
    place.ask.hidden = !isOpen;
    place.state.classList.toggle("over", !isOpen);
    place.outcome.hidden = isOpen;
    place.verb.hidden = !isOpen;
    say(place.status, state.title);
    say(place.title, isOpen ? "" : state.title);
    say(place.advice, state.advice);
    if (!isOpen) document.title = state.title;
    if (hadFocus && !isOpen) place.title.focus();
    showLink(webUrl(order[state.next]), isLive);
    for (const button of buttons) {
      button.ariaDisabled = !canDo(button.dataset.action, order.status);
    }
  }

  function showLink(url, isLive) {
    redirectAt = url && isLive ? Date.now() + REDIRECT_DELAY_MS : Infinity;
    place.return.hidden = !url;
    place.leaving.hidden = redirectAt === Infinity;
    if (!url) return;
    place.link.href = url.href;
    say(place.link, `Back to ${url.host}`);
  }

  function cancelRedirect() {
    redirectAt = Infinity;
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
    setTimeout(() => say(place.copy, "Copy"), COPIED_LABEL_MS);
  }

  async function press(button) {
    if (button.ariaDisabled === "true") return;
    say(place.result, "Working …");
    say(place.result, await act(`${path}/${button.dataset.action}`));
  }

  for (const button of buttons) button.onclick = () => press(button);
  place.copy.onclick = copy;
  place.stay.onclick = () => {
    cancelRedirect();
    place.link.focus();
  };
  place.invoice.onfocus = () => place.invoice.select();
  const ticker = setInterval(tick, TICK_MS);
  const stop = listen(`${path}/events`, update, updateConnection);
  return () => {
    clearInterval(ticker);
    stop();
  };
}
