// A jitter buffer: as deep as the connection needs, for network and server deliver less evenly than a sound card plays.

const START_S = 0.04;
const MOST_S = 0.2;
const FADE_S = 0.005;
const SPARE_S = 0.005; // beyond what the latest delivery has needed
const WATCHED_S = 10; // before it becomes shallower; twice as long after each underrun, up to
const LONGEST_WATCHED_S = 80;
const JUDGED_EVERY_S = 1;
const SILENT = 1e-3;

/**
 * Starts 40 ms deep, or a delivery and 20 ms if that is more. After an underrun it is deeper by one delivery at once. What no
 * delivery has needed for ten seconds, or longer after underruns, goes away a sample per quantum, or quickly in silence.
 * Beyond 200 ms, or three deliveries, the oldest samples are dropped.
 */
export class JitterBuffer {
  underruns = 0;
  dropped = 0; // samples that were too many
  #ring;
  #rate;
  #delivery;
  #least;
  #most;
  #level; // samples that wait before it plays
  #isPlaying = false;
  #left = 0; // samples after the last quantum
  #depth = 0; // the same, smoothed
  #spare; // samples that were left when a delivery came, each plus `#removed` of its time
  #deliveries = 0;
  #watched; // deliveries
  #removed = 0;
  #excess = 0;
  #untilJudged;
  #scratch = new Float32Array(0);
  #last = 0; // sample, which fades when there is no more
  #faded = 0; // samples of the fade, in or out, that are done
  #fade;

  /**
   * @param ring Ring that is read
   * @param rate samples per second
   * @param delivery samples that arrive at a time
   */
  constructor(ring, rate, delivery) {
    this.#ring = ring;
    this.#rate = rate;
    this.#delivery = delivery;
    this.#least = Math.round(Math.max(START_S * rate, delivery + 0.5 * START_S * rate));
    this.#most = Math.max(MOST_S * rate, 3 * delivery);
    this.#level = this.#least;
    this.#fade = Math.round(FADE_S * rate);
    this.#faded = this.#fade;
    this.#spare = new Float32Array(Math.ceil((LONGEST_WATCHED_S * rate) / delivery));
    this.#watched = Math.ceil((WATCHED_S * rate) / delivery);
    this.#untilJudged = JUDGED_EVERY_S * rate;
  }

  get depthMs() {
    return (1000 * this.#depth) / this.#rate;
  }

  /** Fill a quantum of output. */
  pull(out) {
    if (this.#isPlaying) this.#observe(out.length);
    const fill = this.#ring.fill;
    if (!this.#isPlaying && fill >= this.#level) {
      this.#isPlaying = true;
      this.#faded = 0;
      this.#drop(fill - this.#level - this.#delivery);
    }
    if (!this.#isPlaying) this.#silence(out, 0);
    else if (this.#ring.fill < out.length) this.#underrun(out);
    else this.#play(out);
    this.#left = this.#ring.fill;
    this.#depth += 0.02 * (this.#left - this.#depth);
  }

  #observe(quantum) {
    if (this.#ring.fill !== this.#left) {
      this.#spare[this.#deliveries % this.#spare.length] = this.#left + this.#removed;
      this.#deliveries += 1;
    }
    this.#untilJudged -= quantum;
    if (this.#untilJudged > 0) return;
    this.#untilJudged += JUDGED_EVERY_S * this.#rate;
    if (this.#deliveries < this.#watched) return;
    let least = Infinity;
    for (let k = this.#deliveries - this.#watched; k < this.#deliveries; k += 1) {
      least = Math.min(least, this.#spare[k % this.#spare.length]);
    }
    this.#excess = Math.max(0, Math.floor(least - this.#removed - quantum - SPARE_S * this.#rate));
    this.#level = Math.max(this.#least, this.#level - this.#excess);
  }

  #play(out) {
    const count = out.length;
    if (this.#ring.fill > this.#most) this.#jump(out);
    else if (this.#excess > 0 && this.#ring.fill > count) this.#shorten(out);
    else this.#ring.read(out);
    for (let i = 0; i < count && this.#faded < this.#fade; i += 1) out[i] *= (this.#faded += 1) / this.#fade;
    this.#last = out[count - 1];
  }

  /** One sample more than is played, or a second quantum where both are silent. */
  #shorten(out) {
    const count = out.length;
    if (this.#scratch.length <= count) this.#scratch = new Float32Array(count + 1);
    this.#ring.read(this.#scratch, count + 1);
    let peak = 0;
    for (let i = 0; i < count; i += 1) {
      const at = (i * (count + 1)) / count;
      const whole = Math.floor(at);
      const part = at - whole;
      out[i] = (1 - part) * this.#scratch[whole] + part * this.#scratch[whole + 1];
      peak = Math.max(peak, Math.abs(out[i]));
    }
    this.#remove(1);
    if (peak < SILENT && this.#excess >= count && this.#ring.fill >= 2 * count) {
      this.#ring.skip(count);
      this.#remove(count);
    }
  }

  #remove(count) {
    this.#removed += count;
    this.#excess -= count;
  }

  /** Far too many: crossfade to where it should be. */
  #jump(out) {
    const count = out.length;
    if (this.#scratch.length <= count) this.#scratch = new Float32Array(count + 1);
    this.#ring.read(this.#scratch, count);
    this.#drop(this.#ring.fill - this.#level);
    this.#ring.read(out);
    for (let i = 0; i < count; i += 1) out[i] = this.#scratch[i] + ((out[i] - this.#scratch[i]) * i) / count;
    this.#forget();
  }

  #drop(count) {
    if (count <= 0) return;
    this.#ring.skip(count);
    this.dropped += count;
  }

  #underrun(out) {
    const left = this.#ring.fill;
    this.#ring.read(out, left);
    if (left) this.#last = out[left - 1];
    this.underruns += 1;
    this.#isPlaying = false;
    this.#level = Math.min(this.#level + this.#delivery, this.#most);
    this.#watched = Math.min(2 * this.#watched, this.#spare.length);
    this.#faded = 0;
    this.#forget();
    this.#silence(out, left);
  }

  /** From there on: the last sample fades away. */
  #silence(out, from) {
    for (let i = from; i < out.length; i += 1) {
      if (this.#faded < this.#fade) this.#faded += 1;
      out[i] = this.#last * (1 - this.#faded / this.#fade);
    }
    if (this.#faded >= this.#fade) this.#last = 0;
  }

  #forget() {
    this.#deliveries = 0;
    this.#excess = 0;
  }
}
