// Levels of input and output: peak, held peak, clip mark, and the line of the gate.

import { byId, say } from "./dom.js";
import { link, on, session } from "./session.js";
import { CLIP_DB } from "./trouble.js";

const FLOOR_DB = -60;
const FALL_DB_S = 30;
const HOLD_S = 1.5;
const CLIP_S = 3;
const LOUD_DB = -12;
const GATE_SHUT_DB = -6;
const SAID_EVERY_S = 1;

const meters = { in: meter("in"), out: meter("out") };
let colours = {};
let last = 0;
let running = false;

function meter(name) {
  return { canvas: byId(`meter-${name}`), text: byId(`${name}-db`), level: FLOOR_DB, target: FLOOR_DB, held: FLOOR_DB, heldAt: 0, clippedAt: -1e9, saidAt: 0 };
}

/** Canvases paint with the page's colours: read them again when those change. */
export function pageColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ok", "warn", "bad", "line", "raised", "text", "soft", "accent", "edge", "card"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** A canvas's context in CSS pixels, [context, width, height]; the buffer follows the screen's resolution. */
export function fitted(canvas) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width, height];
}

function hear(each, peak, now) {
  each.target = Math.max(peak ?? FLOOR_DB, FLOOR_DB);
  each.level = Math.max(each.level, each.target);
  if (each.target >= each.held) [each.held, each.heldAt] = [each.target, now];
  if (peak > CLIP_DB) each.clippedAt = now;
  const clips = now - each.clippedAt < CLIP_S;
  if (now - each.saidAt < SAID_EVERY_S && !clips) return;
  each.saidAt = now;
  const text = clips ? "clip" : each.held <= FLOOR_DB ? "silent" : `${Math.round(each.held)} dB`;
  say(each.text, text.replace("-", "−"));
  each.text.toggleAttribute("data-clip", clips);
  each.canvas.setAttribute("aria-valuenow", Math.round(each.held));
  each.canvas.setAttribute("aria-valuetext", text);
}

on("meters", (data) => {
  const now = performance.now() / 1000;
  hear(meters.in, data.input_peak_db, now);
  hear(meters.out, data.output_peak_db, now);
  const gate = session.state.gate_db;
  const isOff = gate === undefined || gate <= FLOOR_DB;
  const shut = data.gate_gain_db < GATE_SHUT_DB;
  say(byId("gate-text"), isOff ? "Gate off" : `Gate at ${Math.round(gate)} dB, ${shut ? "closed" : "open"}`.replace("-", "−"));
  byId("power").style.setProperty("--level", Math.max(0, 1 + (data.output_peak_db ?? -100) / 50).toFixed(3));
  if (!running) {
    running = true;
    last = now;
    requestAnimationFrame(paint);
  }
});

function paint(time) {
  const now = time / 1000;
  const fall = FALL_DB_S * Math.max(now - last, 0);
  last = now;
  let moves = false;
  for (const [name, each] of Object.entries(meters)) {
    each.level = Math.max(each.target, each.level - fall);
    if (now - each.heldAt > HOLD_S) each.held = Math.max(each.level, each.held - fall);
    moves ||= each.level > FLOOR_DB || each.held > FLOOR_DB;
    draw(each, name === "in" ? session.state.gate_db : undefined, now);
  }
  running = moves;
  if (moves) requestAnimationFrame(paint);
}

function draw({ canvas, level, held, clippedAt }, gate, now) {
  const [context, width, height] = fitted(canvas);
  const x = (db) => ((Math.min(Math.max(db, FLOOR_DB), 0) - FLOOR_DB) / -FLOOR_DB) * width;
  const bar = height - 8;
  context.save();
  context.beginPath();
  context.roundRect ? context.roundRect(0, 0, width, bar, 5) : context.rect(0, 0, width, bar);
  context.clip();
  context.fillStyle = colours.raised;
  context.fillRect(0, 0, width, bar);
  const paint = context.createLinearGradient(0, 0, width, 0);
  paint.addColorStop(0, colours.accent);
  paint.addColorStop(1 + LOUD_DB / -FLOOR_DB, colours.accent);
  paint.addColorStop(1 - 4 / -FLOOR_DB, colours.warn);
  paint.addColorStop(1, colours.bad);
  context.fillStyle = paint;
  context.fillRect(0, 0, x(level), bar);
  if (held > FLOOR_DB) context.fillRect(x(held) - 2, 0, 2, bar);
  if (now - clippedAt < CLIP_S) {
    context.fillStyle = colours.bad;
    context.fillRect(width - 6, 0, 6, bar);
  }
  context.restore();
  context.fillStyle = colours.line;
  for (let db = FLOOR_DB; db <= 0; db += 12) context.fillRect(Math.min(x(db), width - 1), bar + 2, 1, 4);
  if (gate > FLOOR_DB) {
    context.fillStyle = colours.text;
    context.fillRect(x(gate) - 1, 0, 2, bar + 6);
  }
}

/** Nothing is measured any more. */
function fall() {
  for (const each of Object.values(meters)) each.target = FLOOR_DB;
}

function recolour() {
  colours = pageColours();
  for (const [name, each] of Object.entries(meters)) draw(each, name === "in" ? session.state.gate_db : undefined, 0);
}
addEventListener("altervox-theme", recolour);
addEventListener("resize", recolour);
on("link", () => {
  recolour();
  if (!link.hasAccess) fall();
});
on("state", (data) => {
  if (!data || "voice" in data || "sounding" in data || "gate_db" in data) recolour();
  if (session.state.session !== "running") fall();
});
