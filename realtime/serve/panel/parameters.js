// Sliders and numbers for parameters, made from the ranges that the server's schema gives.

import { el, icon } from "./dom.js";
import { allow, command, isBusy, link, on, session, setSoon } from "./session.js";

export const NAMES = {
  pitch: "Pitch",
  formant: "Formants",
  input_gain_db: "Microphone gain",
  gate_db: "Gate threshold",
  gain_db: "Output gain",
  monitor_gain_db: "Hear-myself gain",
  index_rate: "Index rate",
  protect: "Protect consonants",
  rms_mix: "Loudness of the voice",
  mix: "Second voice",
  speaker: "Speaker",
};
const GROUPS = { tone: ["pitch", "formant"], mixing: ["mix"], gains: ["input_gain_db", "gate_db", "gain_db", "monitor_gain_db"] };
const SWITCHES = ["mute", "bypass", "monitor"];
const MOST_ON_A_SLIDER = 1000;
const OCTAVE = 12;
let made = false;

/** {key: {minimum, maximum, default, type, unit, step, description}}, as the server's schema gives them; empty until it came. */
export const ranges = {};

/** Fetch the ranges once, and build every control from them. */
on("link", async () => {
  if (!link.hasAccess || made) return;
  made = true;
  try {
    const answer = await fetch("/v1/schema.json");
    Object.assign(ranges, (await answer.json()).$defs.parameters.properties);
    const rest = Object.keys(ranges).filter((key) => ![...Object.values(GROUPS).flat(), ...SWITCHES].includes(key));
    for (const [group, keys] of Object.entries({ ...GROUPS, rvc: rest })) {
      const box = document.getElementById(group);
      box.replaceChildren(...keys.filter((key) => ranges[key]).map((key) => parameter(key, ranges[key], group === "tone")));
    }
    suit();
  } catch {
    made = false; // the next connection tries again
  }
});

const rounded = (value) => Math.round(value * 100) / 100;
const signed = (value) => (value < 0 ? `−${-value}` : `+${value}`);

function parameter(key, range, isLarge) {
  const { minimum: low, maximum: high, default: usual, unit = "", type, description = "" } = range;
  const step = range.step || (type === "integer" ? 1 : 0.01);
  const id = `value-${key}`;
  const number = el("input", { id, type: "number", min: low, max: high, step: "any", inputMode: "decimal" });
  const name = NAMES[key] ?? key;
  const label = el("label", { for: id, title: description }, name);
  const reset = el("button", { type: "button", class: "quiet", title: `Reset to ${usual}`, "aria-label": `Reset ${name}` }, icon("reset"));
  reset.onclick = () => command("set", { [key]: usual });
  const slider = high - low <= MOST_ON_A_SLIDER ? el("input", { type: "range", class: "range", min: low, max: high, step }) : null;
  slider?.setAttribute("aria-label", name);
  let isHeld = false;

  const paint = (value) => {
    if (document.activeElement !== number) number.value = rounded(value);
    if (!slider) return;
    slider.value = value;
    slider.setAttribute("aria-valuetext", `${rounded(value)} ${unit}`);
    const part = (x) => (100 * (Math.min(Math.max(x, low), high) - low)) / (high - low);
    const origin = low < 0 && high > 0 ? 0 : low;
    slider.style.setProperty("--from", `${part(Math.min(origin, value))}%`);
    slider.style.setProperty("--to", `${part(Math.max(origin, value))}%`);
  };
  const show = () => {
    const value = session.state[key];
    if (typeof value === "number" && !isHeld && !isBusy(key)) paint(value);
  };
  number.onchange = async () => {
    const value = Number(number.value);
    const result = number.value === "" ? undefined : await command("set", { [key]: type === "integer" ? Math.round(value) : value });
    number.value = rounded(result?.[key] ?? session.state[key]);
  };
  number.onblur = show;
  if (slider) {
    slider.oninput = () => {
      paint(Number(slider.value));
      setSoon(key, Number(slider.value));
    };
    slider.onpointerdown = () => (isHeld = true);
    for (const event of ["pointerup", "pointercancel", "blur"]) {
      addEventListener(event, () => {
        if (!isHeld) return;
        isHeld = false;
        show();
      });
    }
  }
  on("state", show);
  for (const control of [number, reset, slider].filter(Boolean)) allow(control, "control");
  show();

  const by = (delta) => {
    const text = signed(delta);
    const button = el("button", { type: "button", "aria-label": `${name} ${text} ${unit}` }, text);
    button.onclick = () => command("step", { name: key, by: delta });
    return allow(button, "control");
  };
  if (!isLarge) {
    const head = el("div", { class: "param-head" }, label, number, el("span", {}, unit), reset);
    return el("div", { class: "param small" }, head, ...(slider ? [slider] : []));
  }
  const octaves = high >= 2 * OCTAVE;
  const downs = octaves ? [-OCTAVE, -step] : [-step];
  const value = el("div", { class: "value" }, number);
  const steps = el("div", { class: "steps" }, ...downs.map(by), value, ...downs.map((d) => by(-d)).reverse());
  const head = el("div", { class: "param-head" }, label, el("span", { class: "caption" }, unit), reset);
  return el("div", { class: "param" }, head, steps, slider);
}

/** Hide what does not act on the present voice. */
function suit() {
  const kind = session.voices.find((voice) => voice.name === session.state.voice)?.kind;
  document.getElementById("rvc-note").hidden = kind === undefined || kind === "rvc";
}
on("state voices", suit);
