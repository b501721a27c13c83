// The worker between the audio thread and the network: neither waits for what the page draws.

import { AudioLink } from "./audio_link.js";
import { Ring } from "./ring.js";

const REPORT_EVERY_MS = 250;
const POLLED_EVERY_MS = 4; // where a worker cannot wait for memory to change

let link = null;

function report() {
  const { state, reason, facts, told, counts } = link;
  postMessage({ state, reason, facts, told, counts, delays: link.delays() });
}

/** Send each whole frame of a ring as soon as it is there. */
async function send(ring, frame) {
  let lost = 0;
  while (link.state !== "ended") {
    const { written } = ring;
    const samples = new Float32Array(frame);
    if (ring.read(samples)) {
      link.send(samples, ring.lost - lost);
      lost = ring.lost;
    } else if (Atomics.waitAsync) {
      const { async: waits, value } = Atomics.waitAsync(ring.counters, 0, written, REPORT_EVERY_MS);
      if (waits) await value;
    } else await new Promise((resolve) => setTimeout(resolve, POLLED_EVERY_MS));
  }
}

onmessage = async ({ data: { start, set, stop } }) => {
  if (start) {
    const { settings, frame, input, output, port } = start;
    const ring = output && new Ring(output);
    const heard = (samples) => (ring ? ring.write(samples) : port.postMessage(samples, [samples.buffer]));
    link = new AudioLink(settings, heard, report);
    setInterval(report, REPORT_EVERY_MS);
    if (port) port.onmessage = ({ data }) => link.send(data);
    else send(new Ring(input), frame);
  }
  if (set) postMessage({ refused: await link.set(set) });
  if (stop) {
    link.close();
    setTimeout(close, 100); // what is queued for the network has gone by then
  }
};
