// The connection: hello, access, commands with answers, a heartbeat, and back again after it broke.

import { kept } from "./dom.js";

const PING_EVERY_MS = 2000;
const SILENT_FOR_MS = 3000; // after a ping: the connection is gone
const HELLO_WITHIN_MS = 5000;
const ANSWER_WITHIN_MS = 10000;
const LONGEST_WAIT_MS = 5000;
const OLD = "This address was used before, or the access was removed. Get a new one.";
const UNAUTHORIZED = 4401;
const TOO_FAST = 4429;

export class Refused extends Error {
  constructor({ code = "internal", field = "", message = "" } = {}) {
    super(message || code);
    this.code = code;
    this.field = field;
  }
}

/** Events: "state" (see `state`), and "message" for every event of a topic, in `detail`. */
export class Link extends EventTarget {
  state = "connecting"; // connecting, open, lost, denied (no token is good), asking (for access)
  role = "";
  hello = {};
  reason = "";
  #socket = null;
  #answers = new Map();
  #nextId = 1;
  #tries = 0;
  #timer = 0;
  #heartbeat = 0;
  #silence = 0;
  #topics;
  #name;
  #linkToken;
  #asking = null;

  constructor(topics, name) {
    super();
    this.#topics = topics;
    this.#name = name;
    this.#linkToken = tokenFromAddress();
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => document.hidden || this.retry());
    this.#connect();
  }

  get hasAccess() {
    return this.state === "open";
  }

  /** Send a command; resolves with its result, rejects with `Refused`. */
  request(cmd, params = {}, within = ANSWER_WITHIN_MS) {
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) {
        reject(new Refused({ code: "lost", message: "There is no connection to altervox." }));
        return;
      }
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        this.#answers.delete(id);
        reject(new Refused({ code: "timeout", message: `there was no answer to ${cmd}` }));
      }, within);
      this.#answers.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ id, cmd, params }));
    });
  }

  /** Try again now rather than after the pause. */
  retry() {
    if (this.state !== "lost") return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  /** Ask for access under a name. `shown` gets the code to compare. */
  ask(name, shown) {
    this.#name = name;
    this.#asking = { shown };
    this.#connect();
  }

  #connect() {
    this.#socket?.close();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/v1`, ["altervox.v1"]);
    this.#socket = socket;
    socket.onmessage = (event) => socket === this.#socket && this.#heard(JSON.parse(event.data));
    socket.onclose = (event) => socket === this.#socket && this.#closed(event);
    this.#expect(HELLO_WITHIN_MS);
  }

  /** Something must arrive within that time. A hidden page's timers are late, but so is then the ping. */
  #expect(within) {
    this.#silence ||= setTimeout(() => this.#closed({ code: 0 }), within);
  }

  #hush() {
    clearTimeout(this.#silence);
    this.#silence = 0;
  }

  #ping() {
    this.request("ping").catch(() => {});
    this.#expect(SILENT_FOR_MS);
  }

  #heard(message) {
    this.#hush();
    if (message.hello) this.#enter(message.hello);
    else if ("event" in message) this.dispatchEvent(new CustomEvent("message", { detail: message }));
    else {
      const answer = this.#answers.get(message.id);
      if (!answer) return;
      this.#answers.delete(message.id);
      clearTimeout(answer.timer);
      if (message.ok) answer.resolve({ result: message.result, rev: message.rev });
      else answer.reject(new Refused(message.error));
    }
  }

  async #enter(hello) {
    if (this.hello.server && this.hello.server !== hello.server) location.reload(); // the page changed with it
    this.hello = hello;
    try {
      const { result } = await (this.#asking ? this.#pair() : this.#authenticate());
      if (result.token) kept.set("token", result.token);
      this.role = result.role;
      this.#tries = 0;
      clearInterval(this.#heartbeat);
      this.#heartbeat = setInterval(() => this.#ping(), PING_EVERY_MS);
      this.#become("open");
      await this.request("subscribe", { topics: this.#topics(this) });
    } catch (error) {
      if (error.code === "lost") return; // its end is handled already
      if (this.state === "asking" || error.code === "no_token") this.#refuse(error.message);
      else if (error.code === "denied") this.#denied();
      else this.#closed({ code: 0 });
    }
  }

  async #authenticate() {
    const used = kept.get("link", null);
    const fresh = this.#linkToken && this.#linkToken !== used ? this.#linkToken : null;
    const token = fresh ?? kept.get("token", null);
    if (!token) throw new Refused({ code: "no_token", message: "Only those who were let in control the voice." });
    const answer = await this.request("auth", { token, client: this.#name });
    if (fresh) kept.set("link", fresh); // it is good once: a dock opens the same address at each start of OBS
    return answer;
  }

  async #pair() {
    const { shown } = this.#asking;
    const heard = ({ detail }) => detail.event === "pairing" && shown(detail.data.code);
    this.addEventListener("message", heard);
    this.#become("asking");
    try {
      clearInterval(this.#heartbeat);
      const role = this.hello.features?.includes("audio") ? { role: "control+audio" } : {};
      return await this.request("pair", { client: this.#name, ...role }, 70000);
    } finally {
      this.removeEventListener("message", heard);
      this.#asking = null;
    }
  }

  /** The token is wrong: the kept one may be good where that of the address was too old. */
  #denied() {
    const used = this.#linkToken && this.#linkToken !== kept.get("link", null);
    if (used) kept.set("link", this.#linkToken);
    else kept.set("token", null);
    if (used && kept.get("token", null)) this.#closed({ code: 0 });
    else this.#refuse(OLD);
  }

  #refuse(reason) {
    this.#end();
    this.reason = reason;
    this.#become("denied");
  }

  #end() {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    this.#hush();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    for (const { reject, timer } of this.#answers.values()) {
      clearTimeout(timer);
      reject(new Refused({ code: "lost", message: "The connection to altervox was lost." }));
    }
    this.#answers.clear();
  }

  #closed({ code }) {
    if (code === UNAUTHORIZED && this.hasAccess) {
      kept.set("token", null);
      this.#refuse("The access of this page was removed.");
      return;
    }
    this.#end();
    const pause = Math.min(250 * 2 ** this.#tries++, LONGEST_WAIT_MS) * (0.75 + 0.5 * Math.random());
    const wait = code === TOO_FAST ? LONGEST_WAIT_MS : pause;
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#become("lost");
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

/** The one-time token behind the `#`, taken out of the address at once. */
function tokenFromAddress() {
  const token = decodeURIComponent(location.hash.slice(1)).replace(/^token=/, "");
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return token || null;
}
