// The overview: orders, callbacks and requests as they happen, and the controls: the queued
// faults, the clock, and a button that sends a callback again.

import { act, element, listen, money, say, show } from "./dom.js";

const TICK_MS = 200;
const TONES = { PENDING: "wait", SUCCESS: "good", OVERDUE: "bad", REFUNDED: "back" };
const QUEUES = { push: "/_pages/faults", "callback-push": "/_pages/callback-faults" };
const ROWS = { orders: drawOrder, callbacks: drawCallback, requests: drawRequest };

/** Show the overview; return a function that leaves it. */
export function showOverview() {
  const place = show("overview");
  document.title = "Aurpay sandbox";
  say(place.origin, location.origin);
  say(place.client, `AurpayClient(base_url="${location.origin}", network="regtest")`);

  let offset = 0; // of the sandbox's clock from the browser's

  function update({ now, ...changes }) {
    offset = now * 1000 - Date.now();
    tick();
    for (const [name, value] of Object.entries(changes)) {
      if (name in ROWS) list(name, value);
      else place[name].replaceChildren(...value.map(name.endsWith("names") ? option : item));
    }
    place.lists.hidden = false;
  }

  function tick() {
    say(place.time, `${new Date(Date.now() + offset).toISOString().slice(0, 19).replace("T", " ")} UTC`);
  }

  async function run(...request) {
    say(place.result, "Working …");
    say(place.result, await act(...request));
  }

  function onsubmit(form, request) {
    form.onsubmit = (event) => {
      event.preventDefault(); // the content security policy forbids to send a form
      run(...request(form.elements.value.value));
    };
  }

  for (const [slot, path] of Object.entries(QUEUES)) {
    onsubmit(place[slot], (fault) => [path, [fault]]);
    place[`${slot}-clear`].onclick = () => run(path, {}, "DELETE");
  }
  onsubmit(place.advance, (minutes) => ["/_pages/clock", { advance_s: minutes * 60 }]);
  place.callbacks.onclick = ({ target: { dataset } }) => {
    if (dataset.resend) run(`/_pages/callbacks/${dataset.resend}/resend`);
  };

  function list(name, { total, rows }) {
    const most = rows.length < total ? `, latest ${rows.length}` : "";
    say(place[`${name}-total`], total ? `${total.toLocaleString("en")}${most}` : "");
    updateRows(place[name], rows, ROWS[name]);
  }

  const ticker = setInterval(tick, TICK_MS);
  const stop = listen("/_pages/events", update, (connection) => {
    const isOpen = connection === "open";
    place.status.dataset.tone = isOpen ? "good" : "bad";
    say(place.status, isOpen ? "Live" : "Connection lost, trying again");
  });
  return () => {
    clearInterval(ticker);
    stop();
  };
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

const option = (text) => element("option", "", text);
const item = (text) => element("li", "", code(text));
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

function drawCallback({ key, order_id, kind, method, url, headers, size, status, error, sent }) {
  const summary = element("summary", "", pill(status ?? "Failed", status === 200 ? "good" : "bad"));
  summary.append(quiet(kind), code(`${method} ${url}`), time(sent));
  const body = size ? `${size.toLocaleString("en")} bytes` : "no body";
  const facts = [`Order ${order_id}, ${body}`, `Headers: ${headers.join(", ")}`];
  if (error) facts.unshift(error);
  const resend = element("button", "button", "Send again");
  resend.type = "button";
  resend.dataset.resend = key;
  return row("callback", summary, ...facts.map((fact) => element("p", "", fact)), resend);
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
