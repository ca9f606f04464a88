"use strict";
// Of every page: dark and light, the search, the filters of the index. Texts are set as text, never as markup.
(() => {
  const root = document.documentElement;
  const remembered = () => { try { return localStorage.getItem("moa-theme"); } catch { return null; } };
  const asked = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const theme = remembered() || (asked.matches ? "dark" : "light");
    if (root.dataset.theme === theme) return;
    root.dataset.theme = theme;
    document.dispatchEvent(new Event("moa-theme"));
  };
  show();
  asked.addEventListener("change", show);

  const make = (tag, text, attributes = {}) => {
    const element = Object.assign(document.createElement(tag), attributes);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const load = (src) => new Promise((done, failed) => {
    const script = make("script", undefined, { src, onload: done, onerror: () => failed(new Error(`${src} is not there`)) });
    document.head.append(script);
  });
  const moa = (window.moa = { make, load, data: {}, pairs: {}, words: null });

  const search = () => {
    const input = document.getElementById("search"), found = document.getElementById("found");
    if (!input) return;
    const count = document.getElementById("count");
    let there = null;
    const look = async () => {
      // What is asked may have changed while the words were loaded.
      await (there ??= load("assets/words.js"));
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (!words.length) { found.hidden = true; count.textContent = ""; return; }
      const hits = moa.words.filter((each) => {
        const text = `${each.title} ${each.text}`.toLowerCase();
        return words.every((word) => text.includes(word));
      });
      // What has the words in its title comes first.
      const first = (each) => words.every((word) => each.title.toLowerCase().includes(word)) ? 0 : 1;
      hits.sort((a, b) => first(a) - first(b));
      const list = make("ul");
      for (const each of hits.slice(0, 40)) {
        const link = make("a", each.title, { href: each.page });
        link.append(make("small", `${each.kind}: ${each.shown}`));
        const item = make("li");
        item.append(link);
        list.append(item);
      }
      const said = hits.length ? `${hits.length} found${hits.length > 40 ? ", the first 40 shown" : ""}` : "nothing found";
      count.textContent = said;
      found.replaceChildren(make("p", said, { className: "quiet" }), list);
      found.hidden = false;
    };
    input.addEventListener("input", look);
    input.addEventListener("focus", look);
    const close = () => { found.hidden = true; };
    const box = input.parentElement;
    document.addEventListener("click", (event) => { if (!box.contains(event.target)) close(); });
    found.addEventListener("click", (event) => { if (event.target.closest("a")) close(); });
    box.addEventListener("keydown", (event) => {
      const links = [...found.querySelectorAll("a")];
      const at = links.indexOf(document.activeElement);
      if (event.key === "Escape") { close(); input.focus(); close(); }
      else if (event.key === "ArrowDown" && !found.hidden) { links[Math.min(at + 1, links.length - 1)]?.focus(); event.preventDefault(); }
      else if (event.key === "ArrowUp" && at >= 0) { (at ? links[at - 1] : input).focus(); event.preventDefault(); }
      else if (event.key === "Enter" && document.activeElement === input) { links[0]?.click(); }
    });
  };

  const filters = () => {
    const form = document.getElementById("filters");
    if (!form) return;
    const choose = () => {
      let shown = 0;
      for (const card of document.querySelectorAll(".card")) {
        const fits = ["paper", "scale"].every((name) => !form.elements[name].value || form.elements[name].value === card.dataset[name]);
        card.hidden = !fits;
        shown += fits;
      }
      for (const section of document.querySelectorAll("section.paper")) section.hidden = !section.querySelector(".card:not([hidden])");
      form.querySelector("[role=status]").textContent = `${shown} shown`;
    };
    form.addEventListener("change", choose);
    form.addEventListener("submit", (event) => event.preventDefault());
    choose();
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const other = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("moa-theme", other); } catch { /* then this page alone */ }
      root.dataset.theme = other;
      document.dispatchEvent(new Event("moa-theme"));
    });
    search();
    filters();
  });
})();
