"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const layers = data.layers;
  const root = document.documentElement;
  const MINUS = "\u2212", TIMES = "\u00d7", PLUS_MINUS = "\u00b1", DOT = "\u00b7";
  const STATES = ["live", "dead", "constant", "nonfinite"];
  const SIDE = 72, LARGE = 320, MOST_BARS = 64;

  // Elements are made with their text as text: nothing here parses HTML.
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") element.className = value;
      else if (value !== null && value !== false) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };

  // A number as the figures write it: three digits, a real minus sign.
  const number = (value, digits = 3) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "NaN";
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size === Infinity) return (value < 0 ? MINUS : "") + "\u221e";
    let words;
    if (size >= 1e-3 && size < 1e5) {
      words = size.toPrecision(digits);
      words = words.includes("e") ? size.toFixed(0) : words.includes(".") ? words.replace(/\.?0+$/, "") : words;
    } else {
      const [mantissa, exponent] = size.toExponential(digits - 1).split("e");
      words = `${mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa}e${exponent.replace("+", "").replace("-", MINUS)}`;
    }
    return (value < 0 ? MINUS : "") + words;
  };
  const percent = (share) => {
    const shown = number(100 * share, 2);
    return `${shown === "100" && share < 1 ? number(100 * share, 4) : shown}%`;
  };
  const range = (low, high) => (low === high ? number(low) : `${number(low)} to ${number(high)}`);

  const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

  // Color tables: step to color, and color to step.
  const pack = (red, green, blue) => (red << 16) | (green << 8) | blue;
  const tables = {};
  for (const [name, text] of Object.entries(data.tables)) {
    const colors = bytesOf(text);
    const steps = new Map();
    for (let step = 255; step >= 0; step--) steps.set(pack(colors[3 * step], colors[3 * step + 1], colors[3 * step + 2]), step);
    tables[name] = { colors, steps };
  }

  // A figure is decoded when it is first shown, and cached.
  const decoded = new Map();
  const decode = (figure) => {
    if (!decoded.has(figure.block)) decoded.set(figure.block, decodeNow(figure));
    return decoded.get(figure.block);
  };
  const decodeNow = async (figure) => {
    const [png, packed] = byId(`block-${figure.block}`).textContent.split(",");
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const bytes = bytesOf(packed);
    const floats = new Float32Array(bytes.buffer, 0, 7 * figure.count);
    const [low, high, minimum, maximum, mean, zeros, magnitude] = [0, 1, 2, 3, 4, 5, 6].map((row) => floats.subarray(row * figure.count, (row + 1) * figure.count));
    const states = bytes.subarray(28 * figure.count);
    const indexByKey = new Map();
    for (let index = 0; index < figure.count; index++) {
      const key = figure.indices.length ? figure.indices[index].join(" ") : String(figure.channels ? figure.channels[index] : index);
      indexByKey.set(key, index);
    }
    return { figure, context, low, high, minimum, maximum, mean, zeros, magnitude, states, indexByKey, table: tables[figure.table] };
  };
  const channelAt = (figure, index) => (figure.channels ? figure.channels[index] : index);

  // The current selection.
  const now = { layer: 0, input: 0, beside: "", key: null, sources: [], order: [], shown: [], drawing: 0 };

  const overall = layers.map((layer) => {
    if (!layer.overall) return null;
    const bytes = bytesOf(layer.overall.numbers);
    const floats = new Float32Array(bytes.buffer), count = layer.overall.channels;
    const row = (at) => floats.subarray(at * count, (at + 1) * count);
    return {
      minimum: row(0), maximum: row(1), mean: row(2), std: row(3),
      dead: new Set(layer.overall.dead), constant: new Set(layer.overall.constant), nonfinite: new Set(layer.overall.nonfinite),
    };
  });

  // Slices along several axes are not the channels that numbers over all inputs are of.
  const overallOf = (layer) => (layers[layer].drawn === "montage" ? null : overall[layer]);

  // --- the list ---------------------------------------------------------------------------
  const rows = [...document.querySelectorAll(".row")];
  const lists = [...document.querySelectorAll("#list ol")].map((list) => [list, [...list.children]]);
  const groups = [...document.querySelectorAll(".group")];
  const top = document.querySelector("#list > ol");
  const tools = byId("tools");
  tools.hidden = false;
  byId("fold").hidden = !groups.length;

  const measures = {
    dead: (layer) => (layer.overall ? layer.overall.dead.length / layer.overall.channels : -1),
    range: (layer) => (layer.overall && layer.overall.low !== null ? Math.max(Math.abs(layer.overall.low), Math.abs(layer.overall.high)) : -1),
    zeros: (layer) => (layer.overall ? layer.overall.zeros : -1),
    parameters: (layer) => layer.parameters ?? -1,
    change: (layer) => (layer.difference ? layer.difference.relative ?? Infinity : -1),
  };
  const shows = {
    findings: (layer) => layer.findings.length > 0,
    dead: (layer) => layer.overall && layer.overall.dead.length > 0,
    NaN: (layer) => layer.overall && layer.overall.nonfinite.length > 0,
    changed: (layer) => layer.difference && layer.difference.changed,
  };
  const arrange = () => {
    const words = byId("filter").value.trim().toLowerCase(), kind = byId("class").value;
    const show = shows[byId("show").value], measure = measures[byId("sort").value];
    let count = 0;
    for (const row of rows) {
      const layer = layers[row.dataset.layer];
      const kept = (!words || layer.shown.toLowerCase().includes(words) || layer.kind.toLowerCase().includes(words))
        && (!kind || layer.kind === kind) && (!show || show(layer));
      row.hidden = !kept;
      count += kept;
    }
    for (const [list, children] of lists) list.append(...children);
    for (const group of groups) {
      group.hidden = Boolean(measure) || !group.querySelector(".row:not([hidden])");
      if (words || show || kind) group.firstElementChild.open = true;
    }
    if (measure) {
      const values = new Map(rows.map((row) => [row, measure(layers[row.dataset.layer])]));
      top.append(...[...rows].sort((first, second) => values.get(second) - values.get(first)));
    }
    byId("matches").textContent = count === rows.length ? `${count} layers` : `${count} of ${rows.length} layers`;
  };
  for (const id of ["filter", "class", "show", "sort"]) byId(id).addEventListener("input", arrange);
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("reset", () => setTimeout(arrange));
  byId("fold").addEventListener("click", (event) => {
    const open = event.target.textContent === "Unfold all";
    for (const group of groups) group.firstElementChild.open = open;
    event.target.textContent = open ? "Fold all" : "Unfold all";
  });

  // --- the URL fragment -------------------------------------------------------------------
  const addressOf = (key = now.key) => {
    let address = `#layer=${encodeURIComponent(layers[now.layer].address)}`;
    if (key !== null) address += `&channel=${key.replaceAll(" ", ".")}`;
    if (now.input) address += `&input=${now.input}`;
    if (now.beside !== "") address += `&beside=${now.beside}`;
    return address;
  };
  const remember = () => {
    const address = addressOf();
    byId("link").href = address;
    if (location.hash !== address) history.replaceState(null, "", address);
  };
  const followHash = (initial) => {
    const parameters = new Map(location.hash.slice(1).split("&").map((part) => {
      const [key, ...value] = part.split("=");
      try { return [key, decodeURIComponent(value.join("="))]; } catch { return [key, ""]; }
    }));
    const index = layers.findIndex((layer) => layer.address === parameters.get("layer"));
    if (index < 0) {
      if (initial) showLayer(firstLayer(), { quiet: true });
      return;
    }
    const input = Number(parameters.get("input") || 0);
    now.input = Number.isInteger(input) && input >= 0 && input < data.inputs.length ? input : 0;
    now.beside = parameters.get("beside") || "";
    showLayer(index, { key: (parameters.get("channel") ?? "").replaceAll(".", " ") || null, scroll: true });
  };
  const firstLayer = () => {
    const worst = layers.findIndex((layer) => layer.findings.some((finding) => finding.severity === "problem") && layer.figures.length);
    const any = layers.findIndex((layer) => layer.figures.length);
    return worst >= 0 ? worst : Math.max(any, 0);
  };
  addEventListener("hashchange", () => followHash(false));

  // --- one layer --------------------------------------------------------------------------
  const sourcesOf = (layer) => layer.figures.map((figure) => ({
    figure,
    value: `${figure.input}${figure.other ? "o" : ""}`,
    name: data.inputs[figure.input].name + (figure.other ? ` ${DOT} ${data.other}` : ""),
  }));
  const option = (value, words) => make("option", { value }, words);

  const showLayer = (index, { key = null, scroll = false, quiet = false } = {}) => {
    now.layer = index;
    const layer = layers[index];
    for (const row of rows) {
      const link = row.firstElementChild;
      if (Number(row.dataset.layer) === index) {
        link.setAttribute("aria-current", "true");
        if (row.hidden) { tools.reset(); arrange(); }
        for (let at = row.parentElement; at && at.id !== "list"; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
        if (scroll && !quiet && matchMedia("(min-width: 861px)").matches) row.scrollIntoView({ block: "nearest" });
      } else link.removeAttribute("aria-current");
    }
    byId("detail").hidden = false;
    const title = byId("detail-title");
    title.replaceChildren(make("bdi", {}, layer.shown));
    const facts = [layer.kind, layer.shape, layer.activation, layer.step_order === "reversed" ? "steps reversed" : layer.step_order === "mixed" ? "order of the steps not that of the input" : null];
    if (layer.parameters) facts.push(`${layer.parameters.toLocaleString("en")} parameters`);
    byId("detail-facts").textContent = facts.filter(Boolean).join(` ${DOT} `);
    byId("detail-findings").replaceChildren(...layer.findings.map((finding) => make("li", { class: finding.severity },
      make("span", { class: "level" }, finding.severity), " ", make("span", {}, finding.text))));
    if (layer.difference) {
      byId("detail-findings").append(make("li", { class: "note" }, make("span", { class: "level" }, layer.difference.changed ? "changed" : "same"), " ",
        make("span", {}, layer.difference.changed ? `Compared with ${data.other}, ${layer.difference.text}` : `The same as in ${data.other}.`)));
    }
    byId("previous").disabled = index === 0;
    byId("next").disabled = index === layers.length - 1;
    now.key = key;
    if (scroll && !quiet) {
      if (matchMedia("(max-width: 860px)").matches) byId("detail").scrollIntoView({ block: "start" });
      else byId("detail").scrollTop = 0;
    }
    fill(quiet);
  };

  const fill = async (quiet) => {
    const layer = layers[now.layer], all = sourcesOf(layer), drawing = ++now.drawing;
    byId("figure").hidden = byId("controls").hidden = !all.length;
    byId("reason").hidden = Boolean(all.length);
    byId("reason").textContent = layer.reason;
    if (!all.length) {
      now.shown = [];
      if (!quiet) remember();
      return;
    }
    const main = all.find((source) => !source.figure.other && source.figure.input === now.input) || all[0];
    const others = all.filter((source) => source !== main);
    const beside = others.find((source) => source.value === now.beside);
    byId("input").replaceChildren(...all.filter((source) => !source.figure.other).map((source) => option(source.figure.input, source.name)));
    byId("input").value = main.figure.input;
    byId("input-label").hidden = data.inputs.length < 2;
    byId("beside").replaceChildren(option("", "nothing"), ...others.map((source) => option(source.value, source.name)));
    byId("beside").value = beside ? beside.value : "";
    byId("beside-label").hidden = !others.length;
    const chosen = beside ? [main, beside] : [main];
    const sources = await Promise.all(chosen.map((source) => decode(source.figure)));
    if (drawing !== now.drawing) return;
    now.sources = sources.map((source, index) => ({ ...source, name: chosen[index].name }));
    drawTiles();
    drawHistograms();
    if (!quiet) remember();
  };

  // The color range of a tile: its own, or one for all tiles; two figures side by side share it.
  const ends = (key) => {
    let low = 0, high = 0;
    const whole = byId("scale").value === "layer";
    for (const source of now.sources) {
      const indices = whole ? source.indexByKey.values() : [source.indexByKey.get(key)];
      for (const index of indices) {
        if (index === undefined) continue;
        low = Math.min(low, source.low[index]);
        high = Math.max(high, source.high[index]);
      }
    }
    if (now.sources.some((source) => source.figure.signed)) high = Math.max(high, -low), low = -high;
    return [low, high];
  };

  // The picture of a tile on a range: as it was drawn, or each color moved to where its value lies on the new one.
  const pixelsOf = (source, index, [low, high]) => {
    const { tile, step, columns } = source.figure;
    const left = (index % columns) * step[1], up = Math.floor(index / columns) * step[0];
    const pixels = source.context.getImageData(left, up, tile[1], tile[0]);
    const same = Math.abs(source.low[index] - low) + Math.abs(source.high[index] - high) <= 1e-6 * (high - low);
    const { table } = source.figure;
    if (same && now.sources.every((other) => other.figure.table === table)) return pixels;
    const target = tables[now.sources.find((other) => other.figure.signed)?.figure.table ?? table];
    const first = source.low[index], width = source.high[index] - first, span = high - low;
    const moved = new Uint8Array(256);
    for (let at = 0; at < 256; at++) {
      const value = width > 0 ? first + (at / 255) * width : 0;
      moved[at] = span > 0 ? Math.max(0, Math.min(255, Math.round(((value - low) / span) * 255))) : (low < 0 ? 128 : 0);
    }
    const bytes = pixels.data;
    for (let at = 0; at < bytes.length; at += 4) {
      const from = source.table.steps.get(pack(bytes[at], bytes[at + 1], bytes[at + 2]));
      if (from === undefined) continue;
      const to = 3 * moved[from];
      bytes[at] = target.colors[to]; bytes[at + 1] = target.colors[to + 1]; bytes[at + 2] = target.colors[to + 2];
    }
    return pixels;
  };
  const canvasOf = (pixels) => {
    const canvas = make("canvas", { width: pixels.width, height: pixels.height });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  };
  const size = (element, width, height) => { element.style.width = `${width}px`; element.style.height = `${height}px`; };
  const fitting = (height, width, side) => {
    const most = Math.max(height, width);
    const zoom = most <= side ? Math.floor(side / most) : side / most;
    return [height * zoom, width * zoom];
  };

  const orders = {
    number: () => 0,
    mean: (source, index) => -source.magnitude[index],
    high: (source, index) => -Math.max(Math.abs(source.minimum[index]), Math.abs(source.maximum[index])),
    zeros: (source, index) => -source.zeros[index],
  };
  const nameOf = (layer, key) => {
    const parts = key.split(" ");
    const label = parts.length === 1 ? layer.labels[Number(key)] : undefined;
    return label ? `${key} ${label}` : parts.join(`${DOT}`);
  };
  const stateOf = (source, index) => {
    const channel = channelAt(source.figure, index), all = overallOf(now.layer);
    const state = STATES[source.states[index]];
    if (state !== "dead") return state;
    return all && all.dead.has(channel) ? "dead" : "zero";
  };
  const stateWords = { live: "", dead: "dead", zero: "zero here", constant: "constant", nonfinite: "NaN" };

  const drawTiles = () => {
    const layer = layers[now.layer], [main] = now.sources, { figure } = main;
    const box = byId("tiles");
    const bars = layer.drawn === "vector" && figure.count <= MOST_BARS;
    const matrix = layer.drawn === "sequence";
    byId("scale-label").hidden = bars || matrix || Math.max(...figure.tile) === 1;
    byId("large").className = Math.max(...figure.tile) > 1 ? "map" : "";
    box.className = bars ? `bars${layer.labels.length ? " named" : ""}` : matrix ? "matrix" : "";
    const indices = [...main.indexByKey.values()];
    const measure = orders[byId("order").value];
    const value = (index) => { const measured = measure(main, index); return Number.isNaN(measured) ? Infinity : measured; };
    indices.sort((first, second) => value(first) - value(second) || first - second);
    const keys = new Map([...main.indexByKey].map(([key, index]) => [index, key]));
    now.order = indices.map((index) => keys.get(index));
    const strongest = Math.max(...now.sources.flatMap((source) => [...source.indexByKey.values()].map((index) => strengthOf(source, index))), 0);
    now.shown = [];
    box.replaceChildren(...now.order.map((key, at) => {
      const tile = (bars ? barTile : pictureTile)(layer, key, at, strongest, matrix);
      now.shown.push(tile);
      return tile;
    }));
    const kept = figure.count < figure.total ? `${figure.count.toLocaleString("en")} of ${figure.total.toLocaleString("en")} drawn, the strongest by mean |value|; the rest has no room on this page. ` : "";
    const many = figure.count > 1 ? "Point or use the arrow keys to look at one." : "";
    byId("tiles-note").textContent = `${kept}${many}`;
    box.setAttribute("aria-label", `Channels of ${layer.shown}`);
    const asked = now.key;
    now.key = now.order.includes(asked) ? asked : null;
    select(now.order.includes(asked) ? asked : now.order[0], { remembering: false, explicit: now.order.includes(asked) });
    if (asked !== null && !now.order.includes(asked)) {
      byId("tiles-note").textContent = `Channel ${asked} is not drawn. ${byId("tiles-note").textContent}`;
    }
  };
  const strengthOf = (source, index) => {
    const largest = Math.max(Math.abs(source.minimum[index]), Math.abs(source.maximum[index]));
    return Number.isFinite(largest) ? largest : 0;
  };
  const described = (layer, key) => now.sources.map((source) => {
    const index = source.indexByKey.get(key);
    if (index === undefined) return "not drawn";
    const state = stateWords[stateOf(source, index)];
    return [now.sources.length > 1 ? source.name : "", state, range(source.minimum[index], source.maximum[index]), `${percent(source.zeros[index])} zeros`].filter(Boolean).join(", ");
  }).join("; ");

  // What a screen reader reads out in addition to the text of a tile.
  const aside = (words) => make("span", { class: "aside" }, ` ${words}`);

  const pictureTile = (layer, key, at, strongest, matrix) => {
    const [main] = now.sources, index = main.indexByKey.get(key), state = stateOf(main, index);
    const [height, width] = main.figure.tile, small = Math.max(height, width) === 1;
    let [tall, wide] = small ? [22, 22] : fitting(height, width, SIDE);
    if (matrix) { wide = 8; tall = Math.min(240, Math.max(48, height * 8)); }
    const tile = make("div", { class: `tile${state === "nonfinite" ? " odd" : ""}`, role: "option", id: `tile-${at}`, "aria-selected": "false" });
    const pair = make("span", { class: "pair" });
    const [low, high] = ends(key);
    for (const source of now.sources) {
      const own = source.indexByKey.get(key);
      const dead = own === undefined || ["dead", "zero"].includes(stateOf(source, own));
      const canvas = dead ? make("span", { class: own === undefined ? "absent" : "hatch" }) : canvasOf(pixelsOf(source, own, [low, high]));
      size(canvas, wide, tall);
      canvas.style.display = "block";
      if (wide < width) canvas.style.imageRendering = "auto";
      pair.append(canvas);
    }
    if (matrix) { tile.append(pair, aside(`${nameOf(layer, key)}: ${described(layer, key)}`)); return tile; }
    const line = make("span", { class: "strength" }, make("span"));
    line.firstChild.style.width = `${strongest ? Math.ceil(100 * Math.max(...now.sources.map((source) => (source.indexByKey.has(key) ? strengthOf(source, source.indexByKey.get(key)) : 0))) / strongest) : 0}%`;
    const words = state === "live" ? (small ? number(main.maximum[index]) : low < 0 ? `${PLUS_MINUS}${number(high)}` : number(high))
      : state === "constant" ? `= ${number(main.maximum[index])}` : stateWords[state];
    tile.append(make("span", { class: "number" }, nameOf(layer, key)), pair, line, make("span", {}, words), aside(described(layer, key)));
    tile.style.maxWidth = `${Math.max(46, (wide + 2) * now.sources.length + 6)}px`;
    return tile;
  };

  const barTile = (layer, key, at) => {
    const lines = make("span", { class: "lines" }), values = make("span", { class: "value" });
    const tile = make("div", { class: "tile", role: "option", id: `tile-${at}`, "aria-selected": "false" });
    let least = 0, most = 0;
    for (const source of now.sources) for (const index of source.indexByKey.values()) {
      least = Math.min(least, source.minimum[index] || 0);
      most = Math.max(most, source.maximum[index] || 0);
    }
    const width = most - least || 1;
    for (const source of now.sources) {
      const index = source.indexByKey.get(key);
      const value = index === undefined ? NaN : source.maximum[index];
      const bar = make("span", { class: "line" }, make("span"));
      const shown = Number.isFinite(value) ? value : 0;
      bar.firstChild.style.left = `${(100 * (Math.min(shown, 0) - least)) / width}%`;
      bar.firstChild.style.width = `${(100 * Math.abs(shown)) / width}%`;
      const [low, high] = [source.low[index], source.high[index]];
      const step = high > low ? Math.round(255 * Math.max(0, Math.min(1, (shown - low) / (high - low)))) : 0;
      const { colors } = source.table;
      bar.firstChild.style.background = `rgb(${colors[3 * step]} ${colors[3 * step + 1]} ${colors[3 * step + 2]})`;
      lines.append(bar);
      values.append(make("span", {}, index !== undefined && stateOf(source, index) === "nonfinite" ? "NaN" : number(value, 4)));
    }
    tile.append(make("span", { class: "number" }, nameOf(layer, key)), lines, values, aside(described(layer, key)));
    return tile;
  };

  // --- one channel ------------------------------------------------------------------------
  const select = (key, { remembering = true, explicit = true } = {}) => {
    for (const [at, tile] of now.shown.entries()) {
      const chosen = now.order[at] === key;
      if ((tile.getAttribute("aria-selected") === "true") !== chosen) tile.setAttribute("aria-selected", String(chosen));
      if (chosen) byId("tiles").setAttribute("aria-activedescendant", tile.id);
    }
    if (explicit) now.key = key;
    now.at = key;
    look(key);
    byId("link").href = addressOf(key);
    if (remembering) remember();
  };

  const look = (key) => {
    const layer = layers[now.layer], [main] = now.sources, index = main.indexByKey.get(key);
    if (index === undefined) return;
    const channel = channelAt(main.figure, index), all = overallOf(now.layer);
    const [low, high] = ends(key);
    byId("channel-title").textContent = main.figure.total > 1 ? `Channel ${nameOf(layer, key)}` : "The one channel";
    byId("views").replaceChildren(...now.sources.map((source) => viewOf(layer, source, key, [low, high])));
    drawColorbar([low, high]);
    // One column per figure, then the numbers over all inputs.
    const rowOf = (label, textOf) => make("tr", {}, make("th", { scope: "row" }, label), ...now.sources.map((source) => {
      const at = source.indexByKey.get(key);
      return make("td", {}, at === undefined ? "not drawn" : textOf(source, at));
    }));
    const lines = now.sources.length > 1 ? [make("tr", {}, make("td"), ...now.sources.map((source) => make("th", { scope: "col" }, make("bdi", {}, source.name))))] : [];
    if (main.figure.tile[0] * main.figure.tile[1] === 1) lines.push(rowOf("value", (source, at) => number(source.maximum[at], 4)));
    else {
      lines.push(rowOf("range", (source, at) => range(source.minimum[at], source.maximum[at])));
      lines.push(rowOf("mean", (source, at) => number(source.mean[at])));
      lines.push(rowOf("zeros", (source, at) => percent(source.zeros[at])));
    }
    if (now.sources.some((source) => source.indexByKey.has(key) && stateWords[stateOf(source, source.indexByKey.get(key))])) {
      lines.push(rowOf("state", (source, at) => stateWords[stateOf(source, at)] || "live"));
    }
    if (all && data.count > 1 && channel < all.minimum.length) {
      const words = all.dead.has(channel) ? "0 everywhere: dead" : range(all.minimum[channel], all.maximum[channel]);
      lines.push(make("tr", {}, make("th", { scope: "row" }, `on all ${data.count} inputs`), make("td", { colspan: now.sources.length }, words + (all.nonfinite.has(channel) ? ", NaN or infinite on some" : ""))));
    }
    byId("channel-numbers").replaceChildren(make("tbody", {}, ...lines));
    byId("probe").textContent = "";
  };

  const viewOf = (layer, source, key, scale) => {
    const index = source.indexByKey.get(key), [height, width] = source.figure.tile;
    const input = data.inputs[source.figure.input];
    const over = layer.geometry && input.picture && layer.drawn === "grid" && byId("overlay").checked;
    byId("over").hidden = !(layer.geometry && data.inputs[now.sources[0].figure.input].picture && layer.drawn === "grid");
    const room = Math.min(LARGE / (now.sources.length > 1 ? 1.25 : 1), (byId("detail").clientWidth - 60) / now.sources.length);
    let [tall, wide] = fitting(height, width, room);
    if (Math.max(height, width) === 1) [tall, wide] = [96, 96];
    if (width === 1 && height > 1) wide = Math.max(wide, 40);
    const box = make("div", { class: "view" });
    const canvas = index === undefined ? make("canvas") : canvasOf(pixelsOf(source, index, scale));
    const dead = index === undefined || ["dead", "zero"].includes(stateOf(source, index));
    if (over) {
      const { size: [rows_, columns_], offset, stride } = layer.geometry;
      const zoom = room / Math.max(rows_, columns_);
      [tall, wide] = [rows_ * zoom, columns_ * zoom];
      const image = make("img", { src: input.picture, alt: "", class: "under" });
      box.append(image);
      canvas.style.left = `${(offset[1] + 0.5 - stride[1] / 2) * zoom}px`;
      canvas.style.top = `${(offset[0] + 0.5 - stride[0] / 2) * zoom}px`;
      size(canvas, width * stride[1] * zoom, height * stride[0] * zoom);
      canvas.style.opacity = dead ? 0 : byId("opacity").value / 100;
      box.style.overflow = "hidden";
      box.append(canvas);
    } else {
      size(canvas, wide, tall);
      if (wide < width) canvas.style.imageRendering = "auto";
      box.append(dead ? make("span", { class: index === undefined ? "absent" : "hatch" }) : canvas);
    }
    size(box, wide + 2, tall + 2);
    canvas.addEventListener("pointermove", (event) => probe(layer, source, index, event));
    canvas.addEventListener("pointerleave", () => { byId("probe").textContent = ""; });
    const caption = now.sources.length > 1 ? [make("figcaption", {}, make("bdi", {}, source.name))] : [];
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", `Channel ${nameOf(layer, key)} on ${source.name}: ${index === undefined ? "not drawn" : range(source.minimum[index], source.maximum[index])}`);
    return make("figure", {}, box, ...caption);
  };

  // The value under the pointer, read back from its color: exact to one step of the color table.
  const probe = (layer, source, index, event) => {
    const { tile, step, columns } = source.figure, area = event.target.getBoundingClientRect();
    const row = Math.min(tile[0] - 1, Math.max(0, Math.floor(((event.clientY - area.top) / area.height) * tile[0])));
    const column = Math.min(tile[1] - 1, Math.max(0, Math.floor(((event.clientX - area.left) / area.width) * tile[1])));
    const [red, green, blue] = source.context.getImageData((index % columns) * step[1] + column, Math.floor(index / columns) * step[0] + row, 1, 1).data;
    const colorStep = source.table.steps.get(pack(red, green, blue));
    const low = source.low[index], high = source.high[index];
    const value = colorStep === undefined ? "not finite" : `about ${number(low + (colorStep / 255) * (high - low))}`;
    const words = data.inputs[source.figure.input].words, turned = layer.step_order === "reversed";
    const named = layer.drawn === "sequence" && words.length === tile[0] && layer.step_order !== "mixed";
    const word = named ? ` (${words[turned ? words.length - 1 - row : row]})` : turned ? " from the end" : "";
    const where = layer.drawn === "sequence" ? `step ${row}${word}` : tile[0] * tile[1] === 1 ? "" : `row ${row}, column ${column}`;
    byId("probe").textContent = where ? `${where}: ${value}` : "";
  };

  const drawColorbar = ([low, high]) => {
    const source = now.sources.find((candidate) => candidate.figure.signed) || now.sources[0];
    const context = byId("colorbar").getContext("2d"), pixels = context.createImageData(256, 1);
    for (let at = 0; at < 256; at++) {
      for (let color = 0; color < 3; color++) pixels.data[4 * at + color] = source.table.colors[3 * at + color];
      pixels.data[4 * at + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
    const [first, middle, last] = byId("colorbar-ends").children;
    first.textContent = number(low);
    middle.textContent = low < 0 ? "0" : "";
    last.textContent = high > low ? number(high) : "";
  };

  const drawHistograms = () => {
    const box = byId("histograms");
    const all = now.sources.map((source) => source.figure.histogram);
    byId("distribution").hidden = all.every((histogram) => !histogram.counts.length);
    const least = Math.min(...all.map((histogram) => histogram.first)), most = Math.max(...all.map((histogram) => histogram.last));
    box.replaceChildren(...now.sources.map((source) => histogramOf(source, least, most)));
  };
  const histogramOf = (source, least, most) => {
    const histogram = source.figure.histogram, namespace = "http://www.w3.org/2000/svg";
    const drawing = document.createElementNS(namespace, "svg");
    drawing.setAttribute("viewBox", "0 0 480 90");
    drawing.setAttribute("preserveAspectRatio", "none");
    const share = histogram.total ? histogram.zeros / histogram.total : 0;
    const words = `${histogram.total.toLocaleString("en")} values${histogram.zeros ? `, ${percent(share)} of them 0${share < 1 ? " (not in the bars)" : ""}` : ""}${histogram.other ? `, ${histogram.other.toLocaleString("en")} not finite` : ""}`;
    drawing.setAttribute("role", "img");
    drawing.setAttribute("aria-label", `Distribution on ${source.name}: ${words}, ${range(histogram.first, histogram.last)}`);
    const highest = Math.max(...histogram.counts, 1), span = most - least || 1;
    const each = (histogram.last - histogram.first) / (histogram.counts.length || 1);
    histogram.counts.forEach((count, index) => {
      if (!count) return;
      const bar = document.createElementNS(namespace, "rect"), height = Math.max(1, (88 * count) / highest);
      const left = span && histogram.counts.length > 1 ? (480 * (histogram.first + index * each - least)) / span : 235;
      bar.setAttribute("x", left.toFixed(2));
      bar.setAttribute("y", (90 - height).toFixed(2));
      bar.setAttribute("width", Math.max(1, histogram.counts.length > 1 ? (480 * each) / span - 0.6 : 10).toFixed(2));
      bar.setAttribute("height", height.toFixed(2));
      drawing.append(bar);
    });
    const cuts = histogram.cuts.length ? `mean ${number(histogram.mean)}, standard deviation ${number(histogram.std)}; percentiles ${histogram.cuts.map(([share, value]) => `${share}%: ${number(value)}`).join(", ")}` : "";
    return make("figure", {}, make("figcaption", {}, now.sources.length > 1 ? make("bdi", {}, `${source.name}: `) : "", words), drawing,
      make("div", { class: "ends" }, make("span", {}, number(least)), make("span", {}, number(most))), make("figcaption", {}, cuts));
  };

  // --- pointer and keyboard ---------------------------------------------------------------
  const tiles = byId("tiles");
  const tileAt = (event) => event.target.closest && event.target.closest(".tile");
  tiles.addEventListener("click", (event) => {
    const tile = tileAt(event);
    if (tile) select(now.order[now.shown.indexOf(tile)]);
  });
  tiles.addEventListener("pointerover", (event) => {
    const tile = tileAt(event);
    if (tile && event.pointerType === "mouse") look(now.order[now.shown.indexOf(tile)]);
  });
  tiles.addEventListener("pointerleave", () => { if (now.at !== undefined) look(now.at); });
  const lineStep = () => {
    const first = now.shown[0], next = now.shown.findIndex((tile) => tile.offsetTop > first.offsetTop);
    return byId("tiles").classList.contains("bars") ? 1 : next > 0 ? next : now.shown.length;
  };
  tiles.addEventListener("keydown", (event) => {
    const at = now.order.indexOf(now.at), last = now.order.length - 1;
    const moves = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: lineStep(), ArrowUp: -lineStep(), PageDown: 5 * lineStep(), PageUp: -5 * lineStep(), Home: -last, End: last,
    };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(last, at + moves[event.key]));
    select(now.order[to]);
    now.shown[to].scrollIntoView({ block: "nearest" });
  });
  byId("input").addEventListener("input", (event) => {
    now.input = Number(event.target.value);
    if (now.beside === String(now.input)) now.beside = "";
    fill(false);
  });
  byId("beside").addEventListener("input", (event) => { now.beside = event.target.value; fill(false); });
  for (const id of ["scale", "order"]) byId(id).addEventListener("input", () => { if (now.sources.length) drawTiles(); });
  for (const id of ["overlay", "opacity"]) byId(id).addEventListener("input", () => look(now.at));
  const goTo = (step) => { location.hash = `#layer=${encodeURIComponent(layers[now.layer + step].address)}`; byId("detail-title").focus({ preventScroll: true }); };
  byId("previous").addEventListener("click", () => goTo(-1));
  byId("next").addEventListener("click", () => goTo(1));
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width && now.at !== undefined && now.sources.length) look(now.at);
    width = innerWidth;
  });

  arrange();
  if (layers.length) followHash(true);
  root.dataset.ready = "true";
})();
