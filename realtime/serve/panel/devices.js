// Microphone, output and monitor, and under which name other programs find the voice.

import { byId, el, say } from "./dom.js";
import { allow, command, link, on, session } from "./session.js";

// `unset`: what a start uses when no device is named.
const fields = {
  input: { select: byId("device-input"), state: "input_device", unset: "the system's default" },
  output: { select: byId("device-output"), state: "output_device", unset: "the virtual cable" },
  monitor: { select: byId("device-monitor"), state: "monitor_device", unset: "nowhere" },
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
  allow(select, "admin", canStart);
}
allow(byId("apply"), "admin", () => canStart() && session.state.session !== "starting");

/** Start the session with the devices that were picked; with all that the page shows, if that is asked for. */
export async function start(all = false) {
  const shown = Object.entries(fields).map(([kind, { select }]) => [kind, select.value]);
  const named = (all ? shown : Object.entries(picked)).filter(([kind, name]) => name || kind === "monitor");
  const result = await command("start", Object.fromEntries(named));
  if (result !== undefined) for (const kind of Object.keys(picked)) delete picked[kind];
}

byId("devices").onsubmit = (event) => {
  event.preventDefault();
  start(true);
};

const relist = allow(byId("relist"), "view");
relist.onclick = async () => {
  relist.setAttribute("aria-busy", true);
  session.devices = (await command("devices")) ?? session.devices;
  relist.removeAttribute("aria-busy");
  render();
};

function render() {
  for (const [kind, { select, state, unset }] of Object.entries(fields)) {
    const names = listed(kind).map((device) => device.name);
    const current = session.state[state] ?? "";
    const options = [...new Set([...(current && kind !== "monitor" ? [current] : ["", current]), ...names])];
    const isNew = options.length !== select.options.length || options.some((name, i) => select.options[i].value !== name);
    // A list that is open closes when its options are replaced.
    if (isNew) select.replaceChildren(...options.map((name) => el("option", { value: name }, name || unset)));
    select.value = picked[kind] ?? current;
  }
  say(byId("apply"), isOff() ? "Start with these" : "Restart with these");
  showListening();
}

function showListening() {
  const named = fields.output.select.value;
  const cables = listed("output").filter((device) => device.is_cable);
  const usual = cables.find((device) => device.name.startsWith("altervox")) ?? (cables.length === 1 ? cables[0] : undefined);
  const output = named ? listed("output").find((device) => device.name === named) : usual;
  const line = byId("listening");
  if (output?.listening_name) {
    line.replaceChildren("In Discord, OBS or a game, choose this microphone: ", el("b", {}, output.listening_name));
  } else if (output?.is_cable) {
    say(line, "In Discord, OBS or a game, choose the other end of this cable as the microphone.");
  } else if (output) {
    say(line, "This output is no virtual cable: the voice is heard there, and other programs do not get it.");
  } else if (listed("output").length && !named) {
    const none = "There is no virtual cable. Run `altervox cable status` to learn how to get one.";
    say(line, cables.length ? "There are several virtual cables: choose the one to play into." : none);
  } else say(line, "\u00a0");
}

on("devices", render);
on("state", (data) => {
  if (!data || ["session", "input_device", "output_device", "monitor_device"].some((key) => key in data)) render();
});
