// ?view=meter, to lay over a stream: who is heard, and how loudly.

import { byId, say } from "./dom.js";
import { link, on, session } from "./session.js";
import { portray } from "./voices.js";

const FLOOR_DB = -48;
let shown = ""; // voice and whether it has a picture

function paint() {
  const { state } = session;
  const name = state.sounding || state.voice || "";
  byId("overlay").hidden = !link.hasAccess || state.session !== "running";
  say(byId("overlay-name"), state.bypass ? "Own voice" : name);
  say(byId("overlay-note"), state.mute ? "muted" : "");
  const hasPicture = session.voices.some((voice) => voice.name === name && voice.picture);
  if (shown === `${hasPicture} ${name}`) return;
  shown = `${hasPicture} ${name}`;
  portray(byId("overlay-art"), name, hasPicture);
}

if (document.documentElement.dataset.view === "meter") {
  on("state link voices", paint);
  on("meters", ({ output_peak_db: peak = FLOOR_DB }) => {
    byId("overlay-bar").style.transform = `scaleX(${Math.min(Math.max(1 - peak / FLOOR_DB, 0), 1).toFixed(3)})`;
  });
}
