// What the page knows of the session, and the commands that change it.

import { note } from "./dom.js";
import { Link } from "./link.js";

const SEND_EVERY_MS = 50; // while a slider moves
const MOST_LINES = 100; // of the log
const SLOW = ["start", "stop", "measure", "devices"]; // a voice may have to load first
const PATIENCE_MS = 300000;

const OBS = / OBS\/(\d+)/.test(navigator.userAgent);
const BROWSERS = { Edg: "Edge", OPR: "Opera", Firefox: "Firefox", Chrome: "Chrome", Safari: "Safari" };
const SYSTEMS = { Windows: "Windows", Android: "Android", iPhone: "iPhone", iPad: "iPad", Mac: "Mac", Linux: "Linux" };
const known = (table) => table[Object.keys(table).find((name) => navigator.userAgent.includes(name))] ?? "";
const OBS_VIEW = document.documentElement.dataset.view === "meter" ? "OBS overlay" : "OBS dock";
export const CLIENT = OBS ? OBS_VIEW : `panel, ${known(BROWSERS) || "browser"} on ${known(SYSTEMS) || "a device"}`;

export const session = {
  state: {},
  rev: -1,
  meters: {},
  stats: {},
  voices: [],
  devices: {},
  log: [],
  failure: "", // why the last start failed
};

const listeners = new Map();

/** Call `heard` after a change of one of these: link, state, meters, stats, voices, devices, log, or another event's name. */
export function on(topics, heard) {
  for (const topic of topics.split(" ")) listeners.set(topic, [...(listeners.get(topic) ?? []), heard]);
}

function changed(topic, data) {
  for (const heard of listeners.get(topic) ?? []) heard(data);
}

const TOPICS = { state: {}, voices: {}, devices: {}, log: {}, meters: { hz: 20 }, stats: { hz: 2 } };

function topics({ role, hello }) {
  if (role !== "admin") return TOPICS;
  return { ...TOPICS, pairings: {}, ...(hello.features.includes("audio") ? { audio_sessions: {} } : {}) };
}
export const link = new Link(topics, CLIENT);

link.addEventListener("state", () => changed("link"));
link.addEventListener("message", ({ detail }) => {
  const { event, data } = detail;
  if (event === "state") {
    if (detail.full) session.state = data;
    else Object.assign(session.state, data);
    session.rev = detail.rev;
    if (session.state.session !== "stopped") session.failure = "";
  } else if (event === "log") session.log = [...(detail.seq ? session.log : []), data].slice(-MOST_LINES);
  else if (event in session) session[event] = data;
  changed(event, data);
});

/** Send a command; what goes wrong is told at the foot of the page, and the answer is then undefined. */
export async function command(cmd, params = {}) {
  try {
    return (await link.request(cmd, params, SLOW.includes(cmd) ? PATIENCE_MS : undefined)).result ?? {};
  } catch (error) {
    if (cmd === "start") session.failure = error.message; // the light says it, for as long as it is so
    else if (error.code !== "lost") note(error.message);
    changed("state"); // controls go back to what is true
    return undefined;
  }
}

// Values that a person is changing: the newest of each goes out at most every 50 ms, one command at a time.
const waiting = new Map();
let sending = false;

/** Set a parameter soon; until it is acknowledged, `isBusy` holds for its key. */
export function setSoon(key, value) {
  waiting.set(key, value);
  if (!sending) send();
}

const inFlight = new Set();
export const isBusy = (key) => waiting.has(key) || inFlight.has(key);

async function send() {
  sending = true;
  while (waiting.size) {
    const values = Object.fromEntries(waiting);
    waiting.clear();
    for (const key of Object.keys(values)) inFlight.add(key);
    const pause = new Promise((resolve) => setTimeout(resolve, SEND_EVERY_MS));
    try {
      const { result, rev } = await link.request("set", values);
      if (rev >= session.rev) Object.assign(session.state, result);
    } catch (error) {
      if (error.code !== "lost") note(error.message);
    }
    inFlight.clear();
    await pause;
  }
  sending = false;
  changed("state");
}

const RIGHTS = {
  view: ["view"],
  control: ["view", "control"],
  audio: ["view", "audio"],
  "control+audio": ["view", "control", "audio"],
  admin: ["view", "control", "audio", "admin"],
};
const gates = new Set();

/** Keep a control disabled unless there is the right, the connection stands and `when` agrees. */
export function allow(element, right, when = () => true) {
  gates.add({ element: new WeakRef(element), right, when });
  element.disabled = !may(right) || !when();
  return element;
}

export const may = (right) => link.hasAccess && (RIGHTS[link.role] ?? []).includes(right);

on("link state devices", () => {
  for (const gate of gates) {
    const control = gate.element.deref();
    if (control) control.disabled = !may(gate.right) || !gate.when();
    else gates.delete(gate);
  }
});
