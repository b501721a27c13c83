// This browser as microphone and headphones of a session of its own: devices, audio thread and worker.

import { Ring } from "./ring.js";

const FRAME_S = 0.02;
const HELD_S = 1; // of samples between the threads
const HIGHEST_RATE = 48000; // that the server takes

/** Devices that can be chosen; without names until the page may use the microphone. */
export async function listDevices() {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const of = (kind) => all.filter((device) => device.kind === kind && device.deviceId);
  return { inputs: of("audioinput"), outputs: canChooseOutput ? of("audiooutput") : [] };
}
const canChooseOutput = "AudioContext" in globalThis && "setSinkId" in AudioContext.prototype;

/** From `start` to `stop`; `changed` is called when one of its attributes has changed. */
export class Microphone {
  link = null; // what the worker reports: state, reason, facts, told, counts, delays
  terminal = null; // what the audio thread reports: depthMs, underruns, dropped, inputPeak, outputPeak
  context = null;
  source = null; // nodes, of microphone and of both rings
  node = null;
  refused = ""; // why the last change of voice or pitch was not carried out
  #changed;
  #stream = null;
  #worker = null;
  #isMuted = false;
  #awake = null;

  constructor(changed) {
    this.#changed = changed;
  }

  /**
   * Begin. Throws what the browser says where there is no microphone, or it may not be used.
   * @param settings {url, token, client, open: fields of audio.open without rate and format}
   * @param devices {input, output: IDs, empty for the system's; isProcessed: echo cancellation and so on}
   */
  async start(settings, devices) {
    this.context = contextOf();
    try {
      await this.context.audioWorklet.addModule("terminal.js");
      await this.useOutput(devices.output);
      this.#connect(settings);
      await this.useInput(devices);
      await this.context.resume();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#awake = await navigator.wakeLock?.request("screen").catch(() => null); // a phone that sleeps is silent
  }

  /** Another microphone, without an end of the session. */
  async useInput({ input, isProcessed }) {
    const processing = { echoCancellation: isProcessed, noiseSuppression: isProcessed, autoGainControl: isProcessed };
    const audio = { ...processing, ...(input ? { deviceId: { exact: input } } : {}) };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    this.source?.disconnect();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    if (!this.context) {
      for (const track of stream.getTracks()) track.stop(); // it was stopped meanwhile
      return;
    }
    this.#stream = stream;
    this.source = this.context.createMediaStreamSource(stream);
    this.source.connect(this.node);
    for (const track of stream.getTracks()) track.onended = () => this.#changed();
    this.mute(this.#isMuted);
  }

  async useOutput(id) {
    if (canChooseOutput) await this.context?.setSinkId(id);
  }

  mute(isMuted) {
    this.#isMuted = isMuted;
    for (const track of this.#stream?.getTracks() ?? []) track.enabled = !isMuted;
  }

  set(values) {
    this.#worker?.postMessage({ set: values });
  }

  async stop() {
    const { context } = this;
    this.#worker?.postMessage({ stop: true }); // it ends itself once the server was told
    this.#worker = null;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.context = this.source = this.node = this.terminal = this.link = this.#stream = null;
    this.refused = "";
    this.#awake?.release();
    this.#awake = null;
    await context?.close();
    this.#changed();
  }

  get isLost() {
    return this.#stream?.getTracks().some((track) => track.readyState === "ended") ?? false;
  }

  /** What the devices add, in ms, as far as the browser says it. */
  get deviceMs() {
    const { latency = 0 } = this.#stream?.getTracks()[0]?.getSettings() ?? {};
    const { baseLatency = 0, outputLatency = 0 } = this.context ?? {};
    return { input: 1000 * latency, output: 1000 * (baseLatency + outputLatency) };
  }

  #connect(settings) {
    const { sampleRate: rate } = this.context;
    const frame = Math.round(FRAME_S * rate);
    const delivery = Math.max(frame, Math.round((settings.open.block_ms * rate) / 1000));
    const ends = globalThis.crossOriginIsolated
      ? { input: Ring.memory(HELD_S * rate), output: Ring.memory(HELD_S * rate) }
      : { channel: new MessageChannel() };
    const { channel, ...shared } = ends;
    this.node = new AudioWorkletNode(this.context, "altervox-terminal", {
      outputChannelCount: [1],
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { frame, delivery, ...shared },
    });
    if (channel) this.node.port.postMessage(channel.port1, [channel.port1]);
    this.node.port.onmessage = ({ data }) => {
      this.terminal = data;
      this.#changed();
    };
    this.node.connect(this.context.destination);
    const worker = new Worker("audio_worker.js", { type: "module" });
    this.#worker = worker;
    worker.onmessage = ({ data }) => {
      if (worker !== this.#worker) return;
      if ("refused" in data) this.refused = data.refused;
      else this.link = data;
      this.#changed();
    };
    const open = { ...settings.open, rate, format: "s16" };
    const start = { settings: { ...settings, open }, frame, ...shared, port: channel?.port2 };
    worker.postMessage({ start }, channel ? [channel.port2] : []);
  }
}

/** The devices' own rate, which costs no conversion, or the highest that the server takes. */
function contextOf() {
  const context = new AudioContext({ latencyHint: "interactive" });
  if (context.sampleRate <= HIGHEST_RATE) return context;
  context.close();
  return new AudioContext({ latencyHint: "interactive", sampleRate: HIGHEST_RATE });
}
