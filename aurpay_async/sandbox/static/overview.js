// The overview: orders, callbacks and requests as they happen, and the queued faults.

import { element, listen, money, say, show } from "./dom.js";

const TONES = { PENDING: "wait", SUCCESS: "good", OVERDUE: "bad", REFUNDED: "back" };
const ROWS = { orders: drawOrder, callbacks: drawCallback, requests: drawRequest };

/** Show the overview; return a function that leaves it. */
export function showOverview() {
  const place = show("overview");
  document.title = "Aurpay sandbox";
  say(place.origin, location.origin);
  say(place.client, `AurpayClient(base_url="${location.origin}", network="regtest")`);

  function update({ now, ...changes }) {
    for (const [name, value] of Object.entries(changes)) {
      if (name in ROWS) list(name, value);
      else place[name].replaceChildren(...value.map((text) => element("li", "", code(text))));
    }
    place.lists.hidden = false;
  }

  function list(name, { total, rows }) {
    const most = rows.length < total ? `, latest ${rows.length}` : "";
    say(place[`${name}-total`], total ? `${total.toLocaleString("en")}${most}` : "");
    updateRows(place[name], rows, ROWS[name]);
  }

  return listen("/_pages/events", update, (connection) => {
    const isOpen = connection === "open";
    place.status.dataset.tone = isOpen ? "good" : "bad";
    say(place.status, isOpen ? "Live" : "Connection lost, trying again");
  });
}

/**
 * Update a list, newest first. An unchanged row is not touched, because the developer may
 * have opened it or may be selecting its text.
 */
function updateRows(list, rows, draw) {
  const old = new Map([...list.children].map((row) => [row.dataset.key, row]));
  for (const data of rows.toReversed()) {
    const [key, version] = [String(data.key), JSON.stringify(data)];
    const known = old.get(key);
    old.delete(key);
    if (known?.dataset.version === version) continue;
    const row = draw(data);
    Object.assign(row.dataset, { key, version });
    const hadFocus = known?.contains(document.activeElement);
    if (known) known.replaceWith(row);
    else list.prepend(row);
    if (hadFocus) row.querySelector("a, summary").focus();
  }
  for (const row of old.values()) row.remove();
}

const code = (text) => element("code", "", text);
const quiet = (text) => element("span", "quiet", text);

function pill(text, tone) {
  const created = element("span", "pill", text);
  created.dataset.tone = tone;
  return created;
}

function time(seconds) {
  const date = new Date(seconds * 1000);
  const created = element("time", "quiet", date.toLocaleTimeString("en-GB"));
  created.dateTime = date.toISOString();
  return created;
}

function drawOrder({ key, status, price, currency, amount, coin, created }) {
  const link = element("a", "", key);
  link.href = `/#/cashier/${key}`;
  const sums = element("span", "sums", money(price, currency), " ", quiet(`${amount} ${coin}`));
  return element("li", "row order", pill(status, TONES[status]), sums, link, time(created));
}

function drawCallback({ order_id, kind, method, url, headers, size, status, error, sent }) {
  const summary = element("summary", "", pill(status ?? "Failed", status === 200 ? "good" : "bad"));
  summary.append(quiet(kind), code(`${method} ${url}`), time(sent));
  const body = size ? `${size.toLocaleString("en")} bytes` : "no body";
  const facts = [`Order ${order_id}, ${body}`, `Headers: ${headers.join(", ")}`];
  if (error) facts.unshift(error);
  return row("callback", summary, ...facts.map((fact) => element("p", "", fact)));
}

function drawRequest({ method, path, headers, body, size, served }) {
  const summary = element("summary", "", code(`${method} ${path}`));
  if (!served) summary.prepend(pill("Not served", "bad"));
  summary.append(quiet(`${size.toLocaleString("en")} bytes`));
  const names = element("p", "", `Headers: ${headers.join(", ")}`);
  return row("request", summary, names, element("pre", "", body));
}

function row(name, summary, ...parts) {
  return element("li", `row ${name}`, element("details", "", summary, ...parts));
}
