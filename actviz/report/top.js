"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const wholes = JSON.parse(byId("data").textContent);
  const sections = [...document.querySelectorAll(".layer")].map((section) => {
    const rows = [...section.querySelectorAll(".channel")].map((row, index) => ({
      row, index, words: row.textContent.toLowerCase(), share: Number(row.dataset.share), value: Number(row.dataset.value),
    }));
    return { section, list: section.querySelector(".channels"), rows };
  });
  const total = sections.reduce((sum, { rows }) => sum + rows.length, 0);
  const filter = byId("filter"), layer = byId("layer"), sort = byId("sort"), tools = byId("tools");

  // A number is a channel; anything else is looked for in all words of a row.
  const matches = (entry, wanted) => wanted === "" || (/^\d+$/.test(wanted) ? entry.row.dataset.channel === wanted : entry.words.includes(wanted));

  const update = () => {
    const wanted = filter.value.trim().toLowerCase();
    let shown = 0;
    sections.forEach(({ section, list, rows }, number) => {
      const key = sort.value;
      const ordered = [...rows].sort((a, b) => (key === "channel" ? 0 : b[key] - a[key]) || a.index - b.index);
      list.append(...ordered.map((entry) => entry.row));
      section.hidden = Boolean(layer && layer.value !== "" && Number(layer.value) !== number);
      for (const entry of rows) {
        entry.row.hidden = !matches(entry, wanted);
        shown += !section.hidden && !entry.row.hidden;
      }
    });
    byId("matches").textContent = shown === total ? "" : `${shown} of ${total} rows`;
  };

  tools.hidden = false;
  tools.addEventListener("input", update);
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("reset", () => setTimeout(update));

  const dialog = byId("whole"), picture = byId("whole-picture"), box = byId("whole-box");
  const set = (element, attributes) => {
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-whole]");
    if (event.target === dialog) dialog.close();
    if (button === null || !(button.dataset.whole in wholes)) return;
    const [uri, width, height] = wholes[button.dataset.whole];
    const [top, left, bottom, right] = button.dataset.box.split(" ").map(Number);
    const caption = button.parentElement.querySelector(".name");
    byId("whole-title").textContent = caption === null ? "" : caption.textContent;
    // A box may lie partly outside of the input.
    const x = Math.min(0, left), y = Math.min(0, top);
    set(picture, { viewBox: `${x} ${y} ${Math.max(width, right) - x} ${Math.max(height, bottom) - y}` });
    set(picture.querySelector("image"), { href: uri, width, height });
    set(box, { x: left, y: top, width: right - left, height: bottom - top });
    dialog.showModal();
  });
  document.documentElement.dataset.ready = "true";
})();
