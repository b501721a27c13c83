// Latency by parts: a bar of pieces as long as they take, and a list of them.

import { css, oklch } from "./colour.js";
import { el } from "./dom.js";

/** @param parts [name, ms, hue] of each, in the order of the signal */
export function showParts(bar, list, parts) {
  const isDark = document.documentElement.dataset.theme !== "light";
  const coloured = (hue) => {
    const element = el("i");
    element.style.background = css(oklch(isDark ? 0.74 : 0.58, 0.11, hue));
    return element;
  };
  bar.replaceChildren(...parts.map(([, ms, hue]) => {
    const piece = coloured(hue);
    piece.style.flexGrow = ms;
    return piece;
  }));
  list.replaceChildren(...parts.map(([name, ms, hue]) => el("li", {}, coloured(hue), name, el("b", {}, `${ms.toFixed(1)} ms`))));
}
