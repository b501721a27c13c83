// Before the first paint, hence no module: which colours, and which of the page's shapes.
"use strict";
(() => {
  const root = document.documentElement;
  const light = matchMedia("(prefers-color-scheme: light)");
  const paint = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem("altervox.theme");
    } catch {} // storage is blocked: follow the system
    root.dataset.theme = chosen ?? (light.matches ? "light" : "dark");
    dispatchEvent(new Event("altervox-theme"));
  };
  light.addEventListener("change", paint);
  addEventListener("storage", paint);
  addEventListener("altervox-theme-chosen", paint);
  const view = new URLSearchParams(location.search).get("view");
  if (view === "dock" || view === "meter") root.dataset.view = view;
  paint();
})();
