// What one press can do: for button addresses, and for keys of MIDI devices.

import { session } from "./session.js";

const VIEWER_S = 30;
const ALWAYS = {
  "Mute on or off": ["mute", "toggle", { name: "mute" }],
  "Bypass on or off": ["bypass", "toggle", { name: "bypass" }],
  "Hear myself on or off": ["hear-myself", "toggle", { name: "monitor" }],
  "Pitch up": ["pitch-up", "step", { name: "pitch", by: 1 }],
  "Pitch down": ["pitch-down", "step", { name: "pitch", by: -1 }],
  "Next voice": ["next-voice", "voice", { step: 1 }],
  "Random voice": ["random-voice", "voice", { random: true }],
};
const slug = (name) => name.normalize("NFKD").replace(/[^\w]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40) || "voice";

/** [label for an address, command, its fields] by what the user reads. */
export function actions() {
  const voices = session.voices.map(({ name }) => [
    [`Voice ${name}`, [slug(name), "voice", { name }]],
    [`Voice ${name} for ${VIEWER_S} s`, [`${slug(name)}-${VIEWER_S}s`, "hold", { seconds: VIEWER_S, voice: name }]],
  ]);
  return new Map([...Object.entries(ALWAYS), ...voices.flat()]);
}
