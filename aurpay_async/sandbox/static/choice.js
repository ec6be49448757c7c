// The checkout page on which the payer chooses a coin; this creates the order.

import { element, money, say, show } from "./dom.js";

const HEADERS = { "Content-Type": "application/json" };

/** Show the choice of coins; return a function that leaves it. */
export function showChoice(token) {
  const path = `/_pages/checkouts/${token}`;
  const place = show("choice");
  let isShown = true;

  async function load() {
    const response = await fetch(path);
    if (!isShown) return;
    if (!response.ok) {
      say(place.result, "There is no such checkout.");
      return;
    }
    const { price, currency, coins, order_id } = await response.json();
    if (order_id) {
      open(order_id);
      return;
    }
    document.title = `Pay ${money(price, currency)}`;
    say(place.price, money(price, currency));
    say(place.result, "");
    place.coins.replaceChildren(...coins.map(coinButton));
  }

  function coinButton({ name, chain }) {
    const button = element("button", "button", name, " ", element("span", "quiet", chain));
    button.type = "button";
    button.onclick = () => choose(name).catch(showConnectionError);
    return element("li", "", button);
  }

  async function choose(coin) {
    say(place.result, "Working …");
    const response = await fetch(`${path}/${coin}`, { method: "POST", headers: HEADERS, body: "{}" });
    if (!isShown) return;
    if (response.ok) open((await response.json()).order_id);
    else say(place.result, await response.text());
  }

  function open(orderId) {
    // Replaces this page, so that Back leads to the shop.
    location.replace(`#/cashier/${orderId}`);
  }

  function showConnectionError() {
    if (isShown) say(place.result, "The sandbox does not answer.");
  }

  load().catch(showConnectionError);
  return () => {
    isShown = false;
  };
}
