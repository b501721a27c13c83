// An audio session on a WebSocket of its own: frames out and in, and the same session again after the connection broke.

import { decode, encode, FLAGS, HEADER_BYTES } from "./frames.js";

const HELLO_WITHIN_MS = 5000;
const ANSWER_WITHIN_MS = 10000;
const OPEN_WITHIN_MS = 90000; // a voice may have to load first
const SILENT_FOR_MS = 2500; // then the connection is gone
const CHECKED_EVERY_MS = 500;
const RESUMED_WITHIN_MS = 55000; // the server forgets the session after 60 s
const PAUSES_MS = [0, 250, 500, 1000, 2000, 4000];
const MOST_WAITING = 3; // frames: what the network has not taken by then comes too late
const NOTED = 512; // frames whose time of sending is known, and deliveries whose delay is
const FINAL = [4400, 4401, 4403, 4409, 4410, 4413];
const MOST_DEATHS = 3; // of the process that converts, before the voice is held responsible

class Refused extends Error {}

const gone = () => Object.assign(new Refused("the connection was lost"), { code: "gone" });

export class AudioLink {
  state = "connecting"; // connecting, live, lost, ended
  reason = ""; // why it ended
  facts = {}; // answer to audio.open or audio.resume
  told = {}; // the last event of the session
  counts = { sent: 0, received: 0, notSent: 0, notReceived: 0, late: 0, outOfOrder: 0, resumed: 0, opened: 0 };
  #settings;
  #heard;
  #changed;
  #socket = null;
  #answers = new Map();
  #nextId = 1;
  #tries = 0;
  #deaths = 0;
  #timer = 0;
  #checks;
  #heardAt = 0;
  #liveAt = 0;
  #position = 0; // of the next sample that is spoken, since the session was opened
  #due = 0; // position that the server expects next
  #nextIn = 0;
  #nextOut = 0;
  #played = 0; // position of the next sample that is heard
  #kept = []; // the newest frames
  #changes = {}; // that the server does not know of yet
  #noted = [];
  #delays = new Float32Array(NOTED);
  #delayCount = 0;

  /**
   * @param settings {url, token, client, open: fields of audio.open}
   * @param heard called with the samples of each frame of output
   * @param changed called when the state has changed
   */
  constructor(settings, heard, changed) {
    this.#settings = settings;
    this.#heard = heard;
    this.#changed = changed;
    this.#checks = setInterval(() => this.#check(), CHECKED_EVERY_MS);
    this.#connect();
  }

  /** Samples that were just spoken; `lost` were lost before them. */
  send(samples, lost = 0) {
    this.#position += lost;
    this.counts.notSent += lost;
    const frame = { position: this.#position, samples, at: performance.now() };
    this.#position += samples.length;
    this.#kept.push(frame);
    if (this.#kept.length > MOST_WAITING) this.#kept.shift();
    if (this.state === "live") this.#transmit(frame);
  }

  /** Change voice or parameters of the session, and of those to come; returns why not, empty if it was done. */
  async set(values) {
    Object.assign(this.#changes, values);
    if (this.state !== "live") return ""; // as soon as it is
    const changes = this.#changes;
    this.#changes = {};
    try {
      await this.#ask("audio.set", changes);
    } catch (error) {
      if (error.code !== "gone") return error.message;
      this.#changes = { ...changes, ...this.#changes };
    }
    Object.assign(this.#settings.open, changes);
    return "";
  }

  close() {
    if (this.state === "live") this.#ask("audio.close", {}).catch(() => {});
    this.#end("");
  }

  /** Milliseconds from when a sample was spoken until it came back: of half of the deliveries, and of all but 1 %. */
  delays() {
    const known = this.#delays.slice(0, Math.min(this.#delayCount, NOTED)).sort();
    const at = (part) => known[Math.min(Math.floor(part * known.length), known.length - 1)] ?? 0;
    return { p50: at(0.5), p99: at(0.99), count: known.length };
  }

  // --- Frames --------------------------------------------------------------------------------------------------------

  #transmit(frame) {
    const waits = this.#socket?.bufferedAmount > MOST_WAITING * (HEADER_BYTES + 2 * frame.samples.length);
    if (waits || !this.#isOpen) {
      this.counts.notSent += frame.samples.length;
      return;
    }
    const flags = frame.position === this.#due ? 0 : FLAGS.discontinuity;
    this.#socket.send(encode({ session: this.facts.session, seq: this.#nextIn, position: frame.position, flags }, frame.samples));
    this.#nextIn = (this.#nextIn + 1) >>> 0;
    this.#due = frame.position + frame.samples.length;
    this.counts.sent += frame.samples.length;
    this.#noted.push({ end: this.#due, at: frame.at });
    if (this.#noted.length > NOTED) this.#noted.shift();
  }

  #receive(data) {
    const { session, seq, position, flags, samples } = decode(data);
    if (session !== this.facts.session || this.state !== "live") return;
    if (seq !== this.#nextOut || position < this.#played) this.counts.outOfOrder += 1;
    this.#nextOut = (seq + 1) >>> 0;
    this.counts.notReceived += Math.max(0, position - this.#played);
    this.counts.received += samples.length;
    if (flags & FLAGS.late) this.counts.late += 1;
    this.#played = position + samples.length;
    this.#measure(position);
    this.#heard(samples);
  }

  /** The frame that brought a sample was sent when its last sample was spoken. */
  #measure(position) {
    while (this.#noted.length > 1 && this.#noted[0].end <= position) this.#noted.shift();
    const [{ end, at } = { end: 0 }] = this.#noted;
    if (end <= position) return;
    const spokenAt = at - (1000 * (end - position)) / this.#settings.open.rate;
    this.#delays[this.#delayCount++ % NOTED] = performance.now() - spokenAt;
  }

  // --- Connection ----------------------------------------------------------------------------------------------------

  #connect() {
    const socket = new WebSocket(this.#settings.url, ["altervox.v1"]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#heardAt = performance.now();
    const isOurs = () => socket === this.#socket;
    socket.onmessage = ({ data }) => isOurs() && this.#take(data);
    socket.onclose = ({ code, reason }) => isOurs() && this.#closed(code, reason);
  }

  #take(data) {
    this.#heardAt = performance.now();
    if (typeof data !== "string") return this.#receive(data);
    const message = JSON.parse(data);
    if (message.hello) this.#enter(message.hello);
    else if (message.event === "audio") {
      this.told = message.data;
      this.#changed();
    } else if (message.event === "audio_end") this.#ended(message.data);
    else if (this.#answers.has(message.id)) {
      const { resolve, reject, timer } = this.#answers.get(message.id);
      this.#answers.delete(message.id);
      clearTimeout(timer);
      if (message.ok) resolve(message.result);
      else reject(Object.assign(new Refused(message.error.message), { code: message.error.code }));
    }
    return undefined;
  }

  /** Not any more from when the other side has begun to close it, a moment before its end is told. */
  get #isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  #ask(cmd, params, within = ANSWER_WITHIN_MS) {
    return new Promise((resolve, reject) => {
      if (!this.#isOpen) {
        reject(gone());
        return;
      }
      const id = this.#nextId++;
      const late = () => reject(Object.assign(new Refused(`there was no answer to ${cmd}`), { code: "lost" }));
      this.#answers.set(id, { resolve, reject, timer: setTimeout(late, within) });
      this.#socket.send(JSON.stringify({ id, cmd, params }));
    });
  }

  async #enter(hello) {
    try {
      if (!hello.features?.includes("audio")) throw new Refused("This altervox offers no audio sessions.");
      const { token, client, open } = this.#settings;
      await this.#ask("auth", { token, client });
      if (await this.#resume()) return;
      this.#begin(await this.#ask("audio.open", open, OPEN_WITHIN_MS), false);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.code === "gone") return; // what ended it has seen to the rest
      if (error.code === "lost") this.#closed(0, "");
      else this.#end(this.reason || error.message);
    }
  }

  /** Whether the session of before goes on. */
  async #resume() {
    if (!this.facts.resume || performance.now() - this.#liveAt > RESUMED_WITHIN_MS) return false;
    const token = this.facts.resume;
    this.facts.resume = "";
    try {
      this.#begin(await this.#ask("audio.resume", { token }), true);
      return true;
    } catch (error) {
      if (error.code === "bad_resume") return false;
      throw error;
    }
  }

  #begin(facts, isResumed) {
    this.facts = facts;
    this.#tries = 0;
    this.#nextIn = this.#nextOut = 0;
    this.#noted = [];
    if (isResumed) {
      this.#due = facts.position;
      this.counts.resumed += 1;
    } else {
      this.#kept = [];
      this.#position = this.#due = this.#played = 0;
      this.counts.opened += 1;
    }
    this.#become("live");
    // What was spoken meanwhile, as far as it does not come too late.
    const waiting = this.#kept.filter(({ position }) => position >= this.#due);
    if (waiting.length) this.counts.notSent += waiting[0].position - this.#due;
    for (const frame of waiting) this.#transmit(frame);
    if (Object.keys(this.#changes).length) this.set({});
  }

  #check() {
    const now = performance.now();
    if (this.state === "live") this.#liveAt = now;
    if (this.#isOpen && now - this.#heardAt > 0.4 * SILENT_FOR_MS && this.state === "live") this.#ask("ping", {}).catch(() => {});
    const others = this.#answers.size ? OPEN_WITHIN_MS : HELLO_WITHIN_MS;
    const patience = this.state === "live" ? SILENT_FOR_MS : others;
    if (this.#socket && now - this.#heardAt > patience) this.#closed(0, "");
  }

  #ended({ code, message }) {
    this.reason = message;
    if (code !== "worker_died" || (this.#deaths += 1) >= MOST_DEATHS) return;
    this.facts.resume = ""; // a new session on a new connection
    this.#closed(0, "");
  }

  #closed(code, reason) {
    if (FINAL.includes(code)) {
      this.#end(this.reason || reason.replace(/^\w+: /, "") || `the server closed the connection (${code})`);
      return;
    }
    this.#drop();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), PAUSES_MS[Math.min(this.#tries++, PAUSES_MS.length - 1)]);
    this.#become("lost");
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    for (const { reject, timer } of this.#answers.values()) {
      clearTimeout(timer);
      reject(gone());
    }
    this.#answers.clear();
  }

  #end(reason) {
    this.#become("ended");
    this.reason = reason;
    clearInterval(this.#checks);
    clearTimeout(this.#timer);
    this.#drop();
    this.#changed();
  }

  #become(state) {
    if (state === "live") this.reason = "";
    if (this.state === "ended") return;
    this.state = state;
    this.#changed();
  }
}
