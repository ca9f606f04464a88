"use strict";
// The page of `moa demo`: asks for answers as the preference moves, and shows them as they come. All texts are set as text.
(() => {
  const get = (id) => document.getElementById(id), { make } = moa;
  const { policies } = JSON.parse(document.body.dataset.setup);
  const policy = get("policy"), held = get("held"), prompt = get("prompt"), state = get("state");
  let simplex = null, asking = null, timer = null, cards = new Map(), drawn = new Map();

  const chosen = () => policies[Number(policy.value)];
  const fill = (select, texts) => select.replaceChildren(...texts.map((text, i) => make("option", text, { value: i })));

  const choose = () => {
    const { objectives, prompts, front } = chosen();
    fill(held, prompts);
    held.parentElement.hidden = !prompts.length;
    prompt.value = prompts[0] ?? "";
    get("simplex").replaceChildren();
    simplex = moa.simplex(get("simplex"), objectives, soon);
    cards = new Map(["chosen", "reference", ...objectives].map((name) => [name, card(name, objectives)]));
    cards.set("best", card("best", objectives));
    cards.get("best").box.hidden = true;
    get("answers").replaceChildren(...[...cards.values()].map((each) => each.box));
    get("measured").hidden = !front;
    draw();
    ask();
  };

  const titles = { chosen: "At your preference", reference: "Reference", best: "Best response of the world at your preference" };
  const card = (name) => {
    const box = make("article", undefined, { className: `answer ${name === "chosen" ? "chosen" : ""}` });
    box.dataset.which = name;
    const text = make("p"), note = make("div", undefined, { className: "quiet" }), rewards = make("div");
    box.append(make("h3", titles[name] ?? `All weight on ${name}`), text, note, rewards);
    return { box, text, note, rewards };
  };

  // One scale for all bars, from the least to the highest of what is shown.
  const bars = () => {
    const known = [...drawn.values()].filter((each) => each.rewards);
    const all = known.flatMap((each) => each.rewards);
    const low = Math.min(0, ...all), high = Math.max(0, ...all);
    for (const [name, { rewards, space }] of drawn) {
      cards.get(name).rewards.replaceChildren(...(rewards ?? []).map((value, i) => {
        const row = make("div", undefined, { className: "reward" }), said = `${chosen().objectives[i]}`;
        const meter = make("meter", undefined, { min: low, max: high > low ? high : low + 1, value });
        meter.setAttribute("aria-label", `${space ?? "gold"} reward, ${said}`);
        row.append(make("span", said), meter, make("span", moa.look.number(value)));
        return row;
      }));
    }
  };

  const take = (event) => {
    if (event.event === "waiting") state.textContent = event.before ? `waiting behind ${event.before}` : "answering …";
    else if (event.event === "loading") state.textContent = "loading the policy …";
    else if (event.event === "error") { state.textContent = event.message; return false; }
    else if (event.event === "best") {
      cards.get("best").box.hidden = event.text === null;
      if (event.text !== null) { cards.get("best").text.textContent = event.text; drawn.set("best", event); }
      else drawn.delete("best");
      bars();
    } else {
      const mine = cards.get(event.which);
      mine.text.textContent = event.text;
      state.textContent = `answering: ${event.text.split(/\s+/).filter(Boolean).length} words of ${titles[event.which] ?? event.which}`;
      if (!event.done) return true;
      const asked = event.which === "chosen" ? simplex.asked : chosen().objectives.map((name) => Number(name === event.which));
      const near = event.at && event.at.some((each, i) => Math.abs(each - asked[i]) > 1e-6);
      const told = event.which === "reference" ? "before its training" : !event.at ? "knows no preference"
        : near ? `the nearest that was trained: ${event.at.map(moa.look.number).join(", ")}` : "";
      mine.note.textContent = [told, event.said].filter(Boolean).join("; ");
      drawn.set(event.which, event);
      bars();
    }
    return true;
  };

  const ask = async () => {
    clearTimeout(timer);
    asking?.abort();
    state.dataset.done = "";
    if (!prompt.value.trim()) { state.textContent = "a prompt is needed"; return; }
    const mine = (asking = new AbortController());
    simplex.asked = simplex.weights();
    let well = true;
    try {
      const body = JSON.stringify({ policy: Number(policy.value), prompt: prompt.value, preference: simplex.asked });
      const response = await fetch("answers", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal: mine.signal });
      if (!response.ok) throw new Error((await response.json()).message);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; ;) {
        const { done, value } = await reader.read();
        if (done) break;
        const lines = (text + value).split("\n");
        text = lines.pop();
        for (const line of lines) well = take(JSON.parse(line)) && well;
      }
      if (well) state.textContent = "done";
      state.dataset.done = JSON.stringify(simplex.asked);
    } catch (error) {
      if (!mine.signal.aborted) state.textContent = error.message;
    }
  };
  // While it moves, a little behind it.
  const soon = () => { place(); clearTimeout(timer); timer = setTimeout(ask, 120); };

  const nearest = (points) => {
    const far = (row) => row.reduce((sum, each, i) => sum + (each - simplex.weights()[i]) ** 2, 0);
    return points.reduce((best, each) => far(each[0]) < far(best[0]) ? each : best);
  };
  const trace = (rows, more) => {
    const three = chosen().objectives.length === 3, axes = ["x", "y", "z"].slice(0, three ? 3 : 2);
    const columns = axes.map((axis, i) => [axis, rows.map((row) => row[i])]);
    return { type: three ? "scatter3d" : "scatter", mode: "markers", ...Object.fromEntries(columns), ...more };
  };
  const draw = () => {
    const { objectives, front } = chosen();
    if (!front) return;
    const { colour, config, text } = moa.look, layout = moa.look.layout(), three = objectives.length === 3;
    const name = (i) => ({ title: { text: text(`${objectives[i]}, ${front.space}`) } });
    if (three) layout.scene = { xaxis: name(0), yaxis: name(1), zaxis: name(2) };
    else { Object.assign(layout.xaxis, name(0)); Object.assign(layout.yaxis, name(1)); }
    layout.showlegend = true;
    layout.legend = { orientation: "h", y: -0.26 };
    layout.margin = { l: 60, r: 10, t: 30, b: 50 };
    const here = [nearest(front.points)[1]];
    const traces = [
      trace(front.exact, { name: "exact front", marker: { color: moa.look.colour("quiet"), size: 4 } }),
      trace(front.points.map((each) => each[1]), { name: "measured", marker: { color: moa.look.colour("link"), size: 7 } }),
      trace(here, { name: "nearest to your preference", marker: { color: moa.look.colour("fails"), size: 15, symbol: three ? "diamond" : "star" } }),
    ];
    Plotly.react("front", front.exact.length ? traces : traces.slice(1), layout, config);
    place();
  };
  const place = () => {
    const { objectives, front } = chosen();
    if (!front) return;
    const [preference, values] = nearest(front.points), said = (row) => objectives.map((each, i) => `${each} ${moa.look.number(row[i])}`).join(", ");
    get("place").textContent = `Measured at ${said(preference)}: mean ${front.space} ${said(values)}.`;
    const plot = get("front"), moved = trace([values], {}), axes = ["x", "y", "z"].filter((axis) => axis in moved);
    if (plot.data) Plotly.restyle(plot, Object.fromEntries(axes.map((axis) => [axis, [moved[axis]]])), [plot.data.length - 1]);
  };

  document.addEventListener("DOMContentLoaded", () => {
    fill(policy, policies.map((each) => each.label));
    policy.parentElement.hidden = policies.length < 2;
    policy.addEventListener("change", () => { drawn = new Map(); choose(); });
    held.addEventListener("change", () => { prompt.value = chosen().prompts[Number(held.value)]; ask(); });
    get("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
    document.addEventListener("moa-theme", draw);
    choose();
  });
})();
