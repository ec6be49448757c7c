// Where a payment can stand, and what a payer is told: a tone, a word, advice, and which
// of the order's addresses comes next.

const state = (tone, said, advice = "", next = "") => ({ tone, said, advice, next });

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
  "The payment came after the time was up. What happens now is up to the shop.",
  "succeed_url",
);
const TIME_IS_UP = state(
  "bad",
  "Time is up",
  "Please do not pay this invoice any more. Start again at the shop.",
  "timeout_url",
);
const OVERDUE = state(
  "bad",
  "Overdue",
  "It was not paid in time, or not in full. Ask the shop before you pay again.",
  "timeout_url",
);
const REFUNDED = state("back", "Refunded", "What was paid has gone back.");

/** Where an order stands whose time is up, or not yet. */
export function stateOf(order, isOver) {
  if (order.status === "PENDING") return isOver ? TIME_IS_UP : PENDING;
  if (order.status === "SUCCESS") return order.late ? PAID_LATE : PAID;
  return order.status === "OVERDUE" ? OVERDUE : REFUNDED;
}

/** Whether a button of the sandbox can do anything to an order of this status. */
export function canMove(move, status) {
  return status === "PENDING" || (status === "OVERDUE" && move === "pay-late");
}
