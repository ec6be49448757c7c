// Helpers for the page. External strings become text nodes, never markup.

/** Show the template of this name; return its slots by name. */
export function show(name) {
  const page = document.getElementById("page");
  page.replaceChildren(document.getElementById(name).content.cloneNode(true));
  const slots = [...page.querySelectorAll("[data-slot]")];
  return Object.fromEntries(slots.map((slot) => [slot.dataset.slot, slot]));
}

/** Create an element with a class, strings and elements. */
export function element(tag, name, ...children) {
  const created = document.createElement(tag);
  created.className = name;
  created.append(...children);
  return created;
}

/** Set a text. Setting the same text again would make screen readers repeat it. */
export function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/** Return an http or https URL, or null: links lead to nothing else. */
export function webUrl(text) {
  const url = URL.canParse(text ?? "") ? new URL(text) : null;
  return url && ["http:", "https:"].includes(url.protocol) ? url : null;
}

/** Format a price with all its digits. */
export function money(price, currency) {
  const options = { style: "currency", currency, maximumFractionDigits: 20 };
  return new Intl.NumberFormat("en", options).format(price);
}

/** Send a request that only this page may send; return the outcome for the developer. */
export async function act(path, value = {}, method = "POST") {
  const headers = { "Content-Type": "application/json" };
  try {
    const response = await fetch(path, { method, headers, body: JSON.stringify(value) });
    return response.ok ? "Done." : await response.text();
  } catch {
    return "The sandbox does not answer.";
  }
}

/**
 * Receive the sandbox's events while the page is visible: browsers open at most six
 * connections to a server, and a page in the background needs none of them.
 *
 * `update` gets the changes, and the sandbox's time as `now`; `updateConnection` gets
 * "open", "lost" or "rejected". Return a function that stops listening.
 */
export function listen(path, update, updateConnection) {
  let source = null;
  const connectIfVisible = () => {
    source?.close();
    source = document.hidden ? null : connect();
  };
  const connect = () => {
    const stream = new EventSource(path);
    stream.onopen = () => updateConnection("open");
    stream.onmessage = ({ data }) => update(JSON.parse(data));
    stream.onerror = () =>
      updateConnection(stream.readyState === EventSource.CLOSED ? "rejected" : "lost");
    return stream;
  };
  document.addEventListener("visibilitychange", connectIfVisible);
  connectIfVisible();
  return () => {
    document.removeEventListener("visibilitychange", connectIfVisible);
    source?.close();
  };
}
