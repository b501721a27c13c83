// The grid of voices: pictures or drawn tiles, favourites first, digit keys, and which one is warming up.

import { css, hash, hue, oklch } from "./colour.js";
import { byId, el, icon, kept, say, svgElement } from "./dom.js";
import { allow, command, link, on, session } from "./session.js";

const MANY = 12; // voices from which on there is a search field
const KEYED = 9;
const grid = byId("grid");
const search = byId("search");
const tiles = new Map();
let favourites = new Set(kept.get("favourites", []));
let shown = [];

export function choose(name) {
  command("voice", { name });
}

/** Choose the voice whose tile bears a digit. */
export function chooseByDigit(digit) {
  const name = shown[digit - 1];
  if (name !== undefined) choose(name);
}

function ordered() {
  const listed = session.voices.map((voice) => voice.name);
  const { voice } = session.state;
  const names = voice !== undefined && !listed.includes(voice) ? [...listed, voice] : listed; // last, so that no digit moves
  const sorted = [...names.filter((name) => favourites.has(name)), ...names.filter((name) => !favourites.has(name))];
  const wanted = search.value.trim().toLowerCase();
  return sorted.filter((name) => name.toLowerCase().includes(wanted));
}

function render() {
  const names = session.voices.length;
  byId("search-box").hidden = names <= MANY;
  byId("search-box").parentElement.classList.toggle("searchable", names > MANY);
  const focused = grid.contains(document.activeElement) ? document.activeElement : null;
  shown = ordered();
  for (const [name, tile] of tiles) {
    if (!shown.includes(name)) {
      tile.element.remove();
      tiles.delete(name);
    }
  }
  shown.forEach((name, index) => {
    const tile = tiles.get(name) ?? newTile(name);
    if (grid.children[index] !== tile.element) grid.insertBefore(tile.element, grid.children[index] ?? null);
    tile.number.hidden = index >= KEYED;
    say(tile.number, String(index + 1));
    tile.star.setAttribute("aria-pressed", favourites.has(name));
    dress(tile, name);
  });
  focused?.focus(); // which it loses when its tile moves
  byId("no-voice").hidden = shown.length > 0 || !search.value;
  mark();
}

function mark() {
  const { voice, sounding, loading, session: phase } = session.state;
  for (const [name, { element, button, state }] of tiles) {
    const warms = name === voice && phase === "running" && (loading || (sounding !== "" && voice !== sounding));
    button.setAttribute("aria-checked", name === voice);
    button.setAttribute("aria-busy", warms);
    element.toggleAttribute("data-warming", warms);
    const heard = phase === "running" && name === sounding;
    say(state, warms ? "warming" : heard && voice !== sounding ? "heard" : heard ? "live" : "");
  }
  roam(tiles.has(voice) ? voice : shown[0]);
  const rgb = (lightness, chroma) => oklch(lightness, chroma, hue(sounding || voice || "altervox"));
  const root = document.documentElement.style;
  root.setProperty("--voice-dark", css(rgb(0.8, 0.13)));
  root.setProperty("--voice-light", css(rgb(0.48, 0.14)));
  root.setProperty("--voice-rgb", rgb(0.7, 0.15).join(" "));
}

/** One tile is in the order of the Tab key; arrows lead to the others. */
function roam(to) {
  if (grid.contains(document.activeElement)) return;
  for (const [name, { button, star }] of tiles) button.tabIndex = star.tabIndex = name === to ? 0 : -1;
}

function newTile(name) {
  const art = el("span", { class: "art" });
  const number = el("kbd", { class: "number", "aria-hidden": "true" });
  const state = el("span", { class: "state" });
  const button = el("button", { type: "button", role: "radio" }, art, el("span", { class: "caption-row", dir: "auto" }, name), state);
  button.onclick = () => choose(name);
  const star = el("button", { type: "button", class: "star", "aria-label": `Favourite: ${name}` }, icon("star"));
  star.onclick = () => {
    favourites = new Set(favourites);
    if (!favourites.delete(name)) favourites.add(name);
    kept.set("favourites", [...favourites]);
    render();
  };
  const element = el("div", { class: "tile" }, button, star, number);
  button.onfocus = () => {
    for (const other of tiles.values()) other.button.tabIndex = other.star.tabIndex = other.button === button ? 0 : -1;
  };
  const tile = { element, button, star, number, state, art, hasPicture: undefined };
  allow(button, "control");
  tiles.set(name, tile);
  return tile;
}

/** What the list of voices says of a voice, which may change. */
function dress(tile, name) {
  const { picture = false, description = "" } = session.voices.find((voice) => voice.name === name) ?? {};
  tile.button.title = description ? `${name}: ${description}` : name;
  if (tile.hasPicture === picture) return;
  tile.hasPicture = picture;
  portray(tile.art, name, picture);
}

/** Show a voice in a box: its drawn tile, and its picture once that has come. */
export function portray(art, name, hasPicture) {
  draw(art, name);
  if (hasPicture) show(art, name);
}

/** A voiceprint that belongs to the name: colour, bars and initial. */
function draw(art, name) {
  const tint = hue(name);
  const bits = hash(`${name} bars`);
  art.style.background = `linear-gradient(150deg, ${css(oklch(0.6, 0.13, tint))}, ${css(oklch(0.4, 0.11, tint + 38))})`;
  const bars = svgElement("svg", { viewBox: "0 0 120 90", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" });
  for (let i = 0; i < 13; i += 1) {
    const height = 10 + 9 * ((bits >>> (2 * i)) & 3) + 26 * Math.sin((Math.PI * (i + 0.5)) / 13);
    bars.append(svgElement("rect", { x: 4 + 9 * i, y: 45 - height / 2, width: 4, height, rx: 2, fill: "#fff", opacity: 0.2 }));
  }
  art.replaceChildren(bars, el("b", { "aria-hidden": "true" }, [...name][0]?.toUpperCase() ?? "?"));
}

async function show(art, name) {
  const drawn = art.firstChild;
  const headers = { Authorization: `Bearer ${kept.get("token", "")}` };
  try {
    const answer = await fetch(`/v1/picture/${encodeURIComponent(name)}`, { headers });
    if (!answer.ok) return;
    const image = el("img", { alt: "", src: URL.createObjectURL(await answer.blob()) });
    await image.decode();
    URL.revokeObjectURL(image.src);
    if (art.firstChild === drawn) art.replaceChildren(image); // unless another voice is shown by now
  } catch {} // the drawn tile stays
}

grid.addEventListener("keydown", (event) => {
  const names = [...grid.children].map((tile) => tile.firstChild);
  const at = names.indexOf(document.activeElement);
  if (at < 0) return;
  const perRow = [...grid.children].filter((tile) => tile.offsetTop === grid.firstChild.offsetTop).length;
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + perRow, ArrowUp: at - perRow, Home: 0, End: names.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  names[Math.min(Math.max(to, 0), names.length - 1)].focus();
});

search.oninput = render;
search.onkeydown = (event) => {
  if (event.key === "Enter" && shown.length) choose(shown[0]);
  if (event.key === "Escape") {
    search.value = "";
    render();
  }
};
byId("random").onclick = () => command("voice", { random: true });
allow(byId("random"), "control");
on("voices", render);
on("state", (data = {}) => {
  if ("voice" in data && !tiles.has(data.voice)) render();
  else if (["voice", "sounding", "loading", "session"].some((key) => key in data)) mark();
});
on("link", () => link.hasAccess && render());
