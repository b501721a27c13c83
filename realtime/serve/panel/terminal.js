// In the audio thread: the microphone goes into one ring, and what is heard comes out of another through the jitter buffer.

import { JitterBuffer } from "./jitter.js";
import { Ring } from "./ring.js";

const HELD_S = 1; // of samples in each ring
const REPORTS_PER_S = 8;

class Terminal extends AudioWorkletProcessor {
  #input;
  #output;
  #jitter;
  #frame;
  #isShared;
  #notified = 0; // samples that the worker knows of
  #port; // to the worker, where memory cannot be shared
  #silence = new Float32Array(0);
  #untilReport = 0;
  #report = { depthMs: 0, underruns: 0, dropped: 0, inputPeak: 0, outputPeak: 0 };

  /** Of processorOptions, frame is what is sent at once, and delivery what arrives at once; input and output are shared. */
  constructor({ processorOptions: { frame, delivery, input, output } }) {
    super();
    this.#frame = frame;
    this.#isShared = Boolean(input);
    this.#input = new Ring(input ?? Ring.memory(HELD_S * sampleRate));
    this.#output = new Ring(output ?? Ring.memory(HELD_S * sampleRate));
    this.#jitter = new JitterBuffer(this.#output, sampleRate, delivery);
    this.port.onmessage = ({ data: port }) => {
      this.#port = port;
      port.onmessage = ({ data }) => this.#output.write(data);
    };
  }

  process([[channel]], [[out]]) {
    if (this.#silence.length !== out.length) this.#silence = new Float32Array(out.length);
    const spoken = channel ?? this.#silence; // a microphone that is gone delivers nothing, and time goes on
    this.#input.write(spoken);
    this.#hand();
    this.#jitter.pull(out);
    this.#tell(spoken, out);
    return true;
  }

  /** Wake the worker for each whole frame, or send it there. */
  #hand() {
    const { written } = this.#input;
    if (((written - this.#notified) | 0) < this.#frame) return;
    this.#notified += this.#frame;
    if (this.#isShared) Atomics.notify(this.#input.counters, 0);
    else if (this.#port) {
      const samples = new Float32Array(this.#frame);
      this.#input.read(samples);
      this.#port.postMessage(samples, [samples.buffer]);
    } else this.#input.skip(this.#frame);
  }

  #tell(spoken, out) {
    const report = this.#report;
    for (let i = 0; i < out.length; i += 1) {
      report.inputPeak = Math.max(report.inputPeak, Math.abs(spoken[i]));
      report.outputPeak = Math.max(report.outputPeak, Math.abs(out[i]));
    }
    this.#untilReport -= out.length;
    if (this.#untilReport > 0) return;
    this.#untilReport += sampleRate / REPORTS_PER_S;
    report.depthMs = this.#jitter.depthMs;
    report.underruns = this.#jitter.underruns;
    report.dropped = this.#jitter.dropped;
    this.port.postMessage(report);
    report.inputPeak = report.outputPeak = 0;
  }
}

registerProcessor("altervox-terminal", Terminal);
