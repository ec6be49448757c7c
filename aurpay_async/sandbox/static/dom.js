// The page's own little language. Text from outside becomes text nodes and nothing else.

/** Put the template of this name onto the page; its named places, by name. */
export function show(name) {
  const page = document.getElementById("page");
  page.replaceChildren(document.getElementById(name).content.cloneNode(true));
  const places = [...page.querySelectorAll("[data-slot]")];
  return Object.fromEntries(places.map((place) => [place.dataset.slot, place]));
}

/** A new element with a class, texts and elements in it. */
export function element(tag, name, ...children) {
  const made = document.createElement(tag);
  made.className = name;
  made.append(...children);
  return made;
}

/** Write a text; what is read out to somebody is not touched if it stays the same. */
export function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/** What a link may lead to: a web address, or nothing. */
export function webAddress(text) {
  const url = URL.canParse(text ?? "") ? new URL(text) : null;
  return url && ["http:", "https:"].includes(url.protocol) ? url : null;
}

/** A price as people write it; every digit of it. */
export function money(price, currency) {
  const options = { style: "currency", currency, maximumFractionDigits: 20 };
  return new Intl.NumberFormat("en", options).format(price);
}

/**
 * Hear the sandbox's events, as long as somebody looks at the page: browsers keep six
 * connections to a server, and a checkout in the background needs none of them.
 *
 * `hear` gets what is new, and the sandbox's time as `now`; `changed` gets "open", "lost"
 * or "refused". Returns what ends it.
 */
export function listen(path, hear, changed) {
  let source = null;
  const look = () => {
    source?.close();
    source = document.hidden ? null : connect();
  };
  const connect = () => {
    const made = new EventSource(path);
    made.onopen = () => changed("open");
    made.onmessage = ({ data }) => hear(JSON.parse(data));
    made.onerror = () =>
      changed(made.readyState === EventSource.CLOSED ? "refused" : "lost");
    return made;
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    document.removeEventListener("visibilitychange", look);
    source?.close();
  };
}
