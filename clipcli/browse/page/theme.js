// Dark or light. Loaded before the page is drawn, so that a choice made earlier does not flash.
"use strict";
(() => {
  const key = "clip-theme";
  const root = document.documentElement;
  const read = () => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // storage may be forbidden
    }
  };
  const chosen = read();
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  const isDark = () =>
    (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  globalThis.clipTheme = {
    isDark,
    toggle() {
      const next = isDark() ? "light" : "dark";
      const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
      // Back to what the machine says: then nothing is kept, and the page follows it again.
      if (next === system) delete root.dataset.theme;
      else root.dataset.theme = next;
      try {
        if (next === system) localStorage.removeItem(key);
        else localStorage.setItem(key, next);
      } catch {
        // not remembered, but shown
      }
      document.dispatchEvent(new Event("clip-theme"));
    },
  };
})();
