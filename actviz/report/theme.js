"use strict";
(() => {
  // Theme: that of the system, unless the reader chose one.
  const theme = document.getElementById("theme"), root = document.documentElement;
  const stored = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("actviz-theme");
      localStorage.setItem("actviz-theme", value);
    } catch { /* pages from files may have no storage */ }
    return null;
  };
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  if (["dark", "light"].includes(stored())) root.dataset.theme = stored();
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    stored(root.dataset.theme);
    nameTheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
  nameTheme();
})();
