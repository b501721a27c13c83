// Web MIDI: a key, pad, knob or fader is learned for an action, and the browser remembers it.

import { actions } from "./actions.js";
import { byId, el, kept, say } from "./dom.js";
import { NAMES, ranges } from "./parameters.js";
import { allow, command, link, on, session, setSoon } from "./session.js";

const HELD = { "Mute while held": "mute", "Bypass while held": "bypass" };
const REACH = { pitch: 12 }; // of a knob, to either side: the whole range would be too coarse
const MOST_ON_A_KNOB = 1000;
const KEPT = "midi";

let learned = load(); // what it does, by control
let wanted = ""; // what the next control will do; empty while none is learned
let access = null;
let trouble = "";
let shown = "[]"; // of what is learned
let isOurs = false; // of several panels in one browser, one obeys
const down = new Set();

function load() {
  const found = kept.get(KEPT, {});
  return new Map(Object.entries(typeof found === "object" ? found : {}).filter(([, name]) => typeof name === "string"));
}

/** {press: [command, fields]}, {held: key} or {knob: key} by what the user reads. */
function choices() {
  const presses = [...actions()].map(([name, [, cmd, params]]) => [name, { press: [cmd, params] }]);
  const held = Object.entries(HELD).map(([name, key]) => [name, { held: key }]);
  const isKnob = ({ type, minimum, maximum }) => type !== "boolean" && maximum - minimum <= MOST_ON_A_KNOB;
  const keys = Object.keys(ranges).filter((key) => isKnob(ranges[key]));
  return new Map([...held, ...keys.map((key) => [`Knob for ${NAMES[key] ?? key}`, { knob: key }]), ...presses]);
}

/**
 * The control that a MIDI message is of, undefined for clocks, aftertouch and the like.
 * @returns {control: its name, value: 0..1, isDown, isKnob}
 */
export function read([status, first, second = 0]) {
  const channel = `channel ${(status & 15) + 1}`;
  const of = (name, value, isDown, isKnob = false) => ({ control: `${name}, ${channel}`, value, isDown, isKnob });
  switch (status >> 4) {
    case 8: return of(`note ${first}`, 0, false);
    case 9: return of(`note ${first}`, second / 127, second > 0);
    case 11: return of(`controller ${first}`, centred(second, 64), second >= 64, true);
    case 12: return of(`program ${first}`, 1, true);
    case 14: return of("pitch bend", centred(first | (second << 7), 8192), second >= 64, true);
    default: return undefined;
  }
}

/** 0..1, and exactly the middle for the middle position, which such scales have below their half. */
const centred = (value, middle) => (value <= middle ? value / (2 * middle) : 0.5 + (value - middle) / (2 * middle - 2));

/** Value of a parameter for a knob's position of 0..1: the middle is 0 where the range has both signs. */
export function turned(position, { minimum, maximum, type }, reach = Infinity) {
  const [low, high] = [Math.max(minimum, -reach), Math.min(maximum, reach)];
  const middle = low < 0 && high > 0 ? 0 : (low + high) / 2;
  const value = position < 0.5 ? low + 2 * position * (middle - low) : middle + (2 * position - 1) * (high - middle);
  return type === "integer" ? Math.round(value) : Math.round(100 * value) / 100;
}

/** Carry out what a MIDI message is learned for, or learn it. */
export function heard(data) {
  const message = read(data);
  if (!message) return;
  const { control, value, isDown, isKnob } = message;
  const isProgram = control.startsWith("program ");
  const isPressed = isDown && !down.has(control);
  if (isDown && !isProgram) down.add(control);
  else down.delete(control);
  if (wanted) {
    const { knob } = choices().get(wanted) ?? {};
    if (knob ? isKnob : isPressed) learn(control);
    return;
  }
  if (!learned.has(control) || !isOurs || !link.hasAccess) return;
  const { press, held, knob } = choices().get(learned.get(control)) ?? {};
  if (knob && isKnob) setSoon(knob, turned(value, ranges[knob], REACH[knob]));
  else if (held && Boolean(session.state[held]) !== isDown) command("set", { [held]: isDown });
  else if (press && isPressed) command(...press);
}

function learn(control) {
  learned.set(control, wanted);
  wanted = "";
  store();
}

function store() {
  kept.set(KEPT, learned.size ? Object.fromEntries(learned) : null);
  render();
}

async function connect() {
  if (access || !navigator.requestMIDIAccess) return;
  try {
    access = await navigator.requestMIDIAccess();
    access.onstatechange = listen;
    trouble = "";
    listen();
  } catch (error) {
    trouble = error.name === "NotAllowedError" ? "The browser does not let this page use MIDI." : `MIDI does not work here: ${error.message}`;
    wanted = "";
    render();
  }
}

function listen() {
  for (const input of access.inputs.values()) input.onmidimessage = ({ data }) => heard(data);
  render();
}

// --- What is shown -------------------------------------------------------------------------------------------------

function status() {
  if (!isSecureContext) return "Browsers let a page use MIDI only over https, or on the computer that altervox runs on.";
  if (!navigator.requestMIDIAccess) return "This browser has no Web MIDI. Chrome, Edge and Firefox have.";
  if (trouble) return trouble;
  if (wanted) return `Now move the control for “${wanted}” on the MIDI device.`;
  if (!access) return "Choose what a key, pad, knob or fader of a MIDI device should do, press Learn, then move it.";
  const names = [...access.inputs.values()].filter(({ state }) => state === "connected").map(({ name }) => name);
  return names.length ? `Connected: ${names.join(", ")}.` : "No MIDI device is connected.";
}

function render() {
  say(byId("midi-note"), status());
  say(byId("midi-learn"), wanted ? "Cancel" : "Learn");
  const names = [...choices().keys()];
  const select = byId("midi-action");
  const isSame = names.length === select.options.length && names.every((name, index) => select.options[index].value === name);
  if (!isSame) {
    const { value } = select;
    select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
    if (names.includes(value)) select.value = value;
  }
  const rows = JSON.stringify([...learned]);
  if (rows === shown) return; // a button that is replaced while it is pressed hears no click
  shown = rows;
  byId("midi").replaceChildren(...[...learned].map(([control, name]) => {
    const remove = el("button", { type: "button", "aria-label": `Forget ${control}` }, "Forget");
    remove.onclick = () => learned.delete(control) && store();
    return el("li", {}, el("span", {}, name, el("small", {}, control)), remove);
  }));
}

byId("midi-form").onsubmit = async (event) => {
  event.preventDefault();
  wanted = wanted ? "" : byId("midi-action").value;
  await connect();
  render();
};
const canLearn = () => isSecureContext && "requestMIDIAccess" in navigator;
for (const id of ["midi-action", "midi-learn"]) allow(byId(id), "control", canLearn);
addEventListener("keydown", ({ key }) => {
  if (key !== "Escape" || !wanted) return;
  wanted = "";
  render();
});
addEventListener("storage", () => {
  learned = load();
  render();
});
on("link voices", render);
navigator.locks?.request("altervox.midi", () => {
  isOurs = true;
  return new Promise(() => {}); // until the page is closed
});
if (learned.size) connect();
