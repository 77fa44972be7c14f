"use strict";

const PRINTED_WIDTH = 660; // pixels, within A4 and letter with margins
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const FONT = { family: "system-ui, sans-serif", size: 12, color: "#1a1a1a" };
const CONFIG = { displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
let kept = null; // the trial that was clicked

// plotly.js lies in the page as base64 of gzip.
async function loadPlotly() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (letter) =>
    letter.charCodeAt(0),
  );
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

function layoutOf(figure, place) {
  const solid = Boolean(figure.layout.scene);
  const axis = { automargin: true, gridcolor: "#e6e6e6", zeroline: false };
  const layout = {
    font: FONT,
    paper_bgcolor: "#fff",
    plot_bgcolor: "#fff",
    margin: solid ? { l: 0, r: 0, t: 0, b: 0 } : { l: 56, r: 28, t: 64, b: 46 },
    hoverlabel: { align: "left", bgcolor: "#fff", font: { size: 12, color: "#1a1a1a" } },
    height: place.clientHeight,
    autosize: true,
    ...figure.layout,
  };
  for (const name of ["xaxis", "yaxis"]) layout[name] = { ...axis, ...(layout[name] || {}) };
  return layout;
}

// A ring around a trial in every figure that shows it, and its row in the table.
function mark(number, plots) {
  for (const plot of plots) {
    const ring = plot.data.length - 1;
    if (plot.data[ring].name !== "ring") continue;
    const found = { x: [], y: [], z: [] };
    for (const trace of plot.data.slice(0, ring)) {
      const index = (trace.customdata || []).indexOf(number);
      if (index < 0) continue;
      for (const letter of "xyz") if (trace[letter]) found[letter] = [trace[letter][index]];
    }
    const moved = { x: [found.x], y: [found.y] };
    if (plot.data[ring].type === "scatter3d") moved.z = [found.z];
    Plotly.restyle(plot, moved, [ring]);
  }
  for (const row of document.querySelectorAll("tr.chosen")) row.classList.remove("chosen");
  const row = document.getElementById(`trial-${number}`);
  if (row) row.classList.add("chosen");
}

async function draw() {
  await loadPlotly();
  const trials = read("trials");
  const figures = read("figures");
  const linked = [];
  for (const [name, figure] of Object.entries(figures)) {
    const place = document.getElementById(name);
    const narrow = place.clientWidth < 500;
    let links = false;
    for (const trace of figure.data) {
      if (!trace.customdata) continue;
      links = true;
      trace.hovertext = trace.customdata.map((number) => trials[number]);
    }
    if (links) {
      const solid = figure.data[0].type === "scatter3d";
      const line = { color: "#e69f00", width: solid ? 2 : 3 };
      figure.data.push({
        type: solid ? "scatter3d" : "scatter",
        mode: "markers",
        name: "ring",
        x: [],
        y: [],
        ...(solid ? { z: [] } : {}),
        marker: { size: solid ? 9 : 17, symbol: "circle-open", color: "#e69f00", line },
        hoverinfo: "skip",
        showlegend: false,
      });
    }
    const layout = layoutOf(figure, place);
    if (narrow) layout.dragmode = figure.layout.scene ? "turntable" : false; // a finger scrolls
    try {
      await Plotly.newPlot(place, figure.data, layout, { ...CONFIG, responsive: true,
        displayModeBar: narrow ? false : "hover" });
    } catch (error) {
      place.textContent = `This browser cannot draw the figure: ${error.message}`;
      continue;
    }
    if (links) linked.push(place);
  }
  for (const place of linked) {
    place.on("plotly_hover", (event) => mark(event.points[0].customdata, linked));
    place.on("plotly_unhover", () => mark(kept, linked));
    place.on("plotly_click", (event) => {
      kept = event.points[0].customdata === kept ? null : event.points[0].customdata;
      mark(kept, linked);
    });
  }
  const plots = [...document.querySelectorAll(".js-plotly-plot")];
  const resize = (width) => plots.forEach((plot) => Plotly.relayout(plot, { width }));
  addEventListener("beforeprint", () => resize(PRINTED_WIDTH));
  addEventListener("afterprint", () => resize(null));
  document.body.dataset.drawn = "true";
}

draw().catch((error) => {
  for (const place of document.querySelectorAll(".plot")) {
    place.textContent = `The figure needs a browser of 2023 or later: ${error.message}`;
  }
});
