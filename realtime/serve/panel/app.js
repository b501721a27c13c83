// The page: session on and off, switches, the latency, the trouble light, holds and keys. The rest is in modules of its own.

import "./access.js";
import "./details.js";
import { start } from "./devices.js";
import { byId, el, kept, note, say, sentence } from "./dom.js";
import "./meters.js";
import "./microphone_view.js";
import "./midi.js";
import "./mix.js";
import "./overlay.js";
import "./parameters.js";
import { allow, command, link, on, session } from "./session.js";
import { CLIP_DB, trouble } from "./trouble.js";
import { chooseByDigit } from "./voices.js";

const PHASES = { stopped: "Off", starting: "Starting…", running: "Live", reconnecting: "Reconnecting…", failed: "Failed" };
const SURE_MS = 5000;
const isOn = () => ["starting", "running", "reconnecting"].includes(session.state.session);
const since = { seconds: 0, at: 0 };

// --- On and off ----------------------------------------------------------------------------------------------------

const power = byId("power");
let isWorking = false;
let endsUntil = 0; // for so long a second press ends a session that cannot be started again
async function press() {
  if (isWorking) return;
  if (isOn() && session.state.can_start === false && performance.now() > endsUntil) {
    endsUntil = performance.now() + SURE_MS;
    note("This session was started in a terminal and cannot be started from here again. Press once more to end it.");
    return;
  }
  isWorking = true;
  paintStage();
  await (isOn() ? command("stop") : start());
  isWorking = false;
  paintStage();
}
power.onclick = press;
allow(power, "admin", () => isOn() || session.state.can_start !== false);

function paintStage() {
  const { state } = session;
  say(byId("sounding"), state.sounding || state.voice || "\u00a0");
  byId("sounding").title = state.sounding || "";
  say(byId("phase"), isWorking && !isOn() ? "Starting…" : PHASES[state.session] ?? "\u00a0");
  power.setAttribute("aria-pressed", isOn());
  power.setAttribute("aria-busy", isWorking || state.session === "starting");
  say(byId("power-text"), isOn() ? "Stop" : "Start");
  power.title = isOn() ? "Stop" : "Start";
  document.title = state.sounding && isOn() ? `${state.sounding} · altervox` : "altervox";
}

// --- Switches ------------------------------------------------------------------------------------------------------

const hasMonitor = () => session.state.monitor_device !== "" && session.state.monitor_device !== undefined;
const switches = {
  bypass: { value: () => session.state.bypass, press: (value) => command("set", { bypass: value }) },
  mute: { value: () => session.state.mute, press: (value) => command("set", { mute: value }) },
  monitor: { value: () => session.state.monitor && hasMonitor(), press: (value) => command("set", { monitor: value }), when: hasMonitor },
  record: { value: () => session.state.recording, press: (value) => command("record", { on: value }), when: () => session.state.session === "running" },
};
for (const [name, { value, press, when }] of Object.entries(switches)) {
  const button = allow(byId(name), "control", when);
  button.onclick = () => press(!value());
}

function paintSwitches() {
  for (const [name, { value }] of Object.entries(switches)) byId(name).setAttribute("aria-pressed", Boolean(value()));
  byId("monitor").title = hasMonitor() ? `Play the voice on ${session.state.monitor_device}` : "Choose below where you want to hear yourself, and start again";
  byId("bypass").title = "Send your own voice, with the same latency";
  byId("mute").title = "Send silence";
  byId("record").title = "Record input and output";
}

// --- Holds: somebody changed something for some seconds --------------------------------------------------------------

const holds = new Map(); // by ID: {ends, paint}
function takeHolds(listed) {
  const now = performance.now() / 1000;
  holds.clear();
  byId("holds").replaceChildren(...listed.map(({ id, by, values, remaining_s: left }) => {
    const named = ([key, value]) => (key === "voice" ? value : `${key} ${value}`);
    const own = ([key]) => key !== "speaker" || !("voice" in values); // another voice begins with its first speaker
    const what = Object.entries(values).filter(own).map(named).join(", ");
    const button = el("button", { type: "button", onclick: () => command("release", { hold: id }) }, "End");
    const text = el("span");
    const paint = (seconds) => say(text, `${what} for ${Math.max(0, Math.ceil(seconds))} s${by ? `, by ${by}` : ""}`);
    holds.set(id, { ends: now + left, paint });
    paint(left);
    return el("li", {}, text, allow(button, "control"));
  }));
}

function paintHolds() {
  const now = performance.now() / 1000;
  for (const { ends, paint } of holds.values()) paint(ends - now);
}

// --- Latency and trouble -------------------------------------------------------------------------------------------

function paintLatency() {
  const { total, is_measured: isMeasured } = session.stats.latency_ms ?? {};
  const isKnown = session.state.session === "running" && total > 0;
  say(byId("latency"), isKnown ? String(Math.round(total)) : "–");
  byId("latency").closest(".latency").classList.toggle("unknown", !isKnown);
  say(byId("latency-kind"), isKnown && isMeasured ? "latency, measured" : "latency");
  const seconds = session.stats.seconds;
  if (seconds !== undefined) [since.seconds, since.at] = [seconds, performance.now()];
  paintClock();
}

function paintClock() {
  const whole = Math.floor(since.seconds + (performance.now() - since.at) / 1000);
  const two = (number) => String(number).padStart(2, "0");
  const isRunning = session.state.session === "running" && since.at;
  say(byId("clock"), isRunning ? `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}` : "");
}

let act = () => {};
function paintTrouble() {
  const { level, word, text, action } = trouble({ link, ...session });
  byId("trouble").dataset.level = level;
  say(byId("trouble-level"), word);
  say(byId("trouble-text"), sentence(text));
  const button = byId("trouble-action");
  button.hidden = !action;
  if (!action) return;
  say(button, action.label);
  button.disabled = action.name !== "retry" && !link.hasAccess;
  act = { retry: () => link.retry(), start: () => start(), block: () => command("block", { ms: action.value }) }[action.name];
}
byId("trouble-action").onclick = () => act();

const LINKS = { connecting: "connecting", open: "connected", lost: "no connection", denied: "no access", asking: "waiting" };
function paintLink() {
  byId("link").dataset.state = link.state;
  const role = link.role === "view" ? "connected, view only" : LINKS[link.state];
  say(byId("link-text"), link.state === "open" ? role : LINKS[link.state]);
  byId("panel").dataset.link = link.state;
  if (link.state !== "connecting" && link.state !== "open") byId("power").style.setProperty("--level", 0);
}

// --- Keys ----------------------------------------------------------------------------------------------------------

const keysBox = byId("keys");
keysBox.checked = kept.get("keys", true);
keysBox.onchange = () => kept.set("keys", keysBox.checked);
const KEYS = {
  b: () => byId("bypass").click(),
  m: () => byId("mute").click(),
  o: () => byId("monitor").click(),
  r: () => byId("record").click(),
  v: () => command("voice", { step: 1 }),
  V: () => command("voice", { step: -1 }),
};
addEventListener("keydown", (event) => {
  const isTyping = event.target.matches?.("input:not([type=range]):not([type=checkbox]), select, textarea");
  if (!keysBox.checked || isTyping || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (/^[1-9]$/.test(event.key)) chooseByDigit(Number(event.key));
  else if (event.key in KEYS) KEYS[event.key]();
  else return;
  event.preventDefault();
});

// --- Colours, and what happens when --------------------------------------------------------------------------------

byId("theme").onclick = () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("altervox.theme", theme);
  } catch {} // for this page only
  dispatchEvent(new Event("altervox-theme-chosen"));
};

on("state", (data) => {
  if (data && "holds" in data) takeHolds(data.holds);
  paintStage();
  paintSwitches();
  paintLatency();
  paintTrouble();
});
on("stats", () => {
  paintLatency();
  paintTrouble();
});
on("meters", ({ input_peak_db: peak }) => peak > CLIP_DB && paintTrouble());
on("link", () => {
  paintLink();
  paintTrouble();
});
setInterval(() => {
  paintClock();
  paintTrouble();
  paintHolds();
}, 1000);
paintLink();
byId("panel").hidden = false;
