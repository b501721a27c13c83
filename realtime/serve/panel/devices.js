// Microphone, output and monitor, and under which name other programs find the voice.

import { byId, el, say } from "./dom.js";
import { allow, command, link, on, session } from "./session.js";

const NOWHERE = "";
const fields = {
  input: { select: byId("device-input"), state: "input_device" },
  output: { select: byId("device-output"), state: "output_device" },
  monitor: { select: byId("device-monitor"), state: "monitor_device" },
};
const picked = {}; // what a person picked and has not applied yet

const listed = (kind) => session.devices[kind === "input" ? "inputs" : "outputs"] ?? [];
const isOff = () => ["stopped", "failed", undefined].includes(session.state.session);
const canStart = () => session.state.can_start !== false;

for (const [kind, { select }] of Object.entries(fields)) {
  select.onchange = () => {
    picked[kind] = select.value;
    showListening();
  };
  select.onblur = render;
  allow(select, "admin", canStart);
}
allow(byId("apply"), "admin", () => canStart() && session.state.session !== "starting");

/** Start the session with the devices that were picked; with `all` that the page shows, if that is asked for. */
export async function start(all = false) {
  const shown = Object.fromEntries(Object.entries(fields).map(([kind, { select }]) => [kind, select.value]));
  const result = await command("start", all ? shown : picked);
  if (result !== undefined) for (const kind of Object.keys(picked)) delete picked[kind];
}

byId("devices").onsubmit = (event) => {
  event.preventDefault();
  start(true);
};

function render() {
  for (const [kind, { select, state }] of Object.entries(fields)) {
    if (document.activeElement === select && select.options.length) continue; // a person is choosing
    const names = listed(kind).filter((device) => kind !== "monitor" || !device.is_cable).map((device) => device.name);
    const current = session.state[state] ?? "";
    const usual = kind === "monitor" ? NOWHERE : listed(kind).find((device) => (kind === "output" ? device.is_cable : device.is_default))?.name;
    const options = new Set([...(kind === "monitor" ? [NOWHERE] : []), ...(current ? [current] : []), ...names]);
    select.replaceChildren(...[...options].map((name) => el("option", { value: name }, name || "nowhere")));
    select.value = picked[kind] ?? (current || (usual ?? names[0] ?? ""));
  }
  say(byId("apply"), isOff() ? "Start with these" : "Restart with these");
  showListening();
}

function showListening() {
  const output = listed("output").find((device) => device.name === fields.output.select.value);
  const line = byId("listening");
  if (output?.listening_name) {
    line.replaceChildren("In Discord, OBS or a game, choose this microphone: ", el("b", {}, output.listening_name));
  } else if (output) {
    say(line, "This output is no virtual cable: the voice is heard there, and other programs do not get it.");
  } else say(line, "\u00a0");
}

on("devices", render);
on("state", (data) => {
  if (!data || ["session", "input_device", "output_device", "monitor_device"].some((key) => key in data)) render();
});
