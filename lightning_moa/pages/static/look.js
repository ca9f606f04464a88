"use strict";
// What all plots share: colours of the theme, and texts that plotly takes for texts.
moa.look = {
  colour: (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(),
  // plotly reads a little markup in its texts; what comes from files is none.
  text: (value) => String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"),
  number: (value) => value === null || value === undefined ? "unknown" : String(Number(Number(value).toPrecision(4))),
  // A dark colour is lighter on a dark page.
  tone(colour) {
    if (document.documentElement.dataset.theme !== "dark") return colour;
    const parts = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    const light = (0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]) / 255;
    const white = light < 0.2 ? 0.55 : light < 0.3 ? 0.4 : 0;
    return `#${parts.map((part) => Math.round(part + (255 - part) * white).toString(16).padStart(2, "0")).join("")}`;
  },
  // No button that would send a plot to anybody; a wheel over a plot scrolls the page.
  config: { scrollZoom: false, responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "", modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] },
  layout() {
    const axis = { gridcolor: this.colour("grid"), zerolinecolor: this.colour("line"), linecolor: this.colour("line"), tickcolor: this.colour("line") };
    return {
      paper_bgcolor: this.colour("paper"), plot_bgcolor: this.colour("paper"),
      font: { color: this.colour("ink"), family: "system-ui, sans-serif", size: 13 },
      hoverlabel: { align: "left", bgcolor: this.colour("sheet"), bordercolor: this.colour("line"), font: { color: this.colour("ink") } },
      showlegend: false, xaxis: { ...axis }, yaxis: { ...axis },
    };
  },
};
