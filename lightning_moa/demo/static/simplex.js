"use strict";
// A preference on the simplex: one slider for two objectives, a triangle with bars for three, bars for more.
moa.simplex = (box, names, moved) => {
  const m = names.length;
  let weights = names.map(() => 1 / m);
  const shown = [];
  const set = (next, tell = true) => {
    weights = next;
    for (const show of shown) show();
    if (tell) moved(weights);
  };
  // One weight as asked; the others share the rest as they did, or evenly where they had nothing.
  const give = (i, weight) => {
    const rest = 1 - weights[i];
    set(weights.map((each, j) => j === i ? weight : rest > 1e-9 ? each * (1 - weight) / rest : (1 - weight) / (m - 1)));
  };
  const bars = moa.make("div", undefined, { className: "bars" });
  // Of two, one slider is the whole simplex.
  names.slice(0, m === 2 ? 1 : m).forEach((name, i) => {
    const label = moa.make("label"), value = moa.make("output");
    const range = moa.make("input", undefined, { type: "range", min: 0, max: 1, step: 0.01 });
    range.setAttribute("aria-label", m === 2 ? `${names[0]} against ${names[1]}` : name);
    range.addEventListener("input", () => give(i, Number(range.value)));
    label.append(moa.make("span", m === 2 ? names[1] : name), range, m === 2 ? moa.make("span", names[0]) : value);
    shown.push(() => {
      range.value = weights[i];
      value.textContent = weights[i].toFixed(2);
      range.setAttribute("aria-valuetext", names.map((each, j) => `${each} ${weights[j].toFixed(2)}`).join(", "));
    });
    bars.append(label);
  });
  if (m === 3) box.append(triangle(names, () => weights, set, shown));
  box.append(bars);
  if (m === 2) {
    const said = moa.make("span");
    shown.push(() => { said.textContent = names.map((each, j) => `${each} ${weights[j].toFixed(2)}`).join(", "); });
    box.append(said);
  }
  set(weights, false);
  return { weights: () => weights };

  function triangle(names, now, set, shown) {
    const space = "http://www.w3.org/2000/svg", corners = [[10, 190], [230, 190], [120, 10]];
    const make = (tag, attributes) => {
      const element = document.createElementNS(space, tag);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      return element;
    };
    // The bars beside it are the same for the keyboard and for those who do not see it.
    const svg = make("svg", { viewBox: "0 0 240 216", "aria-hidden": "true" });
    svg.append(make("polygon", { points: corners.join(" ") }));
    const anchors = ["start", "end", "middle"], heights = [210, 210, 0];
    names.forEach((name, i) => {
      const text = make("text", { x: corners[i][0], y: heights[i], "text-anchor": anchors[i] });
      // Whole beside its bar.
      text.textContent = name.length > 14 ? `${name.slice(0, 13)}…` : name;
      svg.append(text);
    });
    const point = make("circle", { r: 8 });
    svg.append(point);
    shown.push(() => [0, 1].forEach((axis) => {
      point.setAttribute(axis ? "cy" : "cx", now().reduce((sum, weight, i) => sum + weight * corners[i][axis], 0));
    }));
    const move = (event) => {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const top = (190 - Math.min(Math.max(place.y, 10), 190)) / 180, right = (place.x - 10 - 110 * top) / 220;
      const raw = [1 - right - top, right, top].map((each) => Math.max(each, 0));
      const sum = raw.reduce((a, b) => a + b);
      set(raw.map((each) => each / sum));
    };
    svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); move(event); });
    svg.addEventListener("pointermove", (event) => { if (svg.hasPointerCapture(event.pointerId)) move(event); });
    return svg;
  }
};
