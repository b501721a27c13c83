// Colours from names: even in lightness, so that text on every one of them can be read.

/** 32 bits of FNV-1a, mixed once more so that similar names differ. */
export function hash(text) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/** The number keeps the colours of the voices that ship at least 29 degrees apart. */
export const hue = (name) => hash(`${name} 2597`) % 360;

/** sRGB of OKLCH as [r, g, b] in 0..255; less chroma where the screen has not as much. */
export function oklch(lightness, chroma, hueDegrees) {
  const angle = (hueDegrees * Math.PI) / 180;
  for (let c = chroma; ; c -= 0.01) {
    const rgb = linear(lightness, c * Math.cos(angle), c * Math.sin(angle));
    if (c <= 0 || rgb.every((x) => x >= -1e-4 && x <= 1.0001)) return rgb.map(encoded);
  }
}

export const css = (rgb) => `rgb(${rgb.join(" ")})`;

function linear(L, a, b) {
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

function encoded(x) {
  const value = x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055;
  return Math.round(255 * Math.min(Math.max(value, 0), 1));
}
