// The checkout before there is an order: the payer chooses what to pay in.

import { element, money, say, show } from "./dom.js";

const HEADERS = { "Content-Type": "application/json" };

/** Show it; returns what ends it. */
export function showChoice(token) {
  const path = `/_pages/checkouts/${token}`;
  const place = show("choice");
  let isShown = true;

  async function load() {
    const answer = await fetch(path);
    if (!isShown) return;
    if (!answer.ok) {
      say(place.told, "There is no such checkout.");
      return;
    }
    const { price, currency, coins, order_id } = await answer.json();
    if (order_id) {
      open(order_id);
      return;
    }
    document.title = `Pay ${money(price, currency)}`;
    say(place.price, money(price, currency));
    say(place.told, "");
    place.coins.replaceChildren(...coins.map(draw));
  }

  function draw({ name, chain }) {
    const button = element("button", "button", name, " ", element("span", "quiet", chain));
    button.type = "button";
    button.onclick = () => choose(name).catch(lost);
    return element("li", "", button);
  }

  async function choose(coin) {
    say(place.told, "Working …");
    const answer = await fetch(`${path}/${coin}`, { method: "POST", headers: HEADERS, body: "{}" });
    if (!isShown) return;
    if (answer.ok) open((await answer.json()).order_id);
    else say(place.told, await answer.text());
  }

  function open(orderId) {
    // In the place of this page: who goes back is at the shop.
    location.replace(`#/cashier/${orderId}`);
  }

  function lost() {
    if (isShown) say(place.told, "The sandbox does not answer.");
  }

  load().catch(lost);
  return () => {
    isShown = false;
  };
}
