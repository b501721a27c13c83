// Samples from one thread to another without locks: one writes, one reads, and the newest win.

const WRITTEN = 0;
const READ = 1;
const HEAD_BYTES = 64; // counters, in a cache line of their own

/** Counters run on over 32 bits; a reader that is more than the capacity behind goes on with the newer half. */
export class Ring {
  lost = 0; // samples that the reader has missed
  #samples;
  #mask;

  /** @param buffer made by `Ring.memory`; the same one on both sides */
  constructor(buffer) {
    this.counters = new Int32Array(buffer, 0, HEAD_BYTES / 4);
    this.#samples = new Float32Array(buffer, HEAD_BYTES);
    this.#mask = this.#samples.length - 1;
  }

  /** Memory for a ring, shared between threads where this page may do that. */
  static memory(least) {
    const bytes = HEAD_BYTES + 4 * 2 ** Math.ceil(Math.log2(least));
    return globalThis.crossOriginIsolated ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
  }

  get capacity() {
    return this.#samples.length;
  }

  /** Samples that were written so far, modulo 2^32; the word to wait on is `counters[0]`. */
  get written() {
    return Atomics.load(this.counters, WRITTEN);
  }

  /** Samples that wait to be read. */
  get fill() {
    return (this.written - Atomics.load(this.counters, READ)) >>> 0;
  }

  write(samples) {
    const at = this.written;
    for (let i = 0; i < samples.length; i += 1) this.#samples[(at + i) & this.#mask] = samples[i];
    Atomics.store(this.counters, WRITTEN, (at + samples.length) | 0);
  }

  /** Fill the first `count` places of a target; false, and nothing is read, if there are not as many. */
  read(target, count = target.length) {
    const behind = this.fill;
    if (behind > this.#mask + 1) this.#miss(behind - (this.#mask + 1) / 2);
    if (this.fill < count) return false;
    const at = Atomics.load(this.counters, READ);
    for (let i = 0; i < count; i += 1) target[i] = this.#samples[(at + i) & this.#mask];
    this.skip(count);
    return true;
  }

  skip(count) {
    Atomics.store(this.counters, READ, (Atomics.load(this.counters, READ) + count) | 0);
  }

  #miss(count) {
    this.lost += count;
    this.skip(count);
  }
}
