"use strict";

// Draws the figures as the controls say; each change draws them anew, which takes a moment for a few thousand points.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const controls = document.getElementById("controls");
  const plots = [...document.querySelectorAll(".plot")];
  const drawn = new Map();

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
