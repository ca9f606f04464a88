"use strict";
// The interval of each claim against its bound, drawn when it comes into sight.
document.addEventListener("DOMContentLoaded", () => {
  const draw = (element) => {
    const { value, low, high, bound, relation, margin, verdict } = element.dataset;
    const at = Number(value), ends = low === undefined ? [at, at] : [Number(low), Number(high)];
    const bounds = relation === "within" ? [-Number(bound), Number(bound)] : [Number(bound)];
    const all = [at, ...ends, ...bounds];
    const span = Math.max(...all) - Math.min(...all) || Math.abs(at) || 1;
    const range = [Math.min(...all) - 0.12 * span, Math.max(...all) + 0.12 * span];
    const colour = moa.look.colour({ holds: "holds", level: "level", fails: "fails", "one-seed": "one" }[verdict] || "noise");
    const asserted = relation === "within" ? bounds : relation.startsWith(">") ? [bounds[0], range[1]] : [range[0], bounds[0]];
    const layout = moa.look.layout();
    const line = (x) => ({ type: "line", x0: x, x1: x, y0: -1, y1: 1, line: { color: moa.look.colour("ink"), width: 1.5, dash: "dot" } });
    Object.assign(layout, {
      height: 74, margin: { l: 12, r: 12, t: 4, b: 24 }, font: { ...layout.font, size: 11 },
      xaxis: { ...layout.xaxis, range, nticks: 5, zeroline: false, fixedrange: true },
      yaxis: { visible: false, range: [-1, 1], fixedrange: true },
      shapes: [
        { type: "rect", layer: "below", x0: asserted[0], x1: asserted[1], y0: -1, y1: 1, line: { width: 0 }, fillcolor: moa.look.colour("holds-back"), opacity: 0.7 },
        ...(margin ? [{ type: "rect", layer: "below", x0: bounds[0] - margin, x1: bounds[0] + Number(margin), y0: -1, y1: -0.6, line: { width: 0 }, fillcolor: moa.look.colour("level"), opacity: 0.6 }] : []),
        ...bounds.map(line),
      ],
    });
    Plotly.react(element, [{
      x: [at], y: [0], type: "scatter", mode: "markers", marker: { color: colour, size: 11 }, hoverinfo: "skip",
      error_x: { type: "data", symmetric: false, array: [ends[1] - at], arrayminus: [at - ends[0]], color: colour, thickness: 3, width: 7 },
    }], layout, { ...moa.look.config, staticPlot: true });
  };
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting && !seen.has(target)) { seen.add(target); draw(target); }
    }
  }, { rootMargin: "200px" });
  document.querySelectorAll(".interval").forEach((element) => watcher.observe(element));
  document.addEventListener("moa-theme", () => seen.forEach(draw));
});
