"use strict";

// Draws the figures as the controls say; each change draws them anew, which takes a moment for a few thousand points.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const controls = document.getElementById("controls");
  const plots = [...document.querySelectorAll(".plot")];
  const drawn = new Map();

  // h:mm:ss or m:ss, as everywhere.
  function clock(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const two = (number) => String(number).padStart(2, "0");
    return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
  }

  function row([run, kind, step, seconds, y]) {
    const [name, what] = data.kinds[kind];
    const symbols = data.symbolsPerStep[run] === null ? null : step * data.symbolsPerStep[run];
    return { run: data.runs[run], kind: name, what, step, seconds, symbols, clock: clock(seconds), y, bits: y / Math.LN2 };
  }

  for (const figure of Object.values(data.figures)) figure.rows = figure.rows.map(row);

  // "ast": expressions are interpreted, not compiled, as the page's policy asks for.
  const options = { mode: "vega-lite", actions: false, renderer: "svg", ast: true, tooltip: { disableDefaultStyle: true, theme: "page" } };

  function chosen(name, otherwise) {
    const found = controls.querySelectorAll(`input[name="${name}"]`);
    return found.length ? [...found].filter((each) => each.checked).map((each) => each.value) : otherwise;
  }

  async function draw() {
    const [axis] = chosen("axis", ["seconds"]);
    const [scale] = chosen("scale", ["linear"]);
    const runs = chosen("run", null);
    const kinds = chosen("kind", null);
    for (const plot of plots) {
      const figure = data.figures[plot.dataset.figure];
      const isLoss = plot.dataset.figure === "loss";
      const rows = figure.rows.filter(
        (row) => (!runs || runs.includes(row.run)) && (!isLoss || kinds.includes(row.kind)),
      );
      const whole = figure.specifications[`${axis}-${scale}`];
      const isEmpty = (layer) => layer.name && !rows.some((row) => row.kind === layer.name);
      const specification = { ...whole, layer: whole.layer.filter((layer) => !isEmpty(layer)), datasets: { rows } };
      if (drawn.has(plot)) drawn.get(plot).finalize();
      drawn.delete(plot);
      plot.textContent = rows.length ? "" : "nothing chosen";
      if (!rows.length) continue;
      const made = await vegaEmbed(plot, specification, options);
      drawn.set(plot, made);
    }
    document.body.dataset.drawn = `${axis}-${scale}`;
  }

  if (controls) {
    let last = Promise.resolve();
    const again = () => { last = last.then(draw); };
    controls.addEventListener("change", again);
    controls.addEventListener("submit", (event) => event.preventDefault());
    again();
  }

  const differing = document.getElementById("differing");
  if (differing) {
    const table = document.getElementById("settings-table");
    differing.addEventListener("change", () => table.classList.toggle("only-differing", differing.checked));
  }
})();
