// The folded part: F0 traces, latency by parts, block times, log.

import { byId, el, kept, note, say } from "./dom.js";
import { fitted, pageColours } from "./meters.js";
import { showParts } from "./parts.js";
import { allow, command, on, session } from "./session.js";

const TRACE_S = 10;
const LOWEST_HZ = 60;
const HIGHEST_HZ = 800;
const LINES_HZ = [100, 200, 400];
const LABELS_PX = 46;
const PARTS = { device_in: "device in", block: "block", voice: "voice", resamplers: "resamplers", prefill: "prefill", device_out: "device out", devices: "devices" };
const HUES = { device_in: 250, block: 200, voice: 155, resamplers: 95, prefill: 50, device_out: 300, devices: 270 };
const details = byId("details");
const trace = []; // [seconds, input Hz, output Hz]
let colours = {};

on("meters", ({ f0_hz: input, output_f0_hz: output }) => {
  const now = performance.now() / 1000;
  trace.push([now, input, output]);
  while (trace[0][0] < now - TRACE_S) trace.shift();
  if (details.open) requestAnimationFrame(drawTrace);
});

function drawTrace() {
  const [context, width, height] = fitted(byId("f0"));
  const end = trace.at(-1)?.[0] ?? 0;
  const x = (seconds) => LABELS_PX + (width - LABELS_PX) * (1 - (end - seconds) / TRACE_S);
  const y = (hz) => height - 4 - ((height - 8) * Math.log(hz / LOWEST_HZ)) / Math.log(HIGHEST_HZ / LOWEST_HZ);
  context.font = "11px Inter, system-ui, sans-serif";
  for (const hz of LINES_HZ) {
    context.fillStyle = colours.line;
    context.fillRect(0, Math.round(y(hz)), width, 1);
    context.fillStyle = colours.soft;
    context.fillText(`${hz} Hz`, 2, y(hz) - 4);
  }
  context.lineWidth = 2.5;
  context.lineCap = context.lineJoin = "round";
  for (const [column, colour] of [[1, colours.soft], [2, colours.accent]]) {
    context.strokeStyle = colour;
    context.beginPath();
    let isOpen = false;
    for (const point of trace) {
      const hz = point[column];
      if (hz > LOWEST_HZ && hz < HIGHEST_HZ) {
        const at = [x(point[0]), y(hz)];
        isOpen ? context.lineTo(...at) : context.moveTo(...at);
        if (!isOpen) context.lineTo(at[0] + 0.1, at[1]);
      }
      isOpen = hz > LOWEST_HZ && hz < HIGHEST_HZ;
    }
    context.stroke();
  }
}

function drawHistogram() {
  const [context, width, height] = fitted(byId("histogram"));
  const counts = session.stats.block_histogram ?? [];
  if (!counts.length) return;
  const most = Math.max(...counts, 1);
  const bar = width / counts.length;
  const floor = height - 18;
  counts.forEach((count, index) => {
    const tall = count ? Math.max((floor * Math.sqrt(count)) / Math.sqrt(most), 2) : 0; // the rare slow ones stay visible
    context.fillStyle = index >= counts.length - 1 ? colours.bad : index >= 0.8 * counts.length ? colours.warn : colours.accent;
    context.fillRect(index * bar + 1, floor - tall, bar - 2, tall);
  });
  context.fillStyle = colours.line;
  context.fillRect(0, floor, width, 1);
  context.fillStyle = colours.soft;
  context.font = "11px Inter, system-ui, sans-serif";
  const deadline = session.stats.deadline_ms ?? session.stats.block_ms ?? session.state.block_ms ?? 0;
  [0, 0.5, 1].forEach((part) => {
    context.textAlign = part === 0 ? "left" : part === 1 ? "right" : "center";
    context.fillText(`${Math.round(part * deadline)} ms`, part * width, height - 4);
  });
}

function drawParts() {
  const latency = session.stats.latency_ms ?? {};
  const hidden = latency.is_measured ? ["device_in", "device_out"] : ["devices"];
  const parts = Object.keys(PARTS).filter((name) => !hidden.includes(name) && latency[name] > 0);
  const order = latency.is_measured ? ["devices", ...parts.filter((name) => name !== "devices")] : parts;
  const shown = order.filter((name) => latency[name] > 0);
  showParts(byId("parts"), byId("parts-list"), shown.map((name) => [PARTS[name], latency[name], HUES[name]]));
  const grown = session.stats.prefill_grown_ms >= 1 ? ` Prefill was raised by ${Math.round(session.stats.prefill_grown_ms)} ms after underruns.` : "";
  const kind = latency.is_measured ? "Latency of the devices: measured." : "Latency of the devices: as the sound system reports it.";
  say(byId("measured"), shown.length ? kind + grown : "");
}

function drawBlocks() {
  const { blocks, p50_ms: p50 = 0, p99_ms: p99 = 0, max_ms: max = 0, drift_ppm: drift = 0 } = session.stats;
  if (!blocks) return say(byId("block-text"), "");
  say(byId("block-text"), `p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)}, max ${max.toFixed(1)} ms · clock drift ${drift.toFixed(0)} ppm`);
}

function drawAll() {
  if (!details.open) return;
  colours = pageColours();
  drawTrace();
  drawHistogram();
  drawParts();
  drawBlocks();
}

const measure = allow(byId("measure"), "admin", () => ["stopped", "failed"].includes(session.state.session) && session.state.can_start !== false);
measure.title = "Needs a stopped session, and a microphone that hears the output";
measure.onclick = async () => {
  measure.textContent = "Measuring…";
  const found = await command("measure");
  measure.textContent = "Measure";
  if (found) note("Measured. The next start uses it.");
};

function showLog() {
  const box = byId("log");
  const isAtEnd = box.scrollTop + box.clientHeight > box.scrollHeight - 8;
  const time = (at) => new Date(1000 * at).toLocaleTimeString([], { hour12: false });
  box.replaceChildren(...session.log.map(({ at, by, text }) => el("li", {}, el("time", {}, time(at)), by ? `${by}: ${text}` : text)));
  if (isAtEnd) box.scrollTop = box.scrollHeight;
}

details.open = kept.get("details", false);
details.addEventListener("toggle", () => {
  kept.set("details", details.open);
  drawAll();
});
addEventListener("resize", drawAll);
addEventListener("altervox-theme", drawAll);
on("stats", drawAll);
on("state", (data) => (!data || "sounding" in data) && drawAll());
on("log", showLog);
