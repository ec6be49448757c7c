// Which page it is: shops link to "#/cashier/{order_id}"; all else is the overview.

import { showCheckout } from "./checkout.js";
import { showOverview } from "./overview.js";

let leave = null;

function route() {
  leave?.();
  const [, orderId] = location.hash.match(/^#\/cashier\/([0-9]+)$/) ?? [];
  leave = orderId ? showCheckout(orderId) : showOverview();
}

addEventListener("hashchange", route);
route();
