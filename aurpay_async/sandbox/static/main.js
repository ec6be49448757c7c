// Choose the page: "#/cashier/{order_id}" is the checkout of an order, as in Aurpay's own
// URLs; "#/cashier/choose?token=" precedes the order; anything else is the overview.

import { showCheckout } from "./checkout.js";
import { showChoice } from "./choice.js";
import { showOverview } from "./overview.js";

let leave = null;

function route() {
  leave?.();
  const [, orderId] = location.hash.match(/^#\/cashier\/([0-9]+)$/) ?? [];
  const [, token] = location.hash.match(/^#\/cashier\/choose\?token=([a-z0-9-]+)$/) ?? [];
  if (orderId) leave = showCheckout(orderId);
  else leave = token ? showChoice(token) : showOverview();
}

addEventListener("hashchange", route);
route();
