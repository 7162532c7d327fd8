"use strict";

// The text, coloured row by row: only the rows in sight are in the document, and only their chunks are inflated, so that
// a text of a million characters is as quick as one of a thousand.

const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const viewer = find("viewer");
const SURPRISE = data.levels[data.levels.length - 2][0]; // bits: "very surprising" begins here
const EXTRA_ROWS = 12; // above and below what is in sight
const MOST_PRINTED = 400; // rows
const TAB = 4;

let points; // code points of the text
let rowBegins; // index of each row's first character
let rowHeight = 21;
let at = 0; // the chosen character
const isNarrow = matchMedia("(max-width: 54rem)").matches; // one model at a time
const shown = { colour: "surprisal", left: 0, right: data.models.length > 1 && !isNarrow ? 1 : -1 };

// ---- data ----

async function inflated(packed) {
  const letters = atob(packed);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const chunkOf = (index) => Math.floor(index / data.chunk);

/** The figures of one chunk of a model, or of a unit; a promise the first time. */
function chunk(owner, number) {
  owner.inflated ??= [];
  owner.inflated[number] ??= inflated(owner.chunks[number]).then((bytes) => (owner.inflated[number] = bytes));
  return owner.inflated[number];
}

const isReady = (owner, number) => owner.inflated?.[number] instanceof Uint8Array;

function figure(owner, index, plane) {
  const number = chunkOf(index);
  const length = Math.min(data.chunk, points.length - number * data.chunk);
  return owner.inflated[number][plane * length + (index % data.chunk)];
}

const surprisal = (model, index) => figure(model, index, 0) / data.stepsPerBit;
const entropy = (model, index) => figure(model, index, 1) / data.stepsPerBit;

/** The most probable symbols in a character's place, each with its probability. */
function expected(model, index) {
  const number = chunkOf(index);
  const bytes = model.inflated[number];
  const length = Math.min(data.chunk, points.length - number * data.chunk);
  const place = index % data.chunk;
  const count = model.numExpected;
  return Array.from({ length: count }, (_, rank) => {
    const ids = (2 + count) * length;
    const wide = ids + 2 * (rank * length + place);
    const id = model.isWide ? bytes[wide] + 256 * bytes[wide + 1] : bytes[ids + rank * length + place];
    return { symbol: model.symbols[id], p: (bytes[(2 + rank) * length + place] / 255) ** 2 };
  });
}

const unitValue = (unit, index) => unit.low + (figure(unit, index, 0) / data.unitSteps) * (unit.high - unit.low);

const paintedUnit = () => {
  const [kind, model, unit] = shown.colour.split(":");
  return kind === "unit" ? { model: +model, unit: data.models[+model].units[+unit] } : null;
};

// ---- words ----

const SIGHT = { 10: "newline", 9: "tab", 13: "carriage return", 32: "space" };
const isHidden = (code) => code < 32 || (code >= 127 && code < 160) || (code >= 0x200e && code <= 0x200f) ||
  (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
const named = (code) => SIGHT[code] ?? (isHidden(code) ? "U+" + code.toString(16) : String.fromCodePoint(code));
const percent = (p) => (p >= 0.0995 ? Math.round(100 * p) : p >= 0.00995 ? (100 * p).toFixed(1) : p < 0.0001 ? "below 0.01" : (100 * p).toFixed(2)) + " %";
const levelWord = (value) => data.levels.find(([below]) => below === null || value < below)[1];

function bitsWord(value) {
  const most = 255 / data.stepsPerBit;
  return (value >= most ? "at least " : "") + value.toFixed(1) + (value === 1 ? " bit" : " bits");
}

function place(index) {
  let line = 1, begin = 0;
  for (let i = 0; i < index; i++) if (points[i] === 10) { line++; begin = i + 1; }
  return { line, column: index - begin + 1 };
}

// ---- rows ----

/** Columns that a character takes. */
function width(code) {
  if (code === 9) return TAB;
  if (code < 0x1100) return 1;
  const isWide = code <= 0x115f || (code >= 0x2e80 && code <= 0xa4cf) || (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) || (code >= 0xfe30 && code <= 0xfe6f) || (code >= 0xff00 && code <= 0xff60) ||
    (code >= 0x1f300 && code <= 0x1faff) || (code >= 0x20000 && code <= 0x3fffd);
  return isWide ? 2 : 1;
}

/** Cuts the text into rows of so many columns, at a blank where there is one near the end. */
function cutRows(columns) {
  const begins = [];
  let begin = 0, used = 0, blank = -1;
  const next = (index) => { begins.push(begin); begin = index; used = 0; blank = -1; };
  for (let i = 0; i < points.length; i++) {
    const code = points[i];
    if (code === 10) { next(i + 1); continue; }
    used += width(code);
    if (used > columns) {
      const cut = blank >= begin && i - blank < 24 ? blank + 1 : Math.max(i, begin + 1);
      next(cut);
      for (let j = cut; j <= i; j++) used += width(points[j]);
    }
    if (code === 32) blank = i;
  }
  if (begin < points.length) begins.push(begin);
  rowBegins = Int32Array.from(begins);
}

function rowOf(index) {
  let low = 0, high = rowBegins.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rowBegins[middle] <= index) low = middle; else high = middle - 1;
  }
  return low;
}

const rowEnd = (row) => (row + 1 < rowBegins.length ? rowBegins[row + 1] : points.length);

// ---- colours ----

const SCALES = {
  surprisal: { edges: [1, 2, 3, 4.5, SURPRISE], unit: "bits" },
  entropy: { edges: [0.5, 1, 2, 3, 4], unit: "bits" },
};
const scaled = (value, edges) => edges.filter((edge) => value >= edge).length;

/** The class of a character in the pane of a model. */
function classOf(model, index) {
  if (shown.colour === "surprisal" || shown.colour === "entropy") {
    const value = shown.colour === "surprisal" ? surprisal(model, index) : entropy(model, index);
    const level = scaled(value, SCALES[shown.colour].edges);
    return level ? (shown.colour === "surprisal" ? "a" : "b") + level : "";
  }
  if (shown.colour === "difference") {
    const [left, right] = [data.models[shown.left], data.models[shown.right]];
    const value = surprisal(left, index) - surprisal(right, index);
    const level = scaled(Math.abs(value), [0.5, 1, 2, 3, 4]);
    return level ? (value > 0 ? "a" : "b") + level : "";
  }
  const { unit } = paintedUnit();
  const value = (2 * (unitValue(unit, index) - unit.low)) / (unit.high - unit.low) - 1; // -1 to 1
  const level = scaled(Math.abs(value), [0.1, 0.3, 0.5, 0.7, 0.9]);
  return level ? (value > 0 ? "a" : "b") + level : "";
}

/** What must be inflated before a pane of a model can be coloured. */
function owners(model) {
  if (shown.colour === "difference") return [data.models[shown.left], data.models[shown.right]];
  const painted = paintedUnit();
  return painted ? [painted.unit] : [model];
}

function writeLegend() {
  const items = [];
  const between = (edges, letter, words) => {
    for (let i = edges.length; i >= 0; i--) {
      const low = i ? edges[i - 1] : 0;
      items.unshift([i ? letter + i : "", i === edges.length ? `${low} and more` : `${low} to ${edges[i]}`]);
    }
    items.unshift(["", words]);
  };
  if (SCALES[shown.colour]) {
    const { edges } = SCALES[shown.colour];
    between(edges, shown.colour === "surprisal" ? "a" : "b", shown.colour === "surprisal" ? "Surprisal in bits:" : "Entropy in bits:");
  } else if (shown.colour === "difference") {
    const [left, right] = [data.models[shown.left].name, data.models[shown.right].name];
    items.push(["", "Bits by which a character surprised one model more:"], ["b4", `${right}, by 3 and more`],
      ["b2", `${right}, by 1`], ["", "about as much"], ["a2", `${left}, by 1`], ["a4", `${left}, by 3 and more`]);
  } else {
    const { unit } = paintedUnit();
    items.push(["", `${unit.name}${unit.follows ? ", which follows: " + unit.follows : ""}:`]);
    for (const [name, share] of [["b5", -0.95], ["b3", -0.6], ["b1", -0.2], ["", 0], ["a1", 0.2], ["a3", 0.6], ["a5", 0.95]]) {
      items.push([name, (unit.low + ((share + 1) / 2) * (unit.high - unit.low)).toFixed(2)]);
    }
  }
  find("legend").replaceChildren(...items.map(([name, words], number) => {
    const item = document.createElement("span");
    if (number) {
      const box = document.createElement("i");
      box.className = name;
      item.append(box);
    }
    item.append(words);
    return item;
  }));
}

// ---- drawing ----

let panes = [];

function models() {
  const painted = paintedUnit();
  if (painted) return [painted.model];
  if (shown.colour === "difference" || shown.right < 0) return [shown.left];
  return [shown.left, shown.right];
}

/** The panes, one per model in sight, and the rows that fit them. */
function layOut() {
  const chosen = models();
  const first = rowBegins ? rowBegins[Math.min(rowBegins.length - 1, Math.floor(viewer.scrollTop / rowHeight))] : 0;
  find("panes").replaceChildren();
  panes = chosen.map((number) => {
    const pane = document.createElement("div");
    pane.className = "pane";
    const title = document.createElement("h3");
    const painted = paintedUnit();
    title.textContent = shown.colour === "difference"
      ? `${data.models[shown.left].name} against ${data.models[shown.right].name}`
      : data.models[number].name + (painted ? `, ${painted.unit.name}` : "");
    const rows = document.createElement("div");
    rows.className = "rows";
    pane.append(title, rows);
    find("panes").append(pane);
    return { model: data.models[number], rows, title };
  });
  const probe = document.createElement("div");
  probe.className = "row";
  const letters = document.createElement("span");
  letters.textContent = "0".repeat(100);
  probe.append(letters);
  panes[0].rows.append(probe);
  const advance = letters.getBoundingClientRect().width / 100;
  rowHeight = probe.getBoundingClientRect().height;
  const columns = Math.max(16, Math.floor(panes[0].rows.getBoundingClientRect().width / advance) - 1); // one for the end
  probe.remove();
  cutRows(columns);
  find("panes").style.height = `${rowBegins.length * rowHeight + 40}px`;
  viewer.scrollTop = first ? rowOf(first) * rowHeight : 0;
  drawn = "";
  writeLegend();
  return draw();
}

let drawn = ""; // what is in the document: rows, colour, chosen character

function draw() {
  const isPrinting = document.body.classList.contains("printing");
  const first = isPrinting ? 0 : Math.max(0, Math.floor(viewer.scrollTop / rowHeight) - EXTRA_ROWS);
  const count = isPrinting ? MOST_PRINTED : Math.ceil(viewer.clientHeight / rowHeight) + 2 * EXTRA_ROWS;
  const last = Math.min(rowBegins.length, first + count);
  const [begin, end] = [rowBegins[first], rowEnd(last - 1)];
  const waiting = [];
  for (const pane of panes) {
    for (let number = chunkOf(begin); number <= chunkOf(end - 1); number++) {
      for (const owner of owners(pane.model)) if (!isReady(owner, number)) waiting.push(chunk(owner, number));
    }
  }
  const key = `${first} ${last} ${shown.colour} ${shown.left} ${shown.right} ${waiting.length > 0}`;
  if (key !== drawn) {
    drawn = key;
    for (const pane of panes) drawPane(pane, first, last, waiting.length === 0);
    markChosen();
  }
  return waiting.length ? Promise.all(waiting).then(draw) : Promise.resolve();
}

function drawPane(pane, first, last, hasColour) {
  const rows = [];
  for (let row = first; row < last; row++) {
    const line = document.createElement("div");
    line.className = "row";
    for (let i = rowBegins[row]; i < rowEnd(row); i++) {
      const code = points[i];
      const letter = document.createElement("span");
      letter.index = i;
      letter.textContent = code === 10 ? "↵" : code === 9 ? "→".padEnd(TAB) : isHidden(code) ? "·" : String.fromCodePoint(code);
      if (width(code) === 2) letter.style.width = "2ch";
      letter.className = (hasColour ? classOf(pane.model, i) : "") + (code === 10 || code === 9 || isHidden(code) ? " end" : "");
      line.append(letter);
    }
    rows.push(line);
  }
  pane.rows.style.transform = `translateY(${first * rowHeight}px)`;
  pane.rows.replaceChildren(...rows);
  pane.first = first;
}

/** Puts the mark on the chosen character, where it is in sight. */
function markChosen() {
  for (const mark of viewer.querySelectorAll(".here")) mark.classList.remove("here");
  const row = rowOf(at);
  for (const pane of panes) pane.rows.children[row - pane.first]?.children[at - rowBegins[row]]?.classList.add("here");
}

// ---- the chosen character ----

let speaking;

/** Makes a character the chosen one and tells what was expected in its place. */
async function choose(index, { scrolls = false } = {}) {
  at = Math.min(Math.max(index, 0), points.length - 1);
  if (scrolls) {
    const top = rowOf(at) * rowHeight;
    if (top < viewer.scrollTop + rowHeight) viewer.scrollTop = Math.max(0, top - rowHeight);
    else if (top + 4 * rowHeight > viewer.scrollTop + viewer.clientHeight) viewer.scrollTop = top + 4 * rowHeight - viewer.clientHeight;
    await draw();
  }
  markChosen();
  const wanted = at;
  const needed = [...data.models];
  const painted = paintedUnit();
  if (painted) needed.push(painted.unit);
  const waiting = needed.filter((owner) => !isReady(owner, chunkOf(at))).map((owner) => chunk(owner, chunkOf(at)));
  if (waiting.length) await Promise.all(waiting);
  if (wanted === at) describe();
}

function describe() {
  const { line, column } = place(at);
  const code = points[at];
  const detail = find("detail");
  const head = document.createElement("p");
  head.className = "place";
  const strong = document.createElement("strong");
  strong.textContent = named(code);
  head.append(strong, `  line ${line}, column ${column}`);
  const spoken = [`${named(code)}, line ${line}, column ${column}`];
  const parts = [head];
  const painted = paintedUnit();
  if (painted) {
    const value = `${painted.unit.name}: ${unitValue(painted.unit, at).toFixed(2)}`;
    parts.push(paragraph(value));
    spoken.push(value);
  }
  for (const number of shown.colour === "difference" ? [shown.left, shown.right] : models()) {
    const model = data.models[number];
    if (data.models.length > 1) {
      const title = document.createElement("h3");
      title.textContent = model.name;
      parts.push(title);
      spoken.push(model.name);
    }
    if (at === 0) {
      parts.push(paragraph("The first character is given."));
      spoken.push("given");
      continue;
    }
    const value = surprisal(model, at);
    const sums = [
      `Surprisal ${bitsWord(value)} (${(value * Math.LN2).toFixed(1)} nats): ${levelWord(value)}`,
      `Entropy ${bitsWord(entropy(model, at))}`,
    ];
    const best = expected(model, at);
    parts.push(paragraph(sums[0] + "."), paragraph(sums[1] + ". It expected:"), barsOf(best, named(code)));
    if (!best.some(({ symbol }) => symbol === named(code))) parts.push(paragraph(`What came had about ${percent(2 ** -value)}.`));
    spoken.push(...sums, "expected " + best.map(({ symbol, p }) => `${symbol} ${percent(p)}`).join(", "));
  }
  detail.replaceChildren(...parts);
  clearTimeout(speaking);
  speaking = setTimeout(() => { find("spoken").textContent = spoken.join("; ") + "."; }, 120);
}

function paragraph(words) {
  const made = document.createElement("p");
  made.textContent = words;
  return made;
}

function barsOf(best, came) {
  const table = document.createElement("table");
  for (const { symbol, p } of best) {
    const row = table.insertRow();
    if (symbol === came) row.className = "came";
    row.insertCell().textContent = symbol;
    const number = row.insertCell();
    number.className = "number";
    number.textContent = percent(p);
    const cell = row.insertCell();
    cell.className = "bar";
    const bar = document.createElement("div");
    bar.style.width = `${100 * p}%`;
    cell.append(bar);
  }
  return table;
}

/** Goes to the next character that surprises the model on the left, or to the one before. */
async function goToSurprise(step) {
  const model = data.models[models()[0]];
  for (let i = at + step; i > 0 && i < points.length; i += step) {
    if (!isReady(model, chunkOf(i))) await chunk(model, chunkOf(i));
    if (surprisal(model, i) >= SURPRISE) return choose(i, { scrolls: true });
  }
  clearTimeout(speaking); // what was to be said of the character before this would take its place
  find("spoken").textContent = step > 0 ? "No surprise after this." : "No surprise before this.";
}

// ---- controls ----

function setColour(colour) {
  shown.colour = colour;
  find("colour").value = colour;
  const [kind, model, unit] = colour.split(":");
  for (const button of document.querySelectorAll(".paint")) {
    const isThis = kind === "unit" && button.dataset.model === data.models[+model].name && button.dataset.unit === unit;
    button.setAttribute("aria-pressed", String(isThis));
  }
  return layOut().then(() => choose(at));
}

function option(value, words) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = words;
  return made;
}

function fillControls() {
  const select = find("colour");
  select.append(option("surprisal", "surprisal"), option("entropy", "entropy"));
  if (data.models.length > 1) select.append(option("difference", "difference of the two"));
  data.models.forEach((model, number) => {
    if (!model.units.length) return;
    const group = document.createElement("optgroup");
    group.label = `units of ${model.name}`;
    model.units.forEach((unit, index) => {
      group.append(option(`unit:${number}:${index}`, unit.name + (unit.follows ? `: ${unit.follows}` : "")));
    });
    select.append(group);
  });
  select.addEventListener("change", () => setColour(select.value));
  if (data.models.length > 1) {
    const [left, right] = [find("left"), find("right")];
    right.append(option(-1, "none"));
    data.models.forEach((model, number) => {
      left.append(option(number, model.name));
      right.append(option(number, model.name));
    });
    left.value = shown.left;
    right.value = shown.right;
    select.querySelector("[value=difference]").disabled = shown.right < 0;
    const change = () => {
      shown.left = +left.value;
      shown.right = +right.value;
      if (shown.right === shown.left) shown.right = -1;
      right.value = shown.right;
      select.querySelector("[value=difference]").disabled = shown.right < 0;
      setColour(shown.colour === "difference" && shown.right < 0 ? "surprisal" : shown.colour);
    };
    left.addEventListener("change", change);
    right.addEventListener("change", change);
  }
  find("next").addEventListener("click", () => goToSurprise(1));
  find("previous").addEventListener("click", () => goToSurprise(-1));
  for (const button of document.querySelectorAll(".paint")) {
    button.addEventListener("click", () => {
      const model = data.models.findIndex(({ name }) => name === button.dataset.model);
      const isOn = button.getAttribute("aria-pressed") === "true";
      setColour(isOn ? "surprisal" : `unit:${model}:${button.dataset.unit}`);
      if (!isOn) viewer.scrollIntoView({ block: "nearest" });
    });
  }
}

function nextUnit() {
  const all = [...find("colour").options].map(({ value }) => value).filter((value) => value.startsWith("unit:"));
  if (all.length) setColour(all[(all.indexOf(shown.colour) + 1) % all.length]);
}

const lineColumn = () => at - rowBegins[rowOf(at)];
function toRow(row) {
  const there = Math.min(Math.max(row, 0), rowBegins.length - 1);
  return Math.min(rowBegins[there] + lineColumn(), rowEnd(there) - 1);
}
const page = () => Math.max(1, Math.floor(viewer.clientHeight / rowHeight) - 2);
const KEYS = {
  ArrowLeft: () => at - 1,
  ArrowRight: () => at + 1,
  ArrowUp: () => toRow(rowOf(at) - 1),
  ArrowDown: () => toRow(rowOf(at) + 1),
  PageUp: () => toRow(rowOf(at) - page()),
  PageDown: () => toRow(rowOf(at) + page()),
  Home: (event) => (event.ctrlKey ? 0 : rowBegins[rowOf(at)]),
  End: (event) => (event.ctrlKey ? points.length - 1 : rowEnd(rowOf(at)) - 1),
};
const ACTIONS = { n: () => goToSurprise(1), p: () => goToSurprise(-1), u: nextUnit, c: () => setColour("surprisal") };

viewer.addEventListener("keydown", (event) => {
  if (event.altKey || event.metaKey) return;
  if (KEYS[event.key]) choose(KEYS[event.key](event), { scrolls: true });
  else if (ACTIONS[event.key] && !event.ctrlKey) ACTIONS[event.key]();
  else return;
  event.preventDefault();
});

const onCharacter = (event) => {
  if (event.target.index !== undefined && event.target.index !== at) choose(event.target.index);
};
viewer.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") onCharacter(event); });
viewer.addEventListener("click", onCharacter);
viewer.addEventListener("scroll", () => requestAnimationFrame(draw));

let resizing;
window.addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(layOut, 100);
});
window.addEventListener("beforeprint", () => { document.body.classList.add("printing"); draw(); });
window.addEventListener("afterprint", () => { document.body.classList.remove("printing"); draw(); });

async function begin() {
  if (typeof DecompressionStream === "undefined") {
    const trouble = find("trouble");
    trouble.textContent = "This browser is too old to show the text; any of 2023 or later can.";
    trouble.hidden = false;
    return;
  }
  const text = new TextDecoder().decode(await inflated(data.text));
  points = new Uint32Array(text.length);
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.codePointAt(i);
    if (code > 0xffff) i++;
    points[count++] = code;
  }
  points = points.subarray(0, count);
  fillControls();
  await layOut();
  await choose(0);
  document.body.dataset.ready = "yes"; // for those who wait for the page
}

begin();
