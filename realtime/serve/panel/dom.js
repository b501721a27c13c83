// Elements without markup strings: what comes from outside can only ever become text.

export const byId = (id) => document.getElementById(id);

/** Build an element. Properties: `class`, `data`, `aria-*` and `role` as attributes, `on*` as listeners, else as they are. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = svgElement("svg", { "aria-hidden": "true" });
  svg.append(svgElement("use", { href: `#i-${name}` }));
  return svg;
}

export function svgElement(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Set the text only if it differs, so that a live region speaks once. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A message of altervox, which begins with a small letter and ends without a full stop. */
export function sentence(text) {
  return text && `${text[0].toUpperCase()}${text.slice(1)}${/[.!?)]$/.test(text) ? "" : "."}`;
}

let noteTimer = 0;

/** Tell something for some seconds at the foot of the page. */
export function note(text) {
  const box = byId("note");
  box.textContent = sentence(text);
  box.hidden = false;
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => (box.hidden = true), 7000);
}

/** Have a button ask once more before it acts. */
export function confirmed(button, question, act) {
  const label = button.textContent;
  let timer = 0;
  const calm = () => {
    clearTimeout(timer);
    button.classList.remove("sure");
    button.textContent = label;
  };
  button.addEventListener("click", () => {
    if (button.classList.contains("sure")) {
      calm();
      act();
      return;
    }
    button.classList.add("sure");
    button.textContent = question;
    timer = setTimeout(calm, 4000);
  });
  button.addEventListener("blur", calm);
}

export async function copy(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    note(`Copy this by hand: ${text}`); // no clipboard without https or a local address
  }
  setTimeout(() => (button.textContent = label), 1500);
}

/** What a browser keeps for this page; nothing where storage is blocked. */
export const kept = {
  get(name, otherwise) {
    try {
      return JSON.parse(localStorage.getItem(`altervox.${name}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  set(name, value) {
    try {
      if (value === null) localStorage.removeItem(`altervox.${name}`);
      else localStorage.setItem(`altervox.${name}`, JSON.stringify(value));
    } catch {} // the page works without
  },
};
