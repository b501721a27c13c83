// The second voice of a mix: two neural voices sound as one, "a+b" by name.

import { byId, el } from "./dom.js";
import { allow, command, on, session } from "./session.js";

const box = byId("second-box");
const second = byId("second");

function offer() {
  const [first, other = ""] = (session.state.voice ?? "").split("+");
  const names = session.voices.filter((voice) => voice.kind === "neural").map((voice) => voice.name);
  box.hidden = !names.includes(first) || names.length < 2;
  byId("mixing").hidden = !other;
  if (document.activeElement === second && second.value === other) return; // its list may be open
  const others = names.filter((name) => name !== first);
  second.replaceChildren(el("option", { value: "" }, "none"), ...others.map((name) => el("option", { value: name }, name)));
  second.value = other;
}

second.onchange = () => {
  const [first] = session.state.voice.split("+");
  command("voice", { name: second.value ? `${first}+${second.value}` : first });
};
allow(second, "control");
on("state voices", offer);
