// Frames of audio on a WebSocket: 24 bytes of header, little-endian, then 16-bit samples.

export const HEADER_BYTES = 24;
export const FLAGS = { discontinuity: 1, last: 2, late: 4, muted: 8, resumed: 16 };
const MAGIC = 0xa7;
const VERSION = 1;
const INPUT = 1;
const OUTPUT = 2;
const S16 = 0;
const SCALE = 32768;
const HIGH = 2 ** 32;

/**
 * A frame of input as it is sent.
 * @param header {session, seq, position: of the first sample, flags}
 * @param samples Float32Array, clipped to -1..1
 */
export function encode({ session, seq, position, flags = 0 }, samples) {
  const buffer = new ArrayBuffer(HEADER_BYTES + 2 * samples.length);
  const view = new DataView(buffer);
  [MAGIC, VERSION, INPUT, S16].forEach((byte, at) => view.setUint8(at, byte));
  view.setUint16(4, flags, true);
  view.setUint16(6, session, true);
  view.setUint32(8, seq, true);
  view.setUint32(16, position % HIGH, true);
  view.setUint32(20, Math.floor(position / HIGH), true);
  const words = new Int16Array(buffer, HEADER_BYTES); // every machine with a browser is little-endian
  for (let i = 0; i < samples.length; i += 1) {
    words[i] = Math.max(-SCALE, Math.min(SCALE - 1, Math.round(SCALE * samples[i])));
  }
  return buffer;
}

/**
 * A frame of output; throws what is none.
 * @returns {session, seq, position: of the input that it belongs to, flags, samples: Float32Array}
 */
export function decode(buffer) {
  const view = new DataView(buffer);
  const known = [MAGIC, VERSION, OUTPUT, S16];
  if (buffer.byteLength < HEADER_BYTES || buffer.byteLength % 2 || known.some((byte, at) => view.getUint8(at) !== byte)) {
    throw new TypeError("not a frame of audio that this page understands");
  }
  const words = new Int16Array(buffer, HEADER_BYTES);
  const samples = new Float32Array(words.length);
  for (let i = 0; i < words.length; i += 1) samples[i] = words[i] / SCALE;
  return {
    flags: view.getUint16(4, true),
    session: view.getUint16(6, true),
    seq: view.getUint32(8, true),
    position: view.getUint32(16, true) + HIGH * view.getUint32(20, true),
    samples,
  };
}
