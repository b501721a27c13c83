// The section "Microphone of this browser".

import { byId, el, kept, say, sentence } from "./dom.js";
import { listDevices, Microphone } from "./microphone.js";
import { showParts } from "./parts.js";
import { CLIENT, link, may, on, session } from "./session.js";

const BLOCKS_MS = [20, 40, 100, 240, 500];
const FLOOR_DB = -48;
const PAINT_EVERY_MS = 400; // levels are painted whenever they come, numbers that people read are not
const SYSTEM = "the system's default";
const chosen = { voice: "", pitch: 0, block: 20, input: "", output: "", isProcessed: false, ...kept.get("microphone", {}) };
const section = byId("browser-audio");
let failure = "";
let isBusy = false;
let paintedAt = 0;

export const microphone = new Microphone(render);

// --- Start and stop ------------------------------------------------------------------------------------------------

const isOn = () => microphone.context !== null;

function settings() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const open = { block_ms: chosen.block, pitch: chosen.pitch, ...(chosen.voice ? { voice: chosen.voice } : {}) };
  return { url: `${scheme}//${location.host}/v1`, token: kept.get("token", ""), client: `${CLIENT}, microphone`.slice(0, 60), open };
}

async function power() {
  isBusy = true;
  failure = "";
  render();
  try {
    await (isOn() ? microphone.stop() : microphone.start(settings(), chosen));
  } catch (error) {
    failure = said(error);
  }
  isBusy = false;
  showDevices(); // which have names now
  render();
}

function said({ name, message }) {
  if (name === "NotAllowedError") return "The browser does not let this page use the microphone: allow it beside the address.";
  if (name === "NotFoundError" || name === "OverconstrainedError") return "The microphone that was chosen is not there.";
  if (name === "NotReadableError") return "The microphone cannot be opened: another program may hold it.";
  return sentence(message);
}

/** Take over a choice, and remember it. */
function choose(changes, apply = () => {}) {
  Object.assign(chosen, changes);
  kept.set("microphone", chosen);
  failure = "";
  if (isOn()) Promise.resolve(apply()).catch((error) => (failure = said(error))).then(render);
  render();
}

byId("mic-power").onclick = power;
byId("mic-mute").onclick = ({ currentTarget: button }) => {
  const isMuted = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", isMuted);
  microphone.mute(isMuted);
};
byId("mic-form").onsubmit = (event) => event.preventDefault();
byId("mic-voice").onchange = ({ target: { value: voice } }) => choose({ voice }, () => microphone.set({ voice }));
byId("mic-pitch").onchange = ({ target }) => {
  if (!target.checkValidity() || target.value === "") target.value = chosen.pitch;
  const pitch = Number(target.value);
  choose({ pitch }, () => microphone.set({ pitch }));
};
byId("mic-block").onchange = ({ target: { value } }) => choose({ block: Number(value) });
byId("mic-input").onchange = ({ target: { value: input } }) => choose({ input }, () => microphone.useInput(chosen));
byId("mic-output").onchange = ({ target: { value: output } }) => choose({ output }, () => microphone.useOutput(output));
byId("mic-processed").onchange = ({ target: { checked: isProcessed } }) => choose({ isProcessed }, () => microphone.useInput(chosen));

// --- What is shown -------------------------------------------------------------------------------------------------

function options(select, entries, value) {
  const isSame = entries.length === select.options.length && entries.every(([id, name], i) => select.options[i].value === id && select.options[i].text === name);
  if (!isSame) select.replaceChildren(...entries.map(([id, name]) => el("option", { value: id }, name)));
  select.value = entries.some(([id]) => id === value) ? value : entries[0]?.[0];
}

async function showDevices() {
  const { inputs, outputs } = await listDevices();
  for (const [id, devices] of [["input", inputs], ["output", outputs]]) {
    const named = devices.filter(({ deviceId }) => deviceId !== "default").map(({ deviceId, label }) => [deviceId, label || "another device"]);
    options(byId(`mic-${id}`), [["", SYSTEM], ...named], chosen[id]);
  }
  byId("mic-output-label").hidden = outputs.length === 0;
}

/** Level, sentence. */
function status() {
  if (failure) return ["bad", failure];
  if (!isOn()) return ["off", link.hasAccess && !may("audio") ? "The access of this page does not include audio." : ""];
  if (microphone.isLost) return ["bad", "The microphone is gone. Plug it in again or choose another."];
  if (microphone.context.state !== "running" && !isBusy) return ["warn", "The browser has paused the sound: press Stop and Start."];
  const { state, reason, told, facts } = microphone.link ?? { state: "connecting" };
  if (state === "ended") return ["bad", sentence(reason) || "The session has ended."];
  if (state === "lost") return ["bad", "The connection is lost; this page keeps trying."];
  if (state === "connecting") return ["warn", "Connecting…"];
  if (microphone.refused) return ["warn", sentence(microphone.refused)];
  if (told.cause) return ["warn", sentence(told.cause)];
  if (told.loading) return ["warn", `${told.voice} is warming up.`];
  return ["ok", `${told.sounding || facts.voice} is heard.`];
}

function parts() {
  const { input, output } = microphone.deviceMs;
  const { facts, delays } = microphone.link;
  return [
    ["microphone", input, 250],
    ["block", facts.block_ms, 200],
    ["voice", facts.latency_ms - facts.block_ms, 155],
    ["network, server", Math.max(0, delays.p50 - facts.latency_ms), 95],
    ["jitter buffer", microphone.terminal.depthMs, 50],
    ["headphones", output, 300],
  ].filter(([, ms]) => ms > 0);
}

function losses() {
  const { counts, facts, told, delays } = microphone.link;
  const ms = (samples) => `${Math.round((1000 * samples) / facts.rate)} ms`;
  const lost = [
    [counts.notSent, `${ms(counts.notSent)} not sent`],
    [counts.notReceived, `${ms(counts.notReceived)} not received`],
    [told.late_blocks ?? 0, `${told.late_blocks} late blocks`],
    [microphone.terminal.underruns, `${microphone.terminal.underruns} underruns`],
    [microphone.terminal.dropped, `${ms(microphone.terminal.dropped)} skipped`],
    [counts.resumed, `${counts.resumed} times connected again`],
  ].filter(([count]) => count > 0);
  const there = `There and back in ${Math.round(delays.p50)} ms, 99 % within ${Math.round(delays.p99)} ms.`;
  return `${there} ${lost.length ? `Lost: ${lost.map(([, text]) => text).join(", ")}.` : "Nothing was lost."}`;
}

const scale = (peak) => Math.min(Math.max(1 - (20 * Math.log10(peak + 1e-9)) / FLOOR_DB, 0), 1).toFixed(3);

function render() {
  say(byId("mic-power"), isOn() ? "Stop" : "Start");
  byId("mic-power").disabled = !isOn() && !may("audio");
  byId("mic-power").setAttribute("aria-busy", isBusy);
  const [level, text] = status();
  byId("mic-light").dataset.level = level;
  say(byId("mic-text"), text);
  const { terminal, link: reported } = microphone;
  byId("mic-in").style.transform = `scaleX(${scale(terminal?.inputPeak ?? 0)})`;
  byId("mic-out").style.transform = `scaleX(${scale(terminal?.outputPeak ?? 0)})`;
  const isLive = isOn() && terminal !== null && reported?.state === "live" && reported.delays.count > 0;
  byId("mic-numbers").hidden = !isLive;
  byId("mic-ms").closest("p").hidden = !isLive;
  if (!isLive || performance.now() - paintedAt < PAINT_EVERY_MS) return;
  paintedAt = performance.now();
  const all = parts();
  say(byId("mic-ms"), String(Math.round(all.reduce((sum, [, ms]) => sum + ms, 0))));
  showParts(byId("mic-parts"), byId("mic-parts-list"), all);
  say(byId("mic-losses"), losses());
}

function showVoices() {
  options(byId("mic-voice"), [["", "that of the server"], ...session.voices.map(({ name }) => [name, name])], chosen.voice);
}

function tls() {
  const name = /^[\d.]+$|:/.test(location.hostname) ? `IP:${location.hostname.replace(/[[\]]/g, "")}` : `DNS:${location.hostname}`;
  return [
    "openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=altervox \\",
    `  -addext subjectAltName=${name} -keyout key.pem -out cert.pem`,
    "altervox serve --bind 0.0.0.0 --token-file remote.token --cert cert.pem --key key.pem",
  ].join("\n");
}

byId("mic-insecure").hidden = isSecureContext;
byId("mic-part").hidden = !isSecureContext;
say(byId("mic-tls"), tls());
options(byId("mic-block"), BLOCKS_MS.map((ms) => [String(ms), `${ms} ms`]), String(chosen.block));
byId("mic-pitch").value = chosen.pitch;
byId("mic-processed").checked = chosen.isProcessed === true;
section.open = kept.get("browser-audio", false);
section.addEventListener("toggle", () => kept.set("browser-audio", section.open));
navigator.mediaDevices?.addEventListener("devicechange", showDevices);
on("voices", showVoices);
on("link", () => {
  if (link.hasAccess && isSecureContext) showDevices();
  render();
});
render();
