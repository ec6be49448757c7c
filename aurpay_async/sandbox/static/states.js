// The states of a payment: tone, title and advice for the payer, and the field of the order
// with the URL that comes next.

const state = (tone, title, advice = "", next = "") => ({ tone, title, advice, next });

export const CONNECTING = state("wait", "Connecting");
export const PENDING = state("wait", "Waiting for payment");
export const UNKNOWN = state(
  "bad",
  "No such order",
  "Without a file, the sandbox forgets its orders when it stops.",
);
const PAID = state("good", "Paid", "Thank you, your payment has arrived.", "succeed_url");
const PAID_LATE = state(
  "good",
  "Paid late",
  "The payment arrived after the time limit. The shop decides how to proceed.",
  "succeed_url",
);
const EXPIRED = state(
  "bad",
  "Expired",
  "Please do not pay this invoice any more. Start again at the shop.",
  "timeout_url",
);
const OVERDUE = state(
  "bad",
  "Overdue",
  "The order was not paid in time, or not in full. Ask the shop before you pay again.",
  "timeout_url",
);
const REFUNDED = state("back", "Refunded", "The payment was refunded.");
const UNDOCUMENTED = state("bad", "Not open any more", "Ask the shop before you pay again.");

/** Return the state of an order; `isExpired` tells that its time to pay has passed. */
export function stateOf(order, isExpired) {
  if (order.status === "PENDING") return isExpired ? EXPIRED : PENDING;
  if (["SUCCESS", "RESOLVED"].includes(order.status)) return order.late ? PAID_LATE : PAID;
  return { OVERDUE, REFUNDED }[order.status] ?? UNDOCUMENTED;
}

/** Return whether a button of the sandbox applies to an order of this status. */
export function canDo(action, status) {
  return status === "PENDING" || (status === "OVERDUE" && action === "pay-late");
}
